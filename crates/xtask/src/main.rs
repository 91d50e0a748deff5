//! Development commands: `cargo xtask test`, `cargo xtask loops`, `cargo xtask docs`, `cargo xtask generate`,
//! `cargo xtask fuzz`, `cargo xtask counts`, `cargo xtask kills`, `cargo xtask same`, `cargo xtask deny`, `cargo xtask release`,
//! `cargo xtask changelog`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool for developers")]

mod changelog;
mod counts;
mod deny;
mod docs;
mod fuzz;
mod generate;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod kills;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
#[path = "no_kills.rs"]
mod kills;
mod licenses;
mod loops;
mod packages;
mod python;
mod release;
mod same;
mod test;
mod tools;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Development commands of goldfish")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run the checks that take minutes: format, lints, licenses, generated files, Rust tests, tests against Python peers.
    Test {
        /// Skip format and lints.
        #[arg(long)]
        no_lint: bool,
    },
    /// Test with training loops, distributed engines, checkpoints and object stores, and test the Python package. The
    /// environments take several gigabytes.
    Loops {
        /// Run only suites whose path contains this.
        only: Option<String>,
        /// Measure the Python package instead: size, import time, speed, and an estimate for 10 trillion tokens.
        #[arg(long)]
        bench: bool,
    },
    /// Build the documentation as a site that opens from disk, and print the path of its first page.
    Docs,
    /// Write the generated files: schemas/*.json and docs/cli.md.
    Generate {
        /// Write nothing; fail if a file is out of date.
        #[arg(long)]
        check: bool,
    },
    /// Fuzz the parsers and the mask rules, each against its oracle (see crates/fuzz/README.md).
    Fuzz {
        /// Targets, all of them by default.
        targets: Vec<String>,
        /// Search for new inputs for this many seconds a target; by default, a short deterministic run.
        #[arg(long)]
        seconds: Option<u32>,
    },
    /// Count the instructions of kernels and of small runs, and compare them with crates/xtask/counts.json.
    Counts {
        /// Update that file instead.
        #[arg(long)]
        update: bool,
    },
    /// Kill goldfish at system calls that change the file system, or make these calls fail, then run it again and check
    /// the result. Needs Linux on x86-64.
    Kills(kills::Options),
    /// Run two builds of the program on all fixtures and compare their outputs byte by byte.
    Same(same::Options),
    /// Check the licenses and sources of all dependencies with cargo-deny.
    Deny,
    /// Build the files of a release for this machine, and print their folder: an archive with the program, the wheel of the
    /// Python package, and their checksums.
    Release(release::Options),
    /// Put the changes that CHANGELOG.md lists as unreleased under a version, and print them as release notes.
    Changelog {
        /// The version, which is that in Cargo.toml.
        version: String,
        /// The day of the release, such as 2026-01-31.
        date: String,
    },
    /// Create a Python environment of the peer tests and print its path.
    Python {
        /// The environment with PyTorch and transformers.
        #[arg(long)]
        models: bool,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Task::Test { no_lint } => test::run_all(no_lint),
        Task::Loops { bench: true, .. } => loops::bench(),
        Task::Loops { only, .. } => loops::run_all(only.as_deref()),
        Task::Docs => {
            println!("{}", docs::build()?.join("index.html").display());
            Ok(())
        }
        Task::Generate { check } => generate::run(&test::build_program()?, check),
        Task::Fuzz { targets, seconds } => {
            fuzz::fuzz(&targets, seconds.map_or(fuzz::Effort::Smoke, fuzz::Effort::Seconds))
        }
        Task::Counts { update } => {
            counts::build()?;
            if update { counts::update() } else { counts::check() }
        }
        Task::Kills(options) => kills::run(&options),
        Task::Same(options) => same::run(&options),
        Task::Deny => deny::check(),
        Task::Release(options) => {
            println!("{}", release::run(&options)?.display());
            Ok(())
        }
        Task::Changelog { version, date } => {
            print!("{}", changelog::cut(&version, &date)?);
            Ok(())
        }
        Task::Python { models } => {
            let which = if models { python::Environment::Models } else { python::Environment::Data };
            println!("{}", python::environment(which)?.display());
            Ok(())
        }
    }
}
