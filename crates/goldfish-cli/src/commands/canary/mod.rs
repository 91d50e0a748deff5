//! `goldfish canary`.

mod plant;
mod table;
mod test;

use goldfish_shard::ToolEntry;

use crate::args::{CanaryArgs, CanaryCommand};
use crate::verdict::Verdict;

pub(crate) fn run(args: &CanaryArgs) -> anyhow::Result<Verdict> {
    match &args.command {
        CanaryCommand::Plant(args) => plant::run(args, tool()),
        CanaryCommand::Test(args) => test::run(args, tool()),
    }
}

/// This program, as plans and results name it.
fn tool() -> ToolEntry {
    ToolEntry { name: env!("CARGO_PKG_NAME").into(), version: env!("CARGO_PKG_VERSION").into() }
}
