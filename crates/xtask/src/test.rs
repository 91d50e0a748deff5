//! Every check and test, in the order in which they fail fastest.

use std::process::Command;

use crate::{browser, cargo, deny, fuzz, generate, python, root, run, target};

/// Lets tests make operations on the disk fail.
const FAILPOINTS: &str = "goldfish-pipeline/failpoints";

pub(crate) fn run_all(no_lint: bool) -> anyhow::Result<()> {
    if !no_lint {
        run(cargo().args(["fmt", "--all", "--check"]))?;
        let clippy = ["clippy", "--workspace", "--all-targets", "--features", FAILPOINTS];
        run(cargo().args(clippy).args(["--", "--deny", "warnings"]))?;
    }
    deny::check()?;
    run(cargo().args(["test", "--workspace", "--features", FAILPOINTS]))?;
    generate::run(true)?;

    let environment = python::environment()?;
    let python = environment.join("bin/python");
    run(Command::new(&python).args(["fixtures/make.py", "--check"]))?;
    run(cargo().args(["build", "--release"]))?;
    // `cargo test` has built the examples.
    run(Command::new(&python)
        .args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider", "crates/goldfish-audit/tests/peers"])
        .env("GOLDFISH_AUDIT_VECTORS", target().join("debug/examples/audit_vectors")))?;
    run(Command::new(&python)
        .args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider", "crates/goldfish-cli/tests/peers"])
        .env("GOLDFISH_BIN", target().join("release/goldfish"))
        .env("GOLDFISH_ROOT", root()))?;
    browser::ensure()?;
    run(Command::new(&python)
        .args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider", "crates/goldfish-report/tests/peers"])
        .env("GOLDFISH_BIN", target().join("release/goldfish"))
        .env("GOLDFISH_FAKE_RUN", target().join("debug/examples/fake_run")))?;
    fuzz::fuzz(&[], fuzz::Effort::Smoke)
}
