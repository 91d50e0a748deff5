//! Every check and test, in the order in which they fail fastest.

use std::process::Command;

use crate::{cargo, deny, fuzz, generate, python, root, run, target};

pub(crate) fn run_all(no_lint: bool) -> anyhow::Result<()> {
    if !no_lint {
        run(cargo().args(["fmt", "--all", "--check"]))?;
        run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    }
    deny::check()?;
    run(cargo().args(["test", "--workspace"]))?;
    generate::run(true)?;

    let environment = python::environment()?;
    let python = environment.join("bin/python");
    run(Command::new(&python).args(["fixtures/make.py", "--check"]))?;
    run(cargo().args(["build", "--release"]))?;
    run(Command::new(&python)
        .args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider", "crates/goldfish-cli/tests/peers"])
        .env("GOLDFISH_BIN", target().join("release/goldfish"))
        .env("GOLDFISH_ROOT", root()))?;
    fuzz::fuzz(&[], fuzz::Effort::Smoke)
}
