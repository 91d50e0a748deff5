//! `goldfish completions`.

use crate::args::CompletionsArgs;
use crate::help;
use crate::print;
use crate::verdict::Verdict;

pub(crate) fn run(args: &CompletionsArgs) -> anyhow::Result<Verdict> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut help::command(), "goldfish", &mut script);
    print::verbatim(&String::from_utf8(script)?)?;
    Ok(Verdict::Clean)
}
