//! Training loops, distributed engines and object stores, run for real on what goldfish writes and reads.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::python::Environment;
use crate::{cargo, packages, python, root, run, target};

/// Tests that need heavy environments or servers: the environment, and their folder or file below `crates`.
const SUITES: [(Environment, &str); 6] = [
    (Environment::Loops, "goldfish-python/tests/loops"),
    (Environment::Axolotl, "goldfish-python/tests/loops/in_axolotl.py"),
    (Environment::LlamaFactory, "goldfish-python/tests/loops/in_llama_factory.py"),
    (Environment::Engines, "goldfish-cli/tests/engines"),
    (Environment::Levanter, "goldfish-cli/tests/engines/in_levanter.py"),
    (Environment::Stores, "goldfish-cli/tests/stores"),
];

/// Microsoft's emulator of Azure's store, as npm installs it.
const AZURITE: &str = "azurite@3.35.0";

/// What is run in an environment that has the Python package alone, as a person installs it.
const FROM_SOURCE: &str = "goldfish-python/tests/from_source.py";

/// Makes the environments, builds the program and the Python package, and runs every suite, or those whose path
/// contains `only`.
pub(crate) fn run_all(only: Option<&str>) -> anyhow::Result<()> {
    let wanted = |path: &str| only.is_none_or(|only| path.contains(only));
    let is_store = |environment: Environment| environment == Environment::Stores;
    if wanted(FROM_SOURCE) || SUITES.iter().any(|&(which, path)| wanted(path) && !is_store(which)) {
        run(cargo().args(["build", "--release"]))?;
        packages::JAVA.ensure()?;
    }
    let built = [("GOLDFISH_BIN", target().join("release/goldfish")), ("GOLDFISH_ROOT", root())];
    for (environment, path) in SUITES.into_iter().filter(|(_, path)| wanted(path)) {
        let variables = if is_store(environment) { with_stores()? } else { built.to_vec() };
        let python = match environment {
            Environment::Loops => python::with_package(environment)?,
            _ => python::environment(environment)?.join("bin/python"),
        };
        run(Command::new(python)
            .args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider"])
            .arg(format!("crates/{path}"))
            .envs(variables))?;
    }
    if wanted(FROM_SOURCE) {
        let mut command = Command::new(python::from_source()?);
        run(command.arg(format!("crates/{FROM_SOURCE}")).envs(built))?;
    }
    Ok(())
}

/// Builds the program with object stores, puts it where no other build replaces it, and installs what is no Python
/// package; gives the variables of the tests.
fn with_stores() -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
    run(cargo().args(["build", "--release", "--features", "object-stores"]))?;
    let folder = target().join("stores");
    fs::create_dir_all(&folder)?;
    let program = folder.join("goldfish");
    fs::copy(target().join("release/goldfish"), &program)?;
    let required = ("GOLDFISH_STORES_REQUIRED", PathBuf::from("1"));
    Ok(vec![("GOLDFISH_BIN", program), ("GOLDFISH_ROOT", root()), ("GOLDFISH_AZURITE", azurite()?), required])
}

/// Installs the emulator below the target folder if it isn't there; gives its folder.
fn azurite() -> anyhow::Result<PathBuf> {
    packages::NODE.ensure()?;
    let folder = target().join("azurite");
    let marker = folder.join("installed.txt");
    if !fs::read_to_string(&marker).is_ok_and(|installed| installed == AZURITE) {
        fs::create_dir_all(&folder)?;
        let install = ["install", "--no-audit", "--no-fund", "--silent", "--prefix"];
        run(Command::new("npm").args(install).arg(&folder).arg(AZURITE))?;
        fs::write(marker, AZURITE)?;
    }
    Ok(folder)
}

/// Prints size and speed of the Python package.
pub(crate) fn bench() -> anyhow::Result<()> {
    run(cargo().args(["build", "--release"]))?;
    let python = python::with_package(Environment::Loops)?;
    let goldfish = target().join("release/goldfish");
    run(Command::new(python).arg("crates/goldfish-python/bench.py").env("GOLDFISH_BIN", goldfish))
}
