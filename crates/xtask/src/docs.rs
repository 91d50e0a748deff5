//! The documentation as a site that opens from disk.

use std::path::PathBuf;
use std::process::Command;

use crate::python::{self, Environment};
use crate::tools::{run, target};

/// Builds the site of `docs/` and `schemas/` below the target folder; returns its folder.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    let python = python::environment(Environment::Site)?.join("bin/python");
    run(Command::new(python).arg("crates/xtask/site/build.py").arg(target()))?;
    Ok(target().join("site"))
}
