//! `goldfish man`.

use std::path::Path;

use anyhow::Context;
use clap::Command;
use clap_mangen::Man;

use crate::args::ManArgs;
use crate::help;
use crate::verdict::Verdict;

pub(crate) fn run(args: &ManArgs) -> anyhow::Result<Verdict> {
    let folder = &args.folder;
    let mut program = help::command().disable_help_subcommand(true);
    program.build();
    std::fs::create_dir_all(folder)
        .and_then(|()| write_pages(&program, folder))
        .with_context(|| format!("{}: manual pages can't be written there", folder.display()))?;
    Ok(Verdict::Clean)
}

/// Writes the pages of a command and of those below it.
fn write_pages(command: &Command, folder: &Path) -> std::io::Result<()> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render(&mut page)?;
    goldfish_storage::replace_file(&folder.join(man.get_filename()), &page)?;
    let mut nested = command.get_subcommands().filter(|nested| !nested.is_hide_set());
    nested.try_for_each(|nested| write_pages(nested, folder))
}
