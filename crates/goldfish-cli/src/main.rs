//! The command line of goldfish.

mod advice;
mod args;
mod commands;
mod config;
mod describe;
mod experiment;
mod files;
mod help;
mod leak;
mod model;
mod passage;
mod print;
mod progress;
mod rejects;
mod signals;
mod terminal;
mod threads;
mod verdict;
mod version;
mod works;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::FromArgMatches;
use clap::error::ErrorKind;
use mimalloc::MiMalloc;

use crate::args::{Cli, Command, LogFormat, MessageArgs};
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

/// Prints what is wrong with the arguments, or the help that they ask for.
fn refuse(arguments: &[OsString], error: clap::Error) -> ExitCode {
    // The message repeats arguments, and a glob makes file names arguments: once more, with what may be shown of them.
    let shown: Vec<String> =
        arguments.iter().map(|argument| print::text(&argument.to_string_lossy())).collect();
    let messages = MessageArgs::guess(&shown);
    print::set_messages(messages);
    if error.kind() == ErrorKind::DisplayVersion {
        return end(print::verbatim(&version::describe()).map(|()| Verdict::Clean));
    }
    let error = help::command().try_get_matches_from(shown).err().unwrap_or(error);
    if !error.use_stderr() || messages.log_format() == LogFormat::Text {
        error.exit();
    }
    print::usage(&error);
    ExitCode::from(2)
}

fn main() -> ExitCode {
    quiet_caught_panics();
    let given: Vec<OsString> = std::env::args_os().collect();
    let arguments = match config::with_file(given.clone()) {
        Ok(arguments) => arguments,
        Err(error) => {
            let shown: Vec<String> = given.iter().map(|argument| argument.to_string_lossy().into()).collect();
            print::set_messages(MessageArgs::guess(&shown));
            return end(Err(error));
        }
    };
    let parsed = help::command().try_get_matches_from(&arguments);
    let parsed = parsed.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return refuse(&arguments, error),
    };
    print::set_messages(cli.messages.of_command(&matches));
    if cli.config.print_config {
        return end(print::verbatim(&config::in_force(&matches)).map(|()| Verdict::Clean));
    }
    let verdict = match cli.command {
        Command::Demo(args) => commands::demo::run(&args),
        Command::Mask(args) => commands::mask::run(&args),
        Command::Policy(args) => commands::policy::run(&args),
        Command::Merge(args) => commands::merge::run(&args),
        Command::Export(args) => commands::export::run(&args),
        Command::Inspect(args) => commands::inspect::run(&args),
        Command::Verify(args) => commands::verify::run(&args),
        Command::Audit(args) => commands::audit::run(&args),
        Command::Trace(args) => commands::trace::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Compare(args) => commands::compare::run(&args),
        Command::Canary(args) => commands::canary::run(&args),
        Command::Lab(args) => commands::lab::run(&args),
        Command::Completions(args) => commands::completions::run(&args),
        Command::Man(args) => commands::man::run(&args),
    };
    end(verdict)
}

fn end(verdict: anyhow::Result<Verdict>) -> ExitCode {
    match verdict {
        Ok(Verdict::Clean) => ExitCode::SUCCESS,
        Ok(Verdict::Findings) => ExitCode::from(1),
        Err(error) => {
            print::error(&error);
            ExitCode::from(2)
        }
    }
}
