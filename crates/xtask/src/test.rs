//! Checks and tests that take minutes, the fastest first.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools::{cargo, root, run, target};
use crate::{deny, docs, generate, packages, python};

/// Failpoints for operations on the disk, and object stores, including the in-memory one of the tests.
const FEATURES: &str = "goldfish-pipeline/failpoints,goldfish-pipeline/object-stores";

/// Suites of `crates/acceptance` whose peers are installed within a minute or two.
const PEERS: [&str; 4] = ["scores", "servers", "pages", "program"];

/// Runs the README's commands, which make a release build; part of `cargo xtask loops`.
pub(crate) const README: &str = "program/test_readme.py";

/// Runs the commands of the tutorials, which train small models and need PyTorch; part of `cargo xtask loops`.
pub(crate) const TUTORIALS: &str = "program/test_tutorials.py";

pub(crate) fn run_all(no_lint: bool) -> anyhow::Result<()> {
    if !no_lint {
        run(cargo().args(["fmt", "--all", "--check"]))?;
        let clippy = ["clippy", "--workspace", "--all-targets", "--features", FEATURES];
        run(cargo().args(clippy).args(["--", "--deny", "warnings"]))?;
    }
    deny::check()?;
    run(cargo().args(["test", "--workspace", "--features", FEATURES]))?;

    let program = build_program()?;
    generate::run(&program, true)?;
    let python = python::environment(python::Environment::Data)?.join("bin/python");
    run(Command::new(&python).args(["fixtures/make.py", "--check"]))?;
    packages::BROWSER.ensure()?;
    packages::NODE.ensure()?;
    let variables = [
        ("GOLDFISH_BIN", program),
        ("GOLDFISH_ROOT", root()),
        ("GOLDFISH_AUDIT_VECTORS", example("audit_vectors")),
        ("GOLDFISH_ASK", example("ask")),
        ("GOLDFISH_FAKE_RUN", example("fake_run")),
        ("GOLDFISH_SITE", docs::build()?),
    ];
    for folder in PEERS {
        run(pytest(&python, folder)
            .args(["--numprocesses", "auto", "--dist", "loadfile"])
            .args([README, TUTORIALS].map(|tests| format!("--ignore=crates/acceptance/{tests}")))
            .envs(variables.clone()))?;
    }
    Ok(())
}

/// pytest on a folder or file below `crates/acceptance`.
pub(crate) fn pytest(python: &Path, tests: &str) -> Command {
    let mut command = Command::new(python);
    command
        .args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider"])
        .arg(format!("crates/acceptance/{tests}"));
    command
}

/// Builds the program in debug mode with the features of the tests, so that nothing is compiled twice; returns its path.
pub(crate) fn build_program() -> anyhow::Result<PathBuf> {
    run(cargo().args(["build", "--workspace", "--bins", "--features", FEATURES]))?;
    Ok(target().join("debug/goldfish"))
}

/// Builds the examples that tests run, as [`run_all`] does.
pub(crate) fn build_examples() -> anyhow::Result<()> {
    run(cargo().args(["test", "--workspace", "--no-run", "--features", FEATURES]))
}

/// The path of a built example.
pub(crate) fn example(name: &str) -> PathBuf {
    target().join("debug/examples").join(name)
}
