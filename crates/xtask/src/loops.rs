//! Training loops and distributed engines, run for real on what goldfish writes.

use std::path::PathBuf;
use std::process::Command;

use crate::python::Environment;
use crate::{cargo, packages, python, root, run, target};

/// Tests that need heavy environments: the environment, and their folder or file below `crates`.
const SUITES: [(Environment, &str); 5] = [
    (Environment::Loops, "goldfish-python/tests/loops"),
    (Environment::Axolotl, "goldfish-python/tests/loops/in_axolotl.py"),
    (Environment::LlamaFactory, "goldfish-python/tests/loops/in_llama_factory.py"),
    (Environment::Engines, "goldfish-cli/tests/engines"),
    (Environment::Levanter, "goldfish-cli/tests/engines/in_levanter.py"),
];

/// What is run in an environment that has the Python package alone, as a person installs it.
const FROM_SOURCE: &str = "goldfish-python/tests/from_source.py";

/// Makes the environments, builds the program and the Python package, and runs every suite, or those whose path
/// contains `only`.
pub(crate) fn run_all(only: Option<&str>) -> anyhow::Result<()> {
    run(cargo().args(["build", "--release"]))?;
    packages::JAVA.ensure()?;
    let variables: [(&str, PathBuf); 2] =
        [("GOLDFISH_BIN", target().join("release/goldfish")), ("GOLDFISH_ROOT", root())];
    for (environment, path) in SUITES {
        if only.is_some_and(|only| !path.contains(only)) {
            continue;
        }
        let python = match environment {
            Environment::Loops => python::with_package(environment)?,
            _ => python::environment(environment)?.join("bin/python"),
        };
        run(Command::new(python)
            .args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider"])
            .arg(format!("crates/{path}"))
            .envs(variables.iter().map(|(name, value)| (name, value))))?;
    }
    if only.is_none_or(|only| FROM_SOURCE.contains(only)) {
        let mut command = Command::new(python::from_source()?);
        run(command.arg(format!("crates/{FROM_SOURCE}")).envs(variables))?;
    }
    Ok(())
}

/// Prints size and speed of the Python package.
pub(crate) fn bench() -> anyhow::Result<()> {
    run(cargo().args(["build", "--release"]))?;
    let python = python::with_package(Environment::Loops)?;
    let goldfish = target().join("release/goldfish");
    run(Command::new(python).arg("crates/goldfish-python/bench.py").env("GOLDFISH_BIN", goldfish))
}
