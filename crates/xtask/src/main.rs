//! Project chores: `cargo xtask test`, `cargo xtask loops`, `cargo xtask generate`, `cargo xtask fuzz`,
//! `cargo xtask counts`, `cargo xtask kills`, `cargo xtask same`, `cargo xtask deny`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a developer's tool")]

mod counts;
mod deny;
mod fuzz;
mod generate;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod kills;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
#[path = "no_kills.rs"]
mod kills;
mod loops;
mod packages;
mod python;
mod same;
mod test;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Chores of the goldfish project")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Run what takes minutes: format, lints, licences, generated files, Rust tests, tests against Python peers.
    Test {
        /// Leave out format and lints.
        #[arg(long)]
        no_lint: bool,
    },
    /// Run training loops and distributed engines on what goldfish writes, goldfish on checkpoints and on servers of object
    /// stores, and the tests of the Python package. Their environments take some gigabytes.
    Loops {
        /// Run only the suites with this in the name of their folder.
        only: Option<String>,
        /// Measure the Python package instead: size, import, speed, and what 10 trillion tokens take.
        #[arg(long)]
        bench: bool,
    },
    /// Write the generated files: schemas/*.json and docs/cli.md.
    Generate {
        /// Write nothing; fail if a file is not as it would be written.
        #[arg(long)]
        check: bool,
    },
    /// Fuzz the parsers and the mask rules, each against its oracle (see crates/fuzz/README.md).
    Fuzz {
        /// Targets, all of them by default.
        targets: Vec<String>,
        /// Look for new inputs for this many seconds a target; without it a short run that is the same each time.
        #[arg(long)]
        seconds: Option<u32>,
    },
    /// Count the instructions of kernels and of a small run, and compare them with crates/xtask/counts.json.
    Counts {
        /// Write the counts there instead.
        #[arg(long)]
        update: bool,
    },
    /// Kill goldfish at system calls that change the file system, let these calls fail, run it again, and compare what it
    /// ends with. Only on Linux, with an x86-64 processor.
    Kills(kills::Options),
    /// Run two builds of the program on all fixtures, and compare every byte that they write.
    Same(same::Options),
    /// Check licences and sources of all dependencies with cargo-deny.
    Deny,
    /// Make a Python environment of the peer tests and print where it is.
    Python {
        /// The one with PyTorch, for the peers of checkpoints.
        #[arg(long)]
        models: bool,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().chore {
        Chore::Test { no_lint } => test::run_all(no_lint),
        Chore::Loops { bench: true, .. } => loops::bench(),
        Chore::Loops { only, .. } => loops::run_all(only.as_deref()),
        Chore::Generate { check } => generate::run(&test::build_program()?, check),
        Chore::Fuzz { targets, seconds } => {
            fuzz::fuzz(&targets, seconds.map_or(fuzz::Effort::Smoke, fuzz::Effort::Seconds))
        }
        Chore::Counts { update } => {
            counts::build()?;
            if update { counts::update() } else { counts::check() }
        }
        Chore::Kills(options) => kills::run(&options),
        Chore::Same(options) => same::run(&options),
        Chore::Deny => deny::check(),
        Chore::Python { models } => {
            let which = if models { python::Environment::Models } else { python::Environment::Data };
            println!("{}", python::environment(which)?.display());
            Ok(())
        }
    }
}

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").components().collect::<PathBuf>()
}

/// The folder that builds go to.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Runs a command in the repository; it must succeed.
fn run(command: &mut Command) -> anyhow::Result<()> {
    println!("\n$ {}", describe(command));
    let status = command.current_dir(root()).status().with_context(|| describe(command))?;
    ensure!(status.success(), "{} ended with {status}", describe(command));
    Ok(())
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// The cargo that runs this program.
fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
