//! `goldfish lab`.

mod copy;
mod corrupt;
mod memory;
mod repair;
mod sweep;
mod train;

use crate::args::{LabArgs, LabCommand};
use crate::verdict::Verdict;

pub(crate) fn run(args: &LabArgs) -> anyhow::Result<Verdict> {
    match &args.command {
        LabCommand::Train(args) => train::run(args),
        LabCommand::Sweep(args) => sweep::run(args),
        LabCommand::Copy(args) => copy::run(args),
        LabCommand::Memory(args) => memory::run(args),
        LabCommand::Repair(args) => repair::run(args),
        LabCommand::Corrupt(args) => corrupt::run(args),
    }
}
