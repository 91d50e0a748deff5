//! `docs/limits.md` lists the constants of the code, and the lint against `unsafe` is on in every crate.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Files that may have `unsafe` code: Arrow's C data interface passes pointers.
const UNSAFE: [&str; 1] = ["goldfish-python/src/bridge.rs"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn documented_limits_are_the_constants() {
    let constants: BTreeMap<&str, u64> = [
        ("DEFAULT_MAX_DOCUMENT", goldfish_corpus::DEFAULT_MAX_DOCUMENT as u64),
        ("MAX_DOCUMENT_BYTES", goldfish_corpus::MAX_DOCUMENT_BYTES as u64),
        ("MAX_DOCUMENT_TOKENS", goldfish_corpus::MAX_DOCUMENT_TOKENS as u64),
        ("MAX_BATCH_BYTES", goldfish_columnar::MAX_BATCH_BYTES),
        ("MAX_BATCH_ROWS", goldfish_columnar::MAX_BATCH_ROWS.cast_unsigned()),
        ("MAX_METADATA_BYTES", goldfish_columnar::MAX_METADATA_BYTES),
        ("MAX_LEVELS", goldfish_columnar::MAX_LEVELS),
        ("MAX_LEVELS_A_BYTE", goldfish_columnar::MAX_LEVELS_A_BYTE),
        ("MAX_ARRAY_BYTES", goldfish_corpus::MAX_ARRAY_BYTES),
        ("MAX_TOKENIZER_BYTES", goldfish_tokenize::MAX_TOKENIZER_BYTES),
        ("MAX_VOCABULARY", goldfish_tokenize::MAX_VOCABULARY.into()),
        ("MAX_POLICY_BYTES", goldfish_pipeline::MAX_POLICY_BYTES),
        ("MAX_MANIFEST_BYTES", goldfish_shard::MAX_MANIFEST_BYTES),
        ("MAX_LISTED_INPUTS", goldfish_shard::MAX_LISTED_INPUTS as u64),
        ("MAX_INPUTS", goldfish_shard::MAX_INPUTS),
        ("MAX_FOLDER_SHARDS", goldfish_shard::MAX_FOLDER_SHARDS as u64),
        ("MAX_STORE_SHARD_BYTES", goldfish_shard::MAX_STORE_SHARD_BYTES),
        ("MAX_STORE_REJECTS_BYTES", goldfish_shard::MAX_STORE_REJECTS_BYTES),
        ("MAX_SEQUENCE_LENGTH", goldfish_shard::MAX_SEQUENCE_LENGTH.into()),
        ("MAX_CONTEXT", goldfish_mask::MAX_CONTEXT.into()),
        ("MAX_SETTINGS_BYTES", goldfish_backends::local::MAX_SETTINGS_BYTES),
        ("MAX_HEADER_BYTES", goldfish_backends::local::MAX_HEADER_BYTES),
        ("MAX_SHARDS", goldfish_backends::local::MAX_SHARDS as u64),
        ("MAX_LAYERS", goldfish_backends::local::MAX_LAYERS as u64),
        ("MAX_WIDTH", goldfish_backends::local::MAX_WIDTH as u64),
        ("MAX_CONTEXT_LENGTH", goldfish_backends::local::MAX_CONTEXT_LENGTH as u64),
        ("MAX_EXPERTS", goldfish_backends::local::MAX_EXPERTS as u64),
        ("MAX_RANK", goldfish_backends::local::MAX_RANK as u64),
        ("MAX_RESPONSE_BYTES", goldfish_backends::http::MAX_RESPONSE_BYTES),
        ("MAX_EXCHANGE_BYTES", goldfish_backends::http::MAX_EXCHANGE_BYTES as u64),
    ]
    .into();
    let text = fs::read_to_string(root().join("docs/limits.md")).unwrap();
    let mut documented = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let cap = cells[2].split(' ').next().unwrap().parse::<u64>().unwrap();
        documented.insert(cells[1].trim_matches('`'), cap);
    }
    assert_eq!(documented, constants, "docs/limits.md differs from the code");
}

/// All source files, including fuzz targets.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn unsafe_code_is_denied() {
    let root = root();
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let lint = manifest.lines().find(|line| line.starts_with("unsafe_code")).unwrap();
    assert!(lint.contains("forbid") || lint.contains("deny"), "{lint}");
    for entry in fs::read_dir(root.join("crates")).unwrap() {
        let path = entry.unwrap().path().join("Cargo.toml");
        // The acceptance tests are Python.
        let Ok(manifest) = fs::read_to_string(&path) else { continue };
        let held =
            manifest.contains("[lints]\nworkspace = true") || manifest.contains("unsafe_code = \"deny\"");
        assert!(held, "{} does not use the workspace's lints", path.display());
    }
    let mut files = Vec::new();
    sources(&root.join("crates"), &mut files);
    assert!(files.len() > 50, "the sources were not found");
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        // Split, so that this file does not match.
        let allows = text.contains(concat!("allow(unsafe", "_code"));
        let listed = UNSAFE.iter().any(|file| path.ends_with(file));
        assert!(!allows || listed, "{} allows unsafe code and is not listed", path.display());
    }
}
