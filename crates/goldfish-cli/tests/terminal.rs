//! What reaches a terminal: names of files and ids of documents steer nothing there, and are not endless.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::process::Command;

use goldfish_report::is_hidden;

/// A new line, a color, marks of both directions, a line separator, a zero-width space, a control of the upper set.
const EVIL: &str = "e\nv\u{1b}[31mi\u{202e}l\u{2066}\u{200f}\u{61c}\u{2028}\u{200b}\u{9b}";

/// The same as it may be shown: in messages, in a command for a shell, in JSON.
const SHOWN: [&str; 3] = [
    "e\\nv\\u{1b}[31mi\\u{202e}l\\u{2066}\\u{200f}\\u{61c}\\u{2028}\\u{200b}\\u{9b}",
    "e\\012v\\033[31mi\\u202el\\u2066\\u200f\\u061c\\u2028\\u200b\\u009b",
    "e\\nv\\u001b[31mi\\u202el\\u2066\\u200f\\u061c\\u2028\\u200b\\u009b",
];

/// Runs a command and returns all that it says.
fn goldfish(folder: &Path, arguments: &[&str], code: i32) -> String {
    let program = env!("CARGO_BIN_EXE_goldfish");
    let output = Command::new(program).args(arguments).current_dir(folder).output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said:?}");
    said
}

/// Runs a command whose words must hold the name, and nothing raw of it.
fn tame(folder: &Path, arguments: &[&str], code: i32) -> String {
    let said = goldfish(folder, arguments, code);
    assert!(!said.chars().any(|c| c != '\n' && is_hidden(c)), "{arguments:?}: {said:?}");
    assert!(!said.contains("e\nv"), "{arguments:?}: a name ends a line: {said:?}");
    assert!(SHOWN.iter().any(|shown| said.contains(shown)), "{arguments:?} doesn't name it: {said:?}");
    said
}

/// Documents of token ids.
fn write(path: &Path, ids: &[String]) {
    let line = |id: &String| {
        let id = serde_json::Value::from(id.as_str());
        format!("{{\"id\": {id}, \"by\": {id}, \"input_ids\": {:?}}}\n", (0..40).collect::<Vec<u32>>())
    };
    fs::write(path, ids.iter().map(line).collect::<String>()).unwrap();
}

#[test]
fn names_and_ids_steer_no_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (corpus, out) = (format!("{EVIL} corpus"), format!("{EVIL} out"));
    fs::create_dir(folder.join(&corpus)).unwrap();
    let ids: Vec<String> = (0..3).map(|row| format!("{EVIL} {row}")).collect();
    write(&folder.join(&corpus).join(format!("{EVIL}.jsonl")), &ids);
    // Not read, which a note says.
    fs::write(folder.join(&corpus).join(format!("{EVIL}.odd")), "").unwrap();
    let columns = ["--ids-column", "input_ids", "--id-column", "id", "--carry", "by"];
    let mask = [&["mask", &corpus, "--output", &out], &columns[..]].concat();
    tame(folder, &mask, 0);
    // It is there already.
    tame(folder, &mask, 2);
    tame(folder, &[&mask[..], &["--overwrite", "--json"]].concat(), 0);
    tame(folder, &["inspect", &out, "--by", "by", "--html", &format!("{EVIL}.html")], 0);
    tame(folder, &["inspect", &out, "--json"], 0);
    let page = fs::read_to_string(folder.join(format!("{EVIL}.html"))).unwrap();
    assert!(!page.contains('\u{202e}') && !page.contains('\u{1b}'));
    tame(folder, &["verify", &out], 0);
    tame(folder, &["export", &out, "--to", "olmo", "--output", &format!("{EVIL} olmo")], 0);
    tame(folder, &["verify", &format!("{EVIL} olmo")], 0);
    fs::write(folder.join(&out).join(format!("{EVIL}.parquet")), "").unwrap();
    tame(folder, &["verify", &out], 1);
    tame(folder, &["verify", &out, "--json"], 1);
    // Errors of every kind: a row, a path, an argument.
    fs::write(folder.join(format!("{EVIL}.jsonl")), "{\"input_ids\": 3}\n").unwrap();
    let said =
        tame(folder, &["mask", &format!("{EVIL}.jsonl"), "--ids-column", "input_ids", "--output", "o"], 2);
    assert!(said.contains("\nFix the row"), "what the program says has lines of its own: {said:?}");
    for command in ["verify", "inspect", "report"] {
        tame(folder, &[command, &format!("{EVIL} nowhere")], 2);
    }
    tame(folder, &["compare", &format!("{EVIL} nowhere"), "nowhere"], 2);
    tame(folder, &["mask", &format!("--{EVIL}")], 2);
    tame(folder, &["audit", &out, "--model", &format!("{EVIL} model"), "--output", "run"], 2);
}

#[test]
fn a_long_id_is_cut_with_its_length() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(&folder.join("corpus.jsonl"), &["x".repeat(10_000_000)]);
    let mask = ["mask", "corpus.jsonl", "--ids-column", "input_ids", "--id-column", "id", "--output", "out"];
    for arguments in [&mask[..], &["inspect", "out", "--by", "doc_id"], &["inspect", "out"]] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_goldfish")).args(arguments).current_dir(folder).output();
        let output = output.unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        assert!(said.len() < 10_000, "{arguments:?}: {} bytes", said.len());
        if arguments[0] == "mask" || arguments.len() == 2 {
            assert!(said.contains("x… (10,000,000 characters)"), "{arguments:?}: {said}");
        }
    }
}
