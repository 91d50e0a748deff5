//! Messages of library crates name no command line flags. What a user can do about an error is a
//! `goldfish_remedy::Remedy`, which the program renders as a flag and Python as a keyword.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;

/// Crates that are front ends or run the project's tests.
const FRONT_ENDS: [&str; 4] = ["goldfish-cli", "goldfish-python", "fuzz", "xtask"];

/// Files that build command lines for users to run.
const COMMAND_LINES: [&str; 1] = ["goldfish-lab/src/commands.rs"];

/// Whether a line of code has two hyphens and a letter.
fn names_a_flag(line: &str) -> bool {
    let is_flag = |(start, _): (usize, &str)| line[start + 2..].starts_with(|c: char| c.is_ascii_lowercase());
    !line.trim_start().starts_with("//") && line.match_indices("--").any(is_flag)
}

#[test]
fn messages_of_libraries_name_no_flags() {
    let files = common::sources_without(&FRONT_ENDS);
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
