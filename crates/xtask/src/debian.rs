//! Programs that come as packages of Debian.

use std::process::Command;

use anyhow::Context;

use crate::run;

/// The browser of the tests of pages: Debian's packages with their programs.
pub(crate) const BROWSER: [(&str, &str); 2] = [("chromium", "chromium"), ("chromium-driver", "chromedriver")];

/// What Spark runs on.
pub(crate) const JAVA: [(&str, &str); 1] = [("default-jre-headless", "java")];

/// Makes sure that the programs of these packages are there. Missing packages are installed, which takes root.
pub(crate) fn ensure(packages: &[(&str, &str)]) -> anyhow::Result<()> {
    let missing = packages.iter().filter(|(_, program)| !is_there(program)).map(|(package, _)| *package);
    let names: Vec<&str> = missing.collect();
    if names.is_empty() {
        return Ok(());
    }
    let advice = format!("the tests need {0}: apt-get install {0}", names.join(" "));
    run(Command::new("apt-get").args(["update", "--quiet", "--quiet"])).context(advice.clone())?;
    let install = ["install", "--yes", "--quiet", "--quiet", "--no-install-recommends"];
    run(Command::new("apt-get").args(install).args(names).env("DEBIAN_FRONTEND", "noninteractive"))
        .context(advice)
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}
