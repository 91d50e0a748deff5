//! The options of every command, with their help.

#![allow(clippy::doc_markdown, rustdoc::bare_urls, reason = "the comments are help texts for a terminal")]

mod audit;
mod demo;
mod export;
mod lab;
mod values;

use std::path::PathBuf;

pub(crate) use audit::{AuditArgs, AuditCommand, Metric, PlanArgs};
use clap::{Args, Parser, Subcommand, ValueEnum};
pub(crate) use demo::{DemoArgs, SweepArgs};
pub(crate) use export::ExportArgs;
use goldfish_audit::gate::Gate;
use goldfish_audit::summary::{Comparison, Summary};
use goldfish_corpus::{Format, IdType};
use goldfish_mask::RuleName;
use goldfish_pipeline::{OnError, ScopeName};
use goldfish_shard::{ExtraColumn, OutputFormat};
pub(crate) use lab::{LabArgs, LabCommand, TrainArgs};
use values::{on_disk, parse_document_size, parse_size};

/// Keeps language models from reciting their training data.
///
/// The goldfish loss (arXiv 2406.10209) leaves one token in k out of the training loss, chosen by a hash of the
/// tokens before it, so that every copy of a passage loses the same tokens and the model never learns the chain
/// whole. goldfish decides that ahead of training and writes the masks beside the tokens, for any training loop.
#[derive(Debug, Parser)]
#[command(name = "goldfish", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(DemoArgs),
    Mask(Box<MaskArgs>),
    Merge(MergeArgs),
    Export(ExportArgs),
    Inspect(InspectArgs),
    Verify(VerifyArgs),
    Audit(Box<AuditArgs>),
    Report(ReportArgs),
    Compare(CompareArgs),
    Lab(LabArgs),
}

/// Mask a corpus: documents in, Arrow shards with token ids and loss masks out.
///
/// Raw text needs a tokenizer:
///   goldfish mask corpus/ --tokenizer tokenizer.json --append-eos --output masked/
///
/// Tokenized data is taken as it is:
///   goldfish mask 'tokens/*.parquet' --ids-column input_ids --output masked/
///   goldfish mask part-0-00000.npy --eos-id 50279 --ids-dtype uint16 --output masked/
///
/// Tokenized memmaps that stay where they are need their masks only:
///   goldfish mask tokens/*.ds --masks-only
///
/// Exit codes: 0 done, 1 done but rows were rejected, 2 could not run.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct MaskArgs {
    /// Files, folders or globs; also URLs.
    ///
    /// Read in the order given; the files of a folder or glob sorted by path. Formats by name: .jsonl .ndjson
    /// .json.gz .txt .md (also .gz and .zst), .parquet, .arrow .ipc .feather, .bin/.idx (Megatron), .npy
    /// (OLMo, headerless), .ds (datatrove). URLs: s3://, gs://, az:// (folders and globs too), http://, https://
    /// (single files), where goldfish was built with --features object-stores; credentials come from the
    /// environment (docs/stores.md).
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<String>,

    /// Folder to write the shards to, on a disk or in an object store (s3://BUCKET/NAME, gs://, az://). With --masks-only:
    /// where the masks go, under the memmaps' own names; without it they go beside the memmaps.
    #[arg(short, long, value_name = "DIR", required_unless_present = "masks_only")]
    pub(crate) output: Option<PathBuf>,

    /// Read every input as this format, whatever its name.
    #[arg(long, value_name = "FORMAT", help_heading = "Input")]
    pub(crate) format: Option<Format>,

    /// Hugging Face tokenizer.json. Needed for raw text; with token ids it names the special tokens and the
    /// vocabulary that ids are checked against.
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub(crate) tokenizer: Option<PathBuf>,

    /// Column with raw text. [default with --tokenizer: text]
    #[arg(long, value_name = "COLUMN", conflicts_with = "ids_column", help_heading = "Input")]
    pub(crate) text_column: Option<String>,

    /// Column with token ids: lists of any integer type. [default without --tokenizer: input_ids]
    #[arg(long, value_name = "COLUMN", help_heading = "Input")]
    pub(crate) ids_column: Option<String>,

    /// Column with the documents' ids. Without it a document is called FILE:ROW, rows counted from 0.
    #[arg(long, value_name = "COLUMN", help_heading = "Input")]
    pub(crate) id_column: Option<String>,

    /// Id type of headerless memmaps (.npy, .ds). [default: what the sizes tell, else uint16]
    #[arg(long, value_name = "TYPE", help_heading = "Input")]
    pub(crate) ids_dtype: Option<IdTypeArg>,

    /// Put the beginning-of-sequence token before each document of raw text.
    #[arg(long, help_heading = "Input")]
    pub(crate) prepend_bos: bool,

    /// Put the end-of-sequence token behind each document of raw text. Most pretraining corpora want it.
    #[arg(long, help_heading = "Input")]
    pub(crate) append_eos: bool,

    /// The beginning-of-sequence id. [default: the tokenizer's]
    #[arg(long, value_name = "ID", help_heading = "Input")]
    pub(crate) bos_id: Option<u32>,

    /// The end-of-sequence id: what --append-eos appends, and what cuts .npy memmaps that have no .csv.gz
    /// sidecar. [default: the tokenizer's]
    #[arg(long, value_name = "ID", help_heading = "Input")]
    pub(crate) eos_id: Option<u32>,

    /// Largest document: bytes of its line, file or text, or four a token. Longer ones are rejected. Tokenizing takes
    /// about 12 times the size in memory for each thread, and 90 times where a tokenizer has no fast path.
    /// At most 2 GiB less one byte.
    #[arg(long, default_value = "64MiB", value_parser = parse_document_size, value_name = "SIZE", help_heading = "Input")]
    pub(crate) max_document: usize,

    /// What to do with a row that can't become a document: stop, or leave it out and list it in rejects.jsonl.
    #[arg(long, value_enum, default_value_t = OnError::Fail, help_heading = "Input")]
    pub(crate) on_error: OnError,

    /// How dropped tokens are chosen. [default: text where the text is at hand (raw text, or token ids whose
    /// --tokenizer tells their text exactly), else hash]
    #[arg(long, value_enum, help_heading = "Mask")]
    pub(crate) rule: Option<RuleName>,

    /// Drop one token in k. The paper recites nothing at 4; larger values cost less training signal and leak
    /// earlier (Apertus used 50).
    #[arg(long, default_value_t = 4, help_heading = "Mask")]
    pub(crate) k: u32,

    /// What the hash looks at: tokens, or with the rule text letters and digits. Smaller finds copies that differ
    /// nearby, larger varies the mask more between passages that begin alike. [default: 50 for text, else 13]
    #[arg(long, value_name = "N", help_heading = "Mask")]
    pub(crate) context: Option<u32>,

    /// With the rule text: drop whole words, so that every tokenizer loses the same ones, or decide each token by
    /// the text before it. [default: word]
    #[arg(long, value_enum, help_heading = "Mask")]
    pub(crate) unit: Option<UnitArg>,

    /// With the rule hash: whether it sees the tokens before the decided one, or that one too (as the reference
    /// code does). [default: preceding]
    #[arg(long, value_enum, help_heading = "Mask")]
    pub(crate) window: Option<WindowArg>,

    /// At the start of a document, where the context is not full: keep the tokens, or decide on the shorter context.
    #[arg(long, value_enum, default_value_t = HeadArg::Keep, help_heading = "Mask")]
    pub(crate) head: HeadArg,

    /// Seed of the rules text, hash and random. Another seed drops other tokens.
    #[arg(long, default_value_t = 0, help_heading = "Mask")]
    pub(crate) seed: u64,

    /// First position that the rule static drops.
    #[arg(long, default_value_t = 0, value_name = "POSITION", help_heading = "Mask")]
    pub(crate) start: u64,

    /// Hash table of the rules hash-table and coefficient-sum: 1,000,003 float32 saved with numpy.save, for
    /// runs whose table was made on a GPU. [default: the table that torch makes on a CPU]
    #[arg(long, value_name = "FILE.npy", help_heading = "Mask")]
    pub(crate) table: Option<PathBuf>,

    /// Coefficients of the rule coefficient-sum: int64, one for each token of the context, saved with numpy.save.
    #[arg(long, value_name = "FILE.npy", help_heading = "Mask")]
    pub(crate) coefficients: Option<PathBuf>,

    /// What a window may cross: nothing (document), or documents within packed training sequences (sequence), which
    /// reproduces the masks of the reference training loop.
    #[arg(long, value_enum, default_value_t = ScopeName::Document, help_heading = "Mask")]
    pub(crate) scope: ScopeName,

    /// Targets in one packed training sequence, with --scope sequence.
    #[arg(long, value_name = "TOKENS", help_heading = "Mask")]
    pub(crate) sequence_length: Option<u32>,

    /// Never drop the tokenizer's special tokens, nor (if asked for) --bos-id and --eos-id. [default: true; false for the rules that reproduce another
    /// implementation: hash-table, hash-avalanche, coefficient-sum]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Mask")]
    pub(crate) exempt_special: Option<bool>,

    /// Write no shards but the masks alone, one file a memmap (.bin/.idx, .npy, .ds) as its training loop reads it: one
    /// byte a token, 1 in the loss. Without --output beside the memmaps: NAME.loss.bin and .idx, NAME.npy.loss,
    /// NAME.ds.loss.
    #[arg(
        long,
        conflicts_with_all = ["columns", "carry", "shard_size", "output_format", "rank", "on_error"],
        help_heading = "Output"
    )]
    pub(crate) masks_only: bool,

    /// Further columns: labels (ids with -100 where dropped), attention_mask (ones), assistant_masks (the mask
    /// under the name TRL reads).
    #[arg(long, value_enum, value_delimiter = ',', value_name = "COLUMN", help_heading = "Output")]
    pub(crate) columns: Vec<ExtraColumn>,

    /// Columns of the source to bring along.
    #[arg(long, value_delimiter = ',', value_name = "COLUMN", help_heading = "Output")]
    pub(crate) carry: Vec<String>,

    /// Close a shard before it exceeds this. In an object store 4GiB at most.
    #[arg(long, default_value = "256MiB", value_parser = parse_size, value_name = "SIZE", help_heading = "Output")]
    pub(crate) shard_size: u64,

    /// File format of the shards; only arrow-stream opens with datasets.load_from_disk.
    #[arg(long, value_enum, default_value_t = OutputFormat::ArrowStream, help_heading = "Output")]
    pub(crate) output_format: OutputFormat,

    /// Replace the shards of an earlier run, which stay in place until the new ones are complete, or start an
    /// unfinished run again.
    #[arg(long, help_heading = "Output")]
    pub(crate) overwrite: bool,

    /// Go on behind the last finished shard of an unfinished run (with --masks-only behind the last memmap), with the same
    /// inputs and options; start at the beginning if there is none. What was read before is read once more, to compare its
    /// hash.
    #[arg(long, conflicts_with = "overwrite", help_heading = "Output")]
    pub(crate) resume: bool,

    /// Read only this one of --world parts of the inputs, from 0, into the folder rank-RRRRR-of-WWWWW of --output;
    /// `goldfish merge` joins them.
    #[arg(long, value_name = "RANK", requires = "world", help_heading = "Output")]
    pub(crate) rank: Option<u32>,

    /// How many parts of about equal size the inputs have.
    #[arg(long, value_name = "N", requires = "rank", value_parser = clap::value_parser!(u32).range(1..=99_999), help_heading = "Output")]
    pub(crate) world: Option<u32>,

    /// Worker threads. The output is the same for every number. [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Output")]
    pub(crate) threads: Option<u16>,

    /// Print one JSON object instead of the summary.
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

/// Join the parts that `goldfish mask --rank R --world N` wrote to one folder of shards.
///
/// Checks that every part is there once, made alike from the same inputs, and that no row is missing or there twice.
/// The result is that of a run which was not divided, but that shards also end where parts end. It doesn't read the
/// shards; `goldfish verify` does.
#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// The parts' folders, in any order. In an object store a glob names many: 's3://BUCKET/parts/rank-*'.
    #[arg(required = true, value_name = "DIR")]
    pub(crate) parts: Vec<PathBuf>,

    /// Folder to put the joined shards into: as second names of the same files where the file system allows it,
    /// else as copies; an object store copies by itself.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,

    /// Remove the parts when the joined folder is complete.
    #[arg(long = "move")]
    pub(crate) remove_parts: bool,

    /// Replace the shards of an earlier run.
    #[arg(long)]
    pub(crate) overwrite: bool,

    /// Print one JSON object instead of a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show what a folder of shards holds: how it was made, its drop rates, the gaps between drops, and its first
/// documents with the dropped tokens marked.
///
/// Does the rule do its work on this corpus?
///   goldfish inspect masked/ --tokenizer tokenizer.json --by source --html masked.html
///
/// What would a model still learn from copies that differ?
///   goldfish inspect masked/ --tokenizer tokenizer.json --duplicates
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct InspectArgs {
    /// Output folder of `goldfish mask`.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,

    /// The tokenizer.json that the shards were made with: to show text instead of token ids, to tell why tokens were
    /// kept where the rule is text, and to find duplicates.
    #[arg(long, value_name = "FILE")]
    pub(crate) tokenizer: Option<PathBuf>,

    /// Count by the values of this column of the shards, or by the `input` that documents came from.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) by: Option<String>,

    /// Find passages that recur, word for word or nearly, however they are formatted, and measure the leak: of the
    /// tokens dropped in one copy, the share that another copy trains on. Needs --tokenizer.
    #[arg(long)]
    pub(crate) duplicates: bool,

    /// Least length of a passage, in letters and digits.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(64..=1000), requires = "duplicates")]
    pub(crate) passage: u32,

    /// Most pairs of passages to compare.
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000), requires = "duplicates")]
    pub(crate) pairs: u32,

    /// Look closely (why tokens were kept, degenerate windows, duplicates) at documents with about so many tokens,
    /// chosen by a hash of their ids. Drop rates and gaps are counted over all documents.
    #[arg(long, default_value_t = 100_000_000, value_name = "TOKENS")]
    pub(crate) sample: u64,

    /// Seed of the sampling.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) seed: u64,

    /// How many documents to show, and pairs of passages.
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) documents: usize,

    /// Also write one page with plots, which needs nothing but a browser.
    #[arg(long, value_name = "FILE", value_parser = on_disk())]
    pub(crate) html: Option<PathBuf>,

    /// Print one JSON object instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Check a folder of shards against its manifest: checksums, columns, counts, missing and extra files.
///
/// A folder that `goldfish export` or `goldfish mask --masks-only` wrote is checked by its goldfish.json: sizes and
/// checksums, those of the memmaps beside the masks too.
///
/// Exit codes: 0 all is right, 1 faults were found, 2 could not run.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Output folder of `goldfish mask`.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,

    /// Also decide every mask again from the ids and the rule in the manifest.
    #[arg(long)]
    pub(crate) recompute: bool,

    /// The hash table that the masks were made with, if it came from a file.
    #[arg(long, value_name = "FILE.npy", requires = "recompute")]
    pub(crate) table: Option<PathBuf>,

    /// The tokenizer.json that the masks were made with; needed for the rule text.
    #[arg(long, value_name = "FILE", requires = "recompute")]
    pub(crate) tokenizer: Option<PathBuf>,

    /// Print one JSON object instead of lines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Declares an option's values and what they stand for.
macro_rules! values {
    ($(#[$doc:meta])* $name:ident => $target:ty { $($(#[$help:meta])* $variant:ident $(= $alias:literal)? => $value:expr,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
        pub(crate) enum $name { $($(#[$help])* $(#[value(name = $alias)])? $variant,)* }

        impl From<$name> for $target {
            fn from(value: $name) -> Self {
                match value { $($name::$variant => $value,)* }
            }
        }
    };
}

values!(IdTypeArg => IdType {
    Uint8 => Self::Uint8,
    Int8 => Self::Int8,
    Uint16 => Self::Uint16,
    Int16 => Self::Int16,
    Uint32 => Self::Uint32,
    Int32 => Self::Int32,
    Uint64 => Self::Uint64,
    Int64 => Self::Int64,
});

values!(WindowArg => goldfish_mask::Window {
    Preceding => Self::Preceding,
    Inclusive => Self::Inclusive,
});

values!(HeadArg => goldfish_mask::ShortContext {
    Keep => Self::Keep,
    Short => Self::Short,
});

values!(UnitArg => goldfish_mask::Granularity {
    Word => Self::Word,
    Token => Self::Token,
});

/// Show what an audit found: a page for people, and gates for pipelines.
///
///   goldfish report runs/model-a --tokenizer tokenizer.json --output model-a.html
///   goldfish report runs/model-a --fail-if 'exact_match.upper > 0.01' --fail-if 'excess.rouge_l.lower > 0'
///
/// Exit codes: 0 done, 1 done but a gate failed, 2 could not run.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ReportArgs {
    /// Folder of a complete run of `goldfish audit`.
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,

    /// The page to write: one HTML file that needs nothing else.
    #[arg(short, long, default_value = "report.html", value_name = "FILE", value_parser = on_disk())]
    pub(crate) output: PathBuf,

    /// The tokenizer.json of the audited token ids: to show text instead of ids.
    #[arg(long, value_name = "FILE")]
    pub(crate) tokenizer: Option<PathBuf>,

    /// Leave text and token ids of the corpus out of the page; lengths, hashes, positions and documents' ids stay.
    #[arg(long, conflicts_with = "tokenizer")]
    pub(crate) redact: bool,

    /// End with exit code 1 if this holds of the run's summary, such as 'exact_match.upper > 0.01'; see
    /// docs/report.md. Can be given several times.
    #[arg(long, value_name = "CONDITION")]
    pub(crate) fail_if: Vec<Gate<Summary>>,

    /// Print the summary and the gates that failed as JSON.
    #[arg(long)]
    pub(crate) json: bool,

    /// Seed of the sample of probes in the page's table, where there are more than 100,000.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) seed: u64,
}

/// Compare audits of several models on the same probes: what changed from the first one, and whether by chance.
///
///   goldfish compare runs/standard runs/goldfish --html compare.html
///   goldfish compare runs/step-1000 runs/step-2000 runs/step-4000 --fail-if 'differences.exact_match.lower > 0'
///
/// Differences are those of each further run less the first one. Exit codes: 0 done, 1 done but a gate failed, 2 could
/// not run.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct CompareArgs {
    /// Folders of complete runs of `goldfish audit`; the first one is what the others are compared with.
    #[arg(required = true, num_args = 2.., value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,

    /// Write a page with plots: one HTML file that needs nothing else.
    #[arg(long, value_name = "FILE", value_parser = on_disk())]
    pub(crate) html: Option<PathBuf>,

    /// Print everything as JSON, with all probes whose verdict changed.
    #[arg(long)]
    pub(crate) json: bool,

    /// End with exit code 1 if this holds of any of the comparisons, such as 'differences.exact_match.lower > 0'; see
    /// docs/report.md. Can be given several times.
    #[arg(long, value_name = "CONDITION")]
    pub(crate) fail_if: Vec<Gate<Comparison>>,

    /// Seed of the bootstrap, and of the sample in the page's table where more than 100,000 probes changed.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) seed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_options_are_well_formed() {
        Cli::command().debug_assert();
    }
}
