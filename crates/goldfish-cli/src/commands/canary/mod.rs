//! `goldfish canary`.

mod plant;
mod table;
mod test;

use crate::args::{CanaryArgs, CanaryCommand};
use crate::verdict::Verdict;

pub(crate) fn run(args: &CanaryArgs) -> anyhow::Result<Verdict> {
    match &args.command {
        CanaryCommand::Plant(args) => plant::run(args),
        CanaryCommand::Test(args) => test::run(args),
    }
}
