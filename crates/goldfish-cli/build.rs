//! Tells a release build which commit it is made from.

use std::path::Path;
use std::process::Command;

const COMMIT: &str = "GOLDFISH_COMMIT";

/// What git says about this folder.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim().to_owned())
}

#[allow(clippy::print_stdout, reason = "cargo reads it")]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={COMMIT}");
    // Other builds would be made again after each commit.
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if !is_release || std::env::var_os(COMMIT).is_some() {
        return;
    }
    // A copy of the sources inside another repository has none of its commits.
    if git(&["rev-parse", "--show-prefix"]).as_deref() != Some("crates/goldfish-cli/") {
        return;
    }
    if let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) {
        println!("cargo::rustc-env={COMMIT}={commit}");
    }
    // A missing file would be taken for a changed one.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
}
