//! Which crates may import which.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Each crate and the crates of this workspace that it may import, in the order of the data flow.
const MAY_IMPORT: [(&str, &[&str]); 19] = [
    ("goldfish-mask", &[]),
    ("goldfish-match", &["goldfish-mask"]),
    ("goldfish-digest", &[]),
    ("goldfish-remedy", &[]),
    ("goldfish-storage", &[]),
    ("goldfish-columnar", &["goldfish-storage"]),
    ("goldfish-tokenize", &["goldfish-remedy", "goldfish-storage"]),
    ("goldfish-corpus", &["goldfish-remedy", "goldfish-columnar", "goldfish-digest", "goldfish-storage"]),
    (
        "goldfish-shard",
        &["goldfish-remedy", "goldfish-columnar", "goldfish-digest", "goldfish-mask", "goldfish-storage"],
    ),
    (
        "goldfish-pipeline",
        &[
            "goldfish-remedy",
            "goldfish-columnar",
            "goldfish-corpus",
            "goldfish-digest",
            "goldfish-mask",
            "goldfish-match",
            "goldfish-shard",
            "goldfish-storage",
            "goldfish-tokenize",
        ],
    ),
    (
        "goldfish-inspect",
        &["goldfish-remedy", "goldfish-mask", "goldfish-match", "goldfish-pipeline", "goldfish-shard"],
    ),
    (
        "goldfish-audit",
        &[
            "goldfish-remedy",
            "goldfish-corpus",
            "goldfish-digest",
            "goldfish-mask",
            "goldfish-shard",
            "goldfish-storage",
        ],
    ),
    ("goldfish-backends", &["goldfish-remedy", "goldfish-audit", "goldfish-digest", "goldfish-storage"]),
    (
        "goldfish-trace",
        &[
            "goldfish-remedy",
            "goldfish-audit",
            "goldfish-corpus",
            "goldfish-mask",
            "goldfish-match",
            "goldfish-pipeline",
            "goldfish-shard",
            "goldfish-storage",
        ],
    ),
    (
        "goldfish-report",
        &["goldfish-remedy", "goldfish-audit", "goldfish-inspect", "goldfish-shard", "goldfish-trace"],
    ),
    (
        "goldfish-lab",
        &[
            "goldfish-remedy",
            "goldfish-audit",
            "goldfish-backends",
            "goldfish-corpus",
            "goldfish-digest",
            "goldfish-mask",
            "goldfish-pipeline",
            "goldfish-report",
            "goldfish-shard",
            "goldfish-storage",
            "goldfish-tokenize",
        ],
    ),
    (
        "goldfish-cli",
        &[
            "goldfish-remedy",
            "goldfish-audit",
            "goldfish-backends",
            "goldfish-columnar",
            "goldfish-corpus",
            "goldfish-inspect",
            "goldfish-lab",
            "goldfish-mask",
            "goldfish-pipeline",
            "goldfish-report",
            "goldfish-shard",
            "goldfish-storage",
            "goldfish-tokenize",
            "goldfish-trace",
        ],
    ),
    (
        "goldfish-python",
        &[
            "goldfish-remedy",
            "goldfish-mask",
            "goldfish-pipeline",
            "goldfish-shard",
            "goldfish-storage",
            "goldfish-tokenize",
            "goldfish-trace",
        ],
    ),
    (
        "xtask",
        &[
            "goldfish-audit",
            "goldfish-corpus",
            "goldfish-inspect",
            "goldfish-mask",
            "goldfish-report",
            "goldfish-shard",
            "goldfish-trace",
        ],
    ),
];

/// Crates for input and output or of considerable size, which rules and matching must not import.
const HEAVY: [&str; 6] = ["arrow", "parquet", "polars", "rayon", "tokenizers", "serde_json"];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = |value: &serde_json::Value| value["name"].as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap();
    let imported = |package: &serde_json::Value| {
        let all = package["dependencies"].as_array().unwrap();
        all.iter().filter(|dependency| dependency["kind"].is_null()).map(name).collect()
    };
    packages.iter().map(|package| (name(package), imported(package))).collect()
}

#[test]
fn crates_import_only_earlier_crates() {
    let found = dependencies();
    let known: BTreeMap<&str, &[&str]> = MAY_IMPORT.into_iter().collect();
    assert_eq!(
        found.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        known.keys().copied().collect::<BTreeSet<_>>(),
        "a crate is missing in the list"
    );
    for (name, imports) in &found {
        for import in imports.iter().filter(|import| known.contains_key(import.as_str())) {
            assert!(known[name.as_str()].contains(&import.as_str()), "{name} must not import {import}");
        }
    }
}

#[test]
fn rules_and_matching_import_no_heavy_crates() {
    let found = dependencies();
    for heavy in HEAVY {
        for light in ["goldfish-mask", "goldfish-match"] {
            assert!(!found[light].contains(heavy), "{light} must not import {heavy}");
        }
    }
}
