//! Only `goldfish-storage` opens files: it follows no links when it writes and does not block on pipes.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;

/// The crate that may open files, and those that never see untrusted files.
const EXEMPT: [&str; 3] = ["goldfish-storage", "xtask", "fuzz"];

/// The modules with examples, which are compiled in tests only.
const TEST_MODULE: &str = "toy.rs";

/// Calls that open, change or remove a file by its path.
const CALLS: [&str; 13] = [
    "fs::write(",
    "fs::read(",
    "fs::read_to_string(",
    "fs::rename(",
    "fs::copy(",
    "fs::hard_link(",
    "fs::remove_file(",
    "fs::remove_dir_all(",
    "fs::File::open(",
    "fs::File::create(",
    "File::create(",
    "File::create_new(",
    "OpenOptions",
];

#[test]
fn only_one_crate_opens_and_changes_files_by_path() {
    let mut files = common::sources_without(&EXEMPT);
    files.retain(|path| !path.ends_with(TEST_MODULE));
    let mut wrong = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        // Tests may create files.
        let code = text.split("#[cfg(test)]").next().unwrap();
        let imports_file = code.lines().any(|line| line.starts_with("use std::fs") && line.contains("File"))
            && !code.contains("goldfish_storage::File");
        for (number, line) in code.lines().enumerate() {
            let opens = imports_file && line.contains(" File::open(");
            // Files of the kernel are trusted.
            if (opens || CALLS.iter().any(|call| line.contains(call))) && !line.contains("\"/proc/") {
                wrong.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "call goldfish_storage instead:\n{}", wrong.join("\n"));
}
