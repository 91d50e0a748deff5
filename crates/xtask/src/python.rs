//! The Python environment of the tests against peers.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use crate::{root, run, target};

/// What the environment holds.
const REQUIREMENTS: &str = "fixtures/requirements.txt";

/// Makes the environment under the target folder if it isn't there, or if its requirements changed.
pub(crate) fn environment() -> anyhow::Result<PathBuf> {
    let folder = target().join("python");
    let requirements = fs::read_to_string(root().join(REQUIREMENTS)).context(REQUIREMENTS)?;
    let marker = folder.join("installed.txt");
    if fs::read_to_string(&marker).is_ok_and(|installed| installed == requirements) {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    run(Command::new(interpreter()?).args(["-m", "venv"]).arg(&folder))?;
    let pip =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", REQUIREMENTS];
    run(Command::new(folder.join("bin/python")).args(pip))?;
    fs::write(marker, requirements)?;
    Ok(folder)
}

/// A Python of version 3.11 or later.
fn interpreter() -> anyhow::Result<&'static str> {
    const NEEDED: &str = "import sys, venv; sys.exit(sys.version_info < (3, 11))";
    for name in ["python3.11", "python3", "python3.12", "python3.13"] {
        let found = Command::new(name).args(["-c", NEEDED]).output();
        if found.is_ok_and(|output| output.status.success()) {
            return Ok(name);
        }
    }
    bail!("the peer tests need Python 3.11 or later with the venv module on the PATH")
}
