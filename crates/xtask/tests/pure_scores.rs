//! Scores and statistics of audits are pure: they take values and give values.
//!
//! `clippy.toml` holds for whole crates, and goldfish-audit also reads and writes runs. So their sources may import only one
//! another, the types of token scores, and of `std` what has no effects.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

/// Parts of `std` that reach outside of the process, or depend on when and where it runs.
const IMPURE: [&str; 7] = ["env", "fs", "net", "os", "process", "thread", "time"];

/// What of the crate may be imported.
const ALLOWED: [&str; 3] = ["crate::backend::", "crate::score::", "crate::stat::"];

/// The impure or foreign paths of a source.
fn offences(source: &str) -> Vec<String> {
    let is_path = |c: char| c.is_alphanumeric() || "_:".contains(c);
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let paths = code.flat_map(|line| line.split(|c| !is_path(c)));
    let offends = |path: &&str| {
        let of_std = path.strip_prefix("std::").and_then(|rest| rest.split("::").next());
        of_std.is_some_and(|module| IMPURE.contains(&module))
            || path.starts_with("crate::") && !ALLOWED.iter().any(|allowed| path.starts_with(allowed))
            || path.starts_with("goldfish_") && !path.starts_with("goldfish_mask")
    };
    let mut found: Vec<String> = paths.filter(offends).map(str::to_owned).collect();
    let groups = source.match_indices("use std::{").chain(source.match_indices("use crate::{"));
    found.extend(groups.map(|(_, start)| start.to_owned()));
    found
}

#[test]
fn scores_and_statistics_are_pure() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../goldfish-audit/src");
    let mut files = 0;
    for folder in ["score", "stat"] {
        for entry in fs::read_dir(sources.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let found = offences(&fs::read_to_string(&path).unwrap());
            assert!(found.is_empty(), "{}: {}", path.display(), found.join(", "));
            files += 1;
        }
    }
    assert!(files > 20, "{files} files");
}

#[test]
fn impure_sources_are_found() {
    assert_eq!(
        offences("use std::fs::File;\nuse std::time::Instant;"),
        ["std::fs::File", "std::time::Instant"]
    );
    assert_eq!(offences("fn f() { std::env::var(\"A\"); }"), ["std::env::var"]);
    assert_eq!(offences("use crate::store::RunStore;"), ["crate::store::RunStore"]);
    assert_eq!(offences("use std::{fs, io};"), ["use std::{"]);
    assert!(offences("use std::collections::HashMap;\nuse crate::backend::TokenScore;").is_empty());
}
