//! `goldfish man`.

use anyhow::Context;
use clap::CommandFactory;

use crate::args::{Cli, ManArgs};
use crate::verdict::Verdict;

pub(crate) fn run(args: &ManArgs) -> anyhow::Result<Verdict> {
    let folder = &args.folder;
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), folder))
        .with_context(|| format!("{}: manual pages can't be written there", folder.display()))?;
    Ok(Verdict::Clean)
}
