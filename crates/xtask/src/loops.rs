//! Training loops, distributed engines and object stores, run for real on what goldfish writes and reads.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::python::Environment;
use crate::{cargo, packages, python, root, run, target};

/// Tests that need heavy environments or servers: the environment, and their folder below `crates`.
const SUITES: [(Environment, &str); 3] = [
    (Environment::Loops, "goldfish-python/tests/loops"),
    (Environment::Engines, "goldfish-cli/tests/engines"),
    (Environment::Stores, "goldfish-cli/tests/stores"),
];

/// Microsoft's emulator of Azure's store, as npm installs it.
const AZURITE: &str = "azurite@3.35.0";

/// Makes the environments, builds the program and the Python package, and runs every suite, or those whose folder's
/// name contains `only`.
pub(crate) fn run_all(only: Option<&str>) -> anyhow::Result<()> {
    for (environment, folder) in SUITES {
        if only.is_some_and(|only| !folder.contains(only)) {
            continue;
        }
        let mut variables = vec![("GOLDFISH_ROOT", root())];
        if environment == Environment::Stores {
            variables.push(("GOLDFISH_BIN", with_stores()?));
            variables.push(("GOLDFISH_AZURITE", azurite()?));
            variables.push(("GOLDFISH_STORES_REQUIRED", "1".into()));
        } else {
            run(cargo().args(["build", "--release"]))?;
            variables.push(("GOLDFISH_BIN", target().join("release/goldfish")));
        }
        let python = match environment {
            Environment::Loops => {
                packages::JAVA.ensure()?;
                python::with_package(environment)?
            }
            _ => python::environment(environment)?.join("bin/python"),
        };
        run(Command::new(python)
            .args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider"])
            .arg(format!("crates/{folder}"))
            .envs(variables))?;
    }
    Ok(())
}

/// Builds the program with object stores, and puts it where no other build replaces it.
fn with_stores() -> anyhow::Result<PathBuf> {
    run(cargo().args(["build", "--release", "--features", "object-stores"]))?;
    let folder = target().join("stores");
    fs::create_dir_all(&folder)?;
    let program = folder.join("goldfish");
    fs::copy(target().join("release/goldfish"), &program)?;
    Ok(program)
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
