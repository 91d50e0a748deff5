//! Every check and test, in the order in which they fail fastest.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{cargo, counts, deny, fuzz, generate, packages, python, root, run, target};

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
    let package = python::with_package(python::Environment::Package)?;
    let models = python::environment(python::Environment::Models)?.join("bin/python");
    // `cargo test` has built the examples.
    let example = |name: &str| target().join("debug/examples").join(name);
    let goldfish = ("GOLDFISH_BIN", target().join("release/goldfish"));
    counts::check()?;
    packages::BROWSER.ensure()?;
    let peers: [Peers<'_>; 7] = [
        (&python, "goldfish-audit/tests/peers", &[("GOLDFISH_AUDIT_VECTORS", example("audit_vectors"))]),
        (&python, "goldfish-backends/tests/peers", &[goldfish.clone(), ("GOLDFISH_ASK", example("ask"))]),
        (
            &models,
            "goldfish-backends/tests/models",
            &[("GOLDFISH_SCORE_CHECKPOINT", example("score_checkpoint"))],
        ),
        (&models, "goldfish-cli/tests/models", std::slice::from_ref(&goldfish)),
        (
            &python,
            "goldfish-report/tests/peers",
            &[goldfish.clone(), ("GOLDFISH_FAKE_RUN", example("fake_run"))],
        ),
        (&package, "goldfish-python/tests/package", std::slice::from_ref(&goldfish)),
        (&python, "goldfish-cli/tests/peers", &[goldfish.clone(), ("GOLDFISH_ROOT", root())]),
    ];
    for (python, folder, variables) in peers {
        let folder = format!("crates/{folder}");
        run(Command::new(python)
            .args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider", &folder])
            .envs(variables.iter().map(|(name, value)| (name, value))))?;
    }
    fuzz::fuzz(&[], fuzz::Effort::Smoke)
}
