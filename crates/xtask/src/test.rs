//! Checks and tests that take minutes, in the order in which they fail fastest.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{cargo, counts, deny, generate, packages, python, root, run, target};

/// Lets tests make operations on the disk fail, and builds object stores, one of which lies in the tests' own process.
const FEATURES: &str = "goldfish-pipeline/failpoints,goldfish-pipeline/object-stores";

/// Tests against peers: their Python, their folder below `crates`, and the variables that name the programs under test.
type Peers<'a> = (&'a Path, &'a str, &'a [(&'a str, PathBuf)]);

pub(crate) fn run_all(no_lint: bool) -> anyhow::Result<()> {
    if !no_lint {
        run(cargo().args(["fmt", "--all", "--check"]))?;
        let clippy = ["clippy", "--workspace", "--all-targets", "--features", FEATURES];
        run(cargo().args(clippy).args(["--", "--deny", "warnings"]))?;
    }
    deny::check()?;
    run(cargo().args(["test", "--workspace", "--features", FEATURES]))?;

    counts::build()?;
    generate::run(true)?;
    let python = python::environment(python::Environment::Data)?.join("bin/python");
    run(Command::new(&python).args(["fixtures/make.py", "--check"]))?;
    let goldfish = ("GOLDFISH_BIN", target().join("release/goldfish"));
    counts::check()?;
    packages::BROWSER.ensure()?;
    let peers: [Peers<'_>; 4] = [
        (&python, "goldfish-audit/tests/peers", &[("GOLDFISH_AUDIT_VECTORS", example("audit_vectors"))]),
        (&python, "goldfish-backends/tests/peers", &[goldfish.clone(), ("GOLDFISH_ASK", example("ask"))]),
        (
            &python,
            "goldfish-report/tests/peers",
            &[goldfish.clone(), ("GOLDFISH_FAKE_RUN", example("fake_run"))],
        ),
        (&python, "goldfish-cli/tests/peers", &[goldfish.clone(), ("GOLDFISH_ROOT", root())]),
    ];
    for (python, folder, variables) in peers {
        let folder = format!("crates/{folder}");
        run(Command::new(python)
            .args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider", &folder])
            .envs(variables.iter().map(|(name, value)| (name, value))))?;
    }
    Ok(())
}

/// The program in its debug build, with all features of the tests, beside which it costs little.
pub(crate) fn debug_program() -> anyhow::Result<PathBuf> {
    run(cargo().args(["build", "--workspace", "--bins", "--features", FEATURES]))?;
    Ok(target().join("debug/goldfish"))
}

/// Builds the examples that tests run, as [`run_all`] does.
pub(crate) fn build_examples() -> anyhow::Result<()> {
    run(cargo().args(["test", "--workspace", "--no-run", "--features", FEATURES]))
}

/// Where an example is once it is built.
pub(crate) fn example(name: &str) -> PathBuf {
    target().join("debug/examples").join(name)
}
