//! The browser of the tests of pages.

use std::process::Command;

use anyhow::Context;

use crate::run;

/// Debian's packages with their programs.
const PACKAGES: [(&str, &str); 2] = [("chromium", "chromium"), ("chromium-driver", "chromedriver")];

/// Makes sure that Chromium and its driver are there. Where they are missing, Debian's packages are installed, which
/// takes root.
pub(crate) fn ensure() -> anyhow::Result<()> {
    let missing = || PACKAGES.iter().filter(|(_, program)| !is_there(program)).map(|(package, _)| *package);
    if missing().next().is_none() {
        return Ok(());
    }
    let names: Vec<&str> = missing().collect();
    let advice = format!("the tests of pages need {0}: apt-get install {0}", names.join(" "));
    run(Command::new("apt-get").args(["update", "--quiet", "--quiet"])).context(advice.clone())?;
    let install = ["install", "--yes", "--quiet", "--quiet", "--no-install-recommends"];
    run(Command::new("apt-get").args(install).args(names).env("DEBIAN_FRONTEND", "noninteractive"))
        .context(advice)
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}
