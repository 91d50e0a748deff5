//! The licenses of the crates that a program contains: whoever passes the program on must pass on their texts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::Value;

use crate::tools::{cargo, output};

/// How the names of files with licenses begin, in capitals.
const NAMES: [&str; 5] = ["COPYING", "COPYRIGHT", "LICENSE", "NOTICE", "UNLICENSE"];

const ABOUT: &str = "The program contains these crates of others, which are on https://crates.io. Their licenses follow.
For Linux it contains the GNU C Library too, under the LGPL 2.1 or later: https://www.gnu.org/software/libc.\n";

/// The crates of others in the program for a target, and the texts of their licenses.
pub(crate) fn of_program(features: &str, target: &str) -> anyhow::Result<String> {
    let mut tree = cargo();
    tree.args(["tree", "--locked", "--package", "goldfish-cli", "--target", target, "--features", features]);
    tree.args(["--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    let tree = String::from_utf8(output(&mut tree)?)?;
    let used: BTreeSet<(&str, &str)> = tree
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?.strip_prefix('v')?))
        })
        .collect();

    let mut metadata = cargo();
    let metadata = output(metadata.args(["metadata", "--locked", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_slice(&metadata)?;
    let mut names = String::from(ABOUT);
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in metadata["packages"].as_array().context("cargo metadata lists no packages")? {
        let field = |name: &str| package[name].as_str().unwrap_or_default();
        // Those without a source are ours.
        if package["source"].is_null() || !used.contains(&(field("name"), field("version"))) {
            continue;
        }
        let name = format!("{} {}", field("name"), field("version"));
        names += &format!("\n{name}: {}", field("license"));
        for file in files(Path::new(field("manifest_path")))? {
            let text = String::from_utf8_lossy(&fs::read(&file)?).replace("\r\n", "\n").trim().to_owned();
            texts.entry(text).or_default().push(name.clone());
        }
    }
    let mut texts: Vec<(Vec<String>, String)> =
        texts.into_iter().map(|(text, names)| (names, text)).collect();
    texts.sort();
    let rule = "-".repeat(80);
    let texts =
        texts.iter().map(|(names, text)| format!("\n\n{rule}\n{}\n{rule}\n\n{text}", names.join("\n")));
    Ok(names + &texts.collect::<String>() + "\n")
}

/// The files with licenses beside a manifest.
fn files(manifest: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let folder = manifest.parent().context("a manifest without a folder")?;
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        if entry.file_type()?.is_file() && NAMES.iter().any(|start| name.starts_with(start)) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
