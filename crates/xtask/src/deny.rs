//! `cargo deny`: licenses, sources and duplicates of crates.

use std::path::PathBuf;
use std::process::Command;

use crate::tools::{cargo, run, target};

/// The version that deny.toml is written for.
const VERSION: &str = "0.20.2";

/// Runs all checks but the advisories, whose database needs the network: run `cargo deny check advisories` by hand.
pub(crate) fn check() -> anyhow::Result<()> {
    let program = program()?;
    for manifest in ["Cargo.toml", "crates/fuzz/Cargo.toml"] {
        let mut deny = Command::new(&program);
        deny.args(["--config", "deny.toml", "--manifest-path", manifest]);
        run(deny.args(["check", "--hide-inclusion-graph", "bans", "licenses", "sources"]))?;
    }
    Ok(())
}

/// The program, built once below the target folder; without optimization, which halves the build time.
fn program() -> anyhow::Result<PathBuf> {
    let folder = target().join("tools");
    let program = folder.join("bin/cargo-deny");
    let found = Command::new(&program).arg("--version").output();
    if !found.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim_end().ends_with(VERSION)) {
        let mut install = cargo();
        install.args([
            "install",
            "cargo-deny",
            "--version",
            VERSION,
            "--locked",
            "--debug",
            "--quiet",
            "--force",
        ]);
        run(install.arg("--root").arg(&folder).arg("--target-dir").arg(folder.join("build")))?;
    }
    Ok(program)
}
