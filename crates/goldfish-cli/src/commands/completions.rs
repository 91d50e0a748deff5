//! `goldfish completions`.

use clap::CommandFactory;

use crate::args::{Cli, CompletionsArgs};
use crate::print;
use crate::verdict::Verdict;

pub(crate) fn run(args: &CompletionsArgs) -> anyhow::Result<Verdict> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "goldfish", &mut script);
    print::out(&String::from_utf8(script)?)?;
    Ok(Verdict::Clean)
}
