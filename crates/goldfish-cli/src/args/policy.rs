//! `goldfish policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use goldfish_corpus::Format;

use crate::args::hub::tokenizer_file;

/// Try a policy out: which documents its entries would decide.
#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    pub(crate) command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    Check(CheckArgs),
}

/// Check a policy file, and count by its entries the first documents of some inputs. Nothing is written.
///
///   goldfish policy check policy.toml corpus/ --tokenizer tokenizer.json
///
/// Exit codes: 0 each entry decides some of these documents, 1 one decides none, 2 the policy or the inputs can't be used.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct CheckArgs {
    /// The policy file, as for `goldfish mask --policy`.
    #[arg(value_name = "FILE.toml")]
    pub(crate) policy: PathBuf,

    /// Files, folders or globs; also URLs.
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<String>,

    /// Read every input as this format, whatever its name.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,

    /// Hugging Face tokenizer.json, as for `goldfish mask`. The documents are not tokenized.
    #[arg(long, value_name = "FILE", value_parser = tokenizer_file())]
    pub(crate) tokenizer: Option<PathBuf>,

    /// Column with raw text. [default with --tokenizer: text]
    #[arg(long, value_name = "COLUMN", conflicts_with = "ids_column")]
    pub(crate) text_column: Option<String>,

    /// Column with token ids. [default without --tokenizer: input_ids]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) ids_column: Option<String>,

    /// Column with the documents' ids. [default: FILE:ROW, rows counted from 0]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) id_column: Option<String>,

    /// Documents to look at: the first ones of each input, as many of each.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub(crate) documents: u64,

    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}
