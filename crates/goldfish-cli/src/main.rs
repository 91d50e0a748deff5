//! The command line of goldfish.

mod advice;
mod args;
mod commands;
mod describe;
mod experiment;
mod files;
mod leak;
mod model;
mod passage;
mod print;
mod progress;
mod signals;
mod threads;
mod verdict;
mod works;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

use crate::args::{Cli, Command};
use crate::verdict::Verdict;

/// Keeps the memory of one training step for the next: the system's returns it, and every step has to fault its pages in again.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Panics that a run turns into errors are not reported a second time.
fn quiet_caught_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let reported = std::thread::current().name().is_some_and(goldfish_pipeline::reports_panics);
        if !reported && !goldfish_columnar::is_guarded() {
            report(panic);
        }
    }));
}

fn main() -> ExitCode {
    quiet_caught_panics();
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        // The message repeats arguments, and a glob makes file names arguments: once more, with what may be shown of them.
        let shown = std::env::args_os().map(|argument| print::text(&argument.to_string_lossy()));
        Cli::try_parse_from(shown).err().unwrap_or(error).exit()
    });
    let verdict = match cli.command {
        Command::Demo(args) => commands::demo::run(&args),
        Command::Mask(args) => commands::mask::run(&args),
        Command::Policy(args) => commands::policy::run(&args),
        Command::Merge(args) => commands::merge::run(&args),
        Command::Export(args) => commands::export::run(&args),
        Command::Inspect(args) => commands::inspect::run(&args),
        Command::Verify(args) => commands::verify::run(&args),
        Command::Audit(args) => commands::audit::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Compare(args) => commands::compare::run(&args),
        Command::Canary(args) => commands::canary::run(&args),
        Command::Lab(args) => commands::lab::run(&args),
    };
    match verdict {
        Ok(Verdict::Clean) => ExitCode::SUCCESS,
        Ok(Verdict::Findings) => ExitCode::from(1),
        Err(error) => {
            print::error(&error);
            ExitCode::from(2)
        }
    }
}
