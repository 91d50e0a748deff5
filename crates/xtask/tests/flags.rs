//! Messages of library crates name no command line flags. What a user can do about an error is a
//! `goldfish_remedy::Remedy`, which the program renders as a flag and Python as a keyword.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

/// Crates that are front ends or run the project's tests.
const FRONT_ENDS: [&str; 4] = ["goldfish-cli", "goldfish-python", "fuzz", "xtask"];

/// Files that build command lines for users to run.
const COMMAND_LINES: [&str; 1] = ["goldfish-lab/src/commands.rs"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Whether a line of code has two hyphens and a letter.
fn names_a_flag(line: &str) -> bool {
    let is_flag = |(start, _): (usize, &str)| line[start + 2..].starts_with(|c: char| c.is_ascii_lowercase());
    !line.trim_start().starts_with("//") && line.match_indices("--").any(is_flag)
}

#[test]
fn messages_of_libraries_name_no_flags() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for entry in fs::read_dir(&crates).unwrap() {
        let entry = entry.unwrap();
        if !FRONT_ENDS.contains(&entry.file_name().to_str().unwrap()) && entry.path().join("src").is_dir() {
            sources(&entry.path().join("src"), &mut files);
        }
    }
    assert!(files.len() > 200, "{} files", files.len());
    let mut wrong = Vec::new();
    for path in files.iter().filter(|path| !COMMAND_LINES.iter().any(|exempt| path.ends_with(exempt))) {
        let text = fs::read_to_string(path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for (number, line) in code.lines().enumerate().filter(|(_, line)| names_a_flag(line)) {
            wrong.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
        }
    }
    assert!(wrong.is_empty(), "give a remedy instead:\n{}", wrong.join("\n"));
    assert!(
        names_a_flag("\"give --resume\"") && !names_a_flag("// give --resume") && !names_a_flag("\"-- \"")
    );
}
