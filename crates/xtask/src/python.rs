//! Python environments of the peer tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::tools::{root, run, target};

/// An environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Environment {
    /// Readers and writers of data, and statistics.
    Data,
    /// PyTorch on the CPU, with `transformers` and `peft`.
    Models,
    /// Training loops and distributed engines, with PyTorch on the CPU.
    Loops,
    /// axolotl, on top of `Loops`.
    Axolotl,
    /// LLaMA-Factory, on top of `Loops`.
    LlamaFactory,
    /// The data side of pretraining engines, with PyTorch on the CPU.
    Engines,
    /// Levanter with JAX on the CPU, on top of `Engines`.
    Levanter,
    /// Servers of object stores.
    Stores,
    /// Builds and tests the Python package.
    Package,
    /// Builds the site of the documentation.
    Site,
}

impl Environment {
    /// Its folder below the target folder, and its list of requirements.
    fn files(self) -> (&'static str, &'static str) {
        match self {
            Self::Data => ("python", "fixtures/requirements.txt"),
            Self::Models => ("python-models", "crates/acceptance/environments/models.txt"),
            Self::Loops => ("python-loops", "crates/acceptance/environments/loops.txt"),
            Self::Axolotl => ("python-axolotl", "crates/acceptance/environments/axolotl.txt"),
            Self::LlamaFactory => {
                ("python-llama-factory", "crates/acceptance/environments/llama_factory.txt")
            }
            Self::Engines => ("python-engines", "crates/acceptance/environments/engines.txt"),
            Self::Levanter => ("python-levanter", "crates/acceptance/environments/levanter.txt"),
            Self::Stores => ("python-stores", "crates/acceptance/environments/stores.txt"),
            Self::Package => ("python-package", "crates/acceptance/environments/package.txt"),
            Self::Site => ("python-site", "crates/acceptance/environments/site.txt"),
        }
    }

    /// The environment that it extends: its packages are visible unless they are overridden.
    fn base(self) -> Option<Self> {
        match self {
            Self::Axolotl | Self::LlamaFactory => Some(Self::Loops),
            Self::Levanter => Some(Self::Engines),
            Self::Data
            | Self::Models
            | Self::Loops
            | Self::Engines
            | Self::Stores
            | Self::Package
            | Self::Site => None,
        }
    }
}

/// Creates an environment below the target folder unless it is there with the same requirements.
pub(crate) fn environment(which: Environment) -> anyhow::Result<PathBuf> {
    let (name, list) = which.files();
    let folder = target().join(name);
    let base = which.base().map(environment).transpose()?;
    let mut requirements = fs::read_to_string(root().join(list)).context(list)?;
    if let Some(base) = &base {
        requirements.push_str(&fs::read_to_string(base.join("installed.txt"))?);
    }
    let marker = folder.join("installed.txt");
    if fs::read_to_string(&marker).is_ok_and(|installed| installed == requirements) {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    run(Command::new(interpreter()?).args(["-m", "venv"]).arg(&folder))?;
    let python = folder.join("bin/python");
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", list];
    match which {
        Environment::Data | Environment::Package | Environment::Site | Environment::Stores => {
            run(Command::new(&python).args(pip))?
        }
        // The lists include all dependencies except gigabytes of CUDA libraries.
        Environment::Models | Environment::Loops | Environment::Engines => {
            run(Command::new(&python).args(pip).arg("--no-deps"))?;
            run(Command::new(&python).arg("crates/acceptance/environments/torch_cpu.py"))?;
        }
        Environment::Axolotl | Environment::LlamaFactory | Environment::Levanter => {
            run(Command::new(&python).args(pip).arg("--no-deps"))?;
        }
    }
    if let Some(base) = base {
        // A .pth file appends to Python's path, so that the packages of this environment come first.
        fs::write(packages(&folder)?.join("base.pth"), packages(&base)?.display().to_string())?;
    }
    fs::write(marker, requirements)?;
    Ok(folder)
}

/// The folder of an environment's packages, `site-packages`.
fn packages(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut versions = fs::read_dir(folder.join("lib"))?;
    let version = versions.next().context("an environment without a lib folder")??;
    Ok(version.path().join("site-packages"))
}

/// Builds the wheel of the Python package; returns its path.
pub(crate) fn wheel() -> anyhow::Result<PathBuf> {
    let package = environment(Environment::Package)?;
    let (maturin, interpreter) = (package.join("bin/maturin"), package.join("bin/python"));
    let wheels = target().join("wheels");
    if wheels.exists() {
        fs::remove_dir_all(&wheels)?;
    }
    let build =
        ["build", "--release", "--quiet", "--manifest-path", "crates/goldfish-python/Cargo.toml", "--out"];
    let mut command = Command::new(maturin);
    command.args(build).arg(&wheels).arg("--interpreter").arg(interpreter);
    run(command.env("CARGO_TARGET_DIR", target()))?;
    Ok(fs::read_dir(&wheels)?.next().context("maturin built no wheel")??.path())
}

/// Builds the wheel of the Python package and installs it into an environment; returns the interpreter.
pub(crate) fn with_package(which: Environment) -> anyhow::Result<PathBuf> {
    let wheel = wheel()?;
    let python = environment(which)?.join("bin/python");
    let pip =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--force-reinstall"];
    run(Command::new(&python).args(pip).arg(wheel))?;
    Ok(python)
}

/// Installs the Python package by pip from its source into an empty environment; returns the interpreter.
pub(crate) fn from_source() -> anyhow::Result<PathBuf> {
    let folder = target().join("python-source");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    run(Command::new(interpreter()?).args(["-m", "venv"]).arg(&folder))?;
    let python = folder.join("bin/python");
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "./crates/goldfish-python"];
    run(Command::new(&python).args(pip).env("CARGO_TARGET_DIR", target()))?;
    Ok(python)
}

/// A Python of version 3.11 or later.
fn interpreter() -> anyhow::Result<&'static str> {
    const NEEDED: &str = "import sys, venv; sys.exit(sys.version_info < (3, 11))";
    for name in ["python3.11", "python3", "python3.12", "python3.13"] {
        let found = Command::new(name).args(["-c", NEEDED]).output();
        if found.is_ok_and(|output| output.status.success()) {
            return Ok(name);
        }
    }
    bail!("the peer tests need Python 3.11 or later with the venv module on the PATH")
}
