//! Tests with large environments: training loops, distributed engines, checkpoints and object stores.

use std::path::PathBuf;
use std::process::Command;

use crate::python::Environment;
use crate::tools::{cargo, root, run, target};
use crate::{packages, python, release, test};

/// Each suite: its environment, and its folder or file below `crates/acceptance`.
const SUITES: [(Environment, &str); 11] = [
    (Environment::Data, test::README),
    (Environment::Package, PACKAGE),
    (Environment::Models, "checkpoints"),
    (Environment::Models, "training"),
    (Environment::Loops, "loops"),
    (Environment::Loops, test::TUTORIALS),
    (Environment::Axolotl, "loops/in_axolotl.py"),
    (Environment::LlamaFactory, "loops/in_llama_factory.py"),
    (Environment::Engines, "engines"),
    (Environment::Levanter, "engines/in_levanter.py"),
    (Environment::Stores, "stores"),
];

/// The Python package, and the files of a release.
const PACKAGE: &str = "package";

/// The npm package of Microsoft's emulator of Azure storage.
const AZURITE: &str = "azurite@3.35.0";

/// Runs in an environment with only the Python package, installed by pip from its source.
const FROM_SOURCE: &str = "package/from_source.py";

/// Runs every suite, or those whose path contains `only`, after building what they need.
pub(crate) fn run_all(only: Option<&str>) -> anyhow::Result<()> {
    let wanted = |path: &str| only.is_none_or(|only| path.contains(only));
    let is_wanted =
        |environment: Environment| SUITES.iter().any(|&(e, path)| e == environment && wanted(path));
    // Before the ordinary build, whose program has the same path. Its features are those of that build, to share its crates.
    let files = wanted(PACKAGE).then(|| release::run(&release::Options::default())).transpose()?;
    if wanted(FROM_SOURCE) || SUITES.iter().any(|&(which, path)| wanted(path) && which != Environment::Stores)
    {
        run(cargo().args(["build", "--release"]))?;
    }
    if is_wanted(Environment::Loops) {
        packages::JAVA.ensure()?;
    }
    if is_wanted(Environment::Models) {
        test::build_examples()?;
    }
    let mut built = vec![
        ("GOLDFISH_BIN", target().join("release/goldfish")),
        ("GOLDFISH_ROOT", root()),
        ("GOLDFISH_SCORE_CHECKPOINT", test::example("score_checkpoint")),
        // Not the path of this process: a build of the workspace may have replaced its file.
        ("GOLDFISH_XTASK", target().join("debug/xtask")),
    ];
    built.extend(files.map(|files| ("GOLDFISH_RELEASE", files)));
    for (environment, path) in SUITES.into_iter().filter(|(_, path)| wanted(path)) {
        let variables = if environment == Environment::Stores { with_stores()? } else { built.clone() };
        let python = match environment {
            Environment::Loops | Environment::Package => python::with_package(environment)?,
            _ => python::environment(environment)?.join("bin/python"),
        };
        let mut tests = test::pytest(&python, path);
        if environment == Environment::Stores {
            // They mostly wait: for servers, and until a request is tried again.
            tests.args(["--numprocesses", "4", "--dist", "worksteal"]);
        }
        run(tests.envs(variables))?;
    }
    if wanted(FROM_SOURCE) {
        let mut command = Command::new(python::from_source()?);
        run(command.arg(format!("crates/acceptance/{FROM_SOURCE}")).envs(built))?;
    }
    Ok(())
}

/// Builds the program with object stores and installs the emulator; returns the environment variables of the tests.
fn with_stores() -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
    let program = test::build_program()?;
    let required = ("GOLDFISH_STORES_REQUIRED", PathBuf::from("1"));
    Ok(vec![("GOLDFISH_BIN", program), ("GOLDFISH_ROOT", root()), ("GOLDFISH_AZURITE", azurite()?), required])
}

/// Installs the emulator below the target folder unless it is installed; returns its folder.
fn azurite() -> anyhow::Result<PathBuf> {
    packages::NODE.ensure()?;
    let folder = target().join("azurite");
    let marker = folder.join("installed.txt");
    if !std::fs::read_to_string(&marker).is_ok_and(|installed| installed == AZURITE) {
        std::fs::create_dir_all(&folder)?;
        let install = ["install", "--no-audit", "--no-fund", "--silent", "--prefix"];
        run(Command::new("npm").args(install).arg(&folder).arg(AZURITE))?;
        std::fs::write(marker, AZURITE)?;
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
