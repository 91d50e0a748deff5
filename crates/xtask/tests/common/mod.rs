//! Source files of the crates.

use std::fs;
use std::path::{Path, PathBuf};

/// The source files of all crates but the exempt ones.
pub(crate) fn sources_without(exempt: &[&str]) -> Vec<PathBuf> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for entry in fs::read_dir(crates).unwrap() {
        let entry = entry.unwrap();
        if !exempt.contains(&entry.file_name().to_str().unwrap()) && entry.path().join("src").is_dir() {
            add_sources(&entry.path().join("src"), &mut files);
        }
    }
    assert!(files.len() > 200, "{} files", files.len());
    files
}

fn add_sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
