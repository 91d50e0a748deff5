//! Options of `goldfish completions` and `goldfish man`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use super::values::on_disk;

/// Print a script that completes commands and options in a shell.
///
/// Where shells look for it:
///   goldfish completions bash > ~/.local/share/bash-completion/completions/goldfish
///   goldfish completions zsh > ~/.zfunc/_goldfish, with fpath+=~/.zfunc before compinit in ~/.zshrc
///   goldfish completions fish > ~/.config/fish/completions/goldfish.fish
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// Write manual pages: goldfish.1, and one for each command, such as goldfish-mask.1.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Folder to write them to, such as ~/.local/share/man/man1.
    #[arg(value_name = "DIR", value_parser = on_disk())]
    pub(crate) folder: PathBuf,
}
