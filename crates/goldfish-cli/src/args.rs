//! The options of every command, with their help.

#![allow(clippy::doc_markdown, rustdoc::bare_urls, reason = "the comments are help texts for a terminal")]

mod audit;
mod canary;
mod copy;
mod demo;
mod export;
mod hub;
mod install;
mod lab;
mod memory;
mod messages;
mod model;
mod policy;
mod repair;
mod trace;
mod values;
mod verify;

use std::path::PathBuf;

pub(crate) use audit::{AuditArgs, AuditCommand, Metric, PlanArgs, SampleArgs};
pub(crate) use canary::{CanaryArgs, CanaryCommand, PlantArgs, TestArgs};
use clap::{Args, Parser, Subcommand};
pub(crate) use copy::CopyArgs;
pub(crate) use demo::{DemoArgs, SweepArgs};
pub(crate) use export::ExportArgs;
use goldfish_audit::gate::Gate;
use goldfish_audit::summary::{Comparison, Summary};
use goldfish_corpus::{Format, IdType};
use goldfish_mask::{Granularity, LongestRunOption, RuleName, ShortContext, Window};
use goldfish_pipeline::{OnError, OnNull, ScopeName};
use goldfish_shard::{ExtraColumn, OutputFormat};
use goldfish_tokenize::SpecialInText;
use hub::tokenizer_file;
pub(crate) use install::{CompletionsArgs, ManArgs};
pub(crate) use lab::{CorruptArgs, LabArgs, LabCommand, TrainArgs};
pub(crate) use memory::MemoryArgs;
pub(crate) use messages::{ConfigArgs, LogFormat, MessageArgs, ProgressOption};
pub(crate) use model::ModelArgs;
pub(crate) use policy::{CheckArgs, PolicyArgs, PolicyCommand};
pub(crate) use repair::RepairArgs;
pub(crate) use trace::TraceArgs;
use values::{on_disk, parse_document_size, parse_longest_run, parse_shard_size};
pub(crate) use verify::VerifyArgs;

/// Keeps language models from reciting their training data.
///
/// The goldfish loss (arXiv 2406.10209) leaves one token in k out of the training loss, chosen by a hash of the
/// tokens before it, so that every copy of a passage loses the same tokens and the model never learns the whole
/// passage. goldfish decides this ahead of training and writes the masks next to the tokens, for any training loop.
#[derive(Debug, Parser)]
#[command(name = "goldfish", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    #[command(flatten)]
    pub(crate) messages: MessageArgs,

    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(DemoArgs),
    Mask(Box<MaskArgs>),
    Policy(PolicyArgs),
    Merge(MergeArgs),
    Export(ExportArgs),
    Inspect(InspectArgs),
    Verify(VerifyArgs),
    Audit(Box<AuditArgs>),
    Trace(Box<TraceArgs>),
    Report(ReportArgs),
    Compare(CompareArgs),
    Canary(CanaryArgs),
    Lab(LabArgs),
    Completions(CompletionsArgs),
    #[command(hide = true)]
    Man(ManArgs),
}

/// Mask a corpus: documents in, Arrow shards with token ids and loss masks out.
///
/// Raw text needs a tokenizer:
///   goldfish mask corpus/ --tokenizer tokenizer.json --append-eos --output masked/
///
/// Token ids are masked as they are:
///   goldfish mask 'tokens/*.parquet' --ids-column input_ids --output masked/
///   goldfish mask part-0-00000.npy --eos-id 50279 --ids-dtype uint16 --output masked/
///
/// Write only the masks of memmaps that are tokenized already:
///   goldfish mask tokens/*.ds --masks-only
///
/// Where do protected works occur in a corpus?
///   goldfish mask corpus/ --policy policy.toml --protect-only --output found/
///
/// How long will it take, and how large will it be?
///   goldfish mask corpus/ --tokenizer tokenizer.json --dry-run
///
/// Try a corpus, or what another program writes:
///   goldfish mask corpus/ --tokenizer tokenizer.json --limit 1000 --output trial/
///   xz -dc corpus.jsonl.xz | goldfish mask - --tokenizer tokenizer.json --output masked/
///
/// Exit codes: 0 done, 1 done but rows were rejected, 2 could not run.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct MaskArgs {
    /// Files, folders or globs; also URLs, and - for standard input.
    ///
    /// Read in the order given; the files of a folder or glob sorted by path. Formats by name: .jsonl .ndjson
    /// .json.gz .txt .md (also .gz and .zst), .json (named itself, not in a folder), .parquet, .arrow .ipc .feather,
    /// .bin/.idx (Megatron), .npy (OLMo, headerless), .ds (datatrove). Standard input is JSONL, or another format of text
    /// with --format. URLs: s3://, gs://, az:// (folders and globs too), http://, https://
    /// (single files), where goldfish was built with --features object-stores; credentials come from the
    /// environment (docs/stores.md).
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<String>,

    /// Folder to write the shards to, on a disk or in an object store (s3://BUCKET/NAME, gs://, az://). With --masks-only:
    /// where the masks are written, under the memmaps' own names; without it they are written next to the memmaps.
    #[arg(short, long, value_name = "DIR", required_unless_present_any = ["masks_only", "dry_run"])]
    pub(crate) output: Option<PathBuf>,

    /// Read every input as this format, whatever its name.
    #[arg(long, value_name = "FORMAT", help_heading = "Input")]
    pub(crate) format: Option<Format>,

    /// Hugging Face tokenizer.json, or the name of a model whose tokenizer is in the cache of the hub. Required for raw text; with token ids it gives their text, the special tokens and the
    /// vocabulary that ids are checked against.
    #[arg(long, value_name = "FILE", help_heading = "Input", value_parser = tokenizer_file())]
    pub(crate) tokenizer: Option<PathBuf>,

    /// Column with raw text. META.TEXT is the field TEXT inside the column META. [default with --tokenizer: text]
    #[arg(long, value_name = "COLUMN", conflicts_with = "ids_column", help_heading = "Input")]
    pub(crate) text_column: Option<String>,

    /// Column with token ids: lists of any integer type. [default without --tokenizer: input_ids]
    #[arg(long, value_name = "COLUMN", help_heading = "Input")]
    pub(crate) ids_column: Option<String>,

    /// Column with the documents' ids. [default: FILE:ROW, rows counted from 0]
    #[arg(long, value_name = "COLUMN", help_heading = "Input")]
    pub(crate) id_column: Option<String>,

    /// Id type of headerless memmaps (.npy, .ds). [default: derived from the file sizes if possible, else uint16]
    #[arg(long, value_name = "TYPE", help_heading = "Input")]
    pub(crate) ids_dtype: Option<IdType>,

    /// What special tokens are that a text spells, such as "<|endoftext|>": the token, which ends a document in the middle of a
    /// text; text like any other, which is right for most corpora; or a reason to reject the text. The summary counts the tokens.
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "token|text|reject",
        hide_possible_values = true,
        help_heading = "Input"
    )]
    pub(crate) special_in_text: SpecialInText,

    /// Put the beginning-of-sequence token before each document of raw text.
    #[arg(long, help_heading = "Input")]
    pub(crate) prepend_bos: bool,

    /// Put the end-of-sequence token after each document of raw text. Most pretraining corpora need it.
    #[arg(long, help_heading = "Input")]
    pub(crate) append_eos: bool,

    /// The beginning-of-sequence id. [default: the tokenizer's]
    #[arg(long, value_name = "ID", help_heading = "Input")]
    pub(crate) bos_id: Option<u32>,

    /// The end-of-sequence id: what --append-eos appends, and what separates documents in .npy memmaps without a
    /// .csv.gz sidecar. [default: the tokenizer's]
    #[arg(long, value_name = "ID", help_heading = "Input")]
    pub(crate) eos_id: Option<u32>,

    /// Largest document: bytes of its line, file or text, or four bytes per token. Larger ones are rejected. Tokenizing
    /// takes about 12 times this size in memory per thread, and 90 times where a tokenizer has no fast path.
    /// At most 2 GiB less one byte.
    #[arg(long, default_value = "64MiB", value_parser = parse_document_size, value_name = "SIZE", help_heading = "Input")]
    pub(crate) max_document: usize,

    /// Column with the loss masks that token ids come with: lists of booleans or of 0 and 1, one a token; with
    /// --columns loss_weights of weights from 0 on. A token is in the loss where both this and the rule keep it.
    #[arg(long, value_name = "COLUMN", conflicts_with = "labels_column", help_heading = "Input")]
    pub(crate) mask_column: Option<String>,

    /// The same for a column of labels: the token's own id (not the next one's), or -100 where it is excluded from the loss.
    #[arg(long, value_name = "COLUMN", help_heading = "Input")]
    pub(crate) labels_column: Option<String>,

    /// Leave out other columns that look like masks (labels, loss_mask, assistant_masks and the like), which are an error
    /// otherwise.
    #[arg(long, help_heading = "Input")]
    pub(crate) ignore_masks: bool,

    /// What to do with a row that can't become a document.
    #[arg(long, value_enum, default_value_t = OnError::Fail, help_heading = "Input")]
    pub(crate) on_error: OnError,

    /// What to do with a row whose text, or list of token ids, is null. Rows that are skipped do not make the exit code 1.
    #[arg(long, value_enum, default_value_t = OnNull::Reject, help_heading = "Input")]
    pub(crate) on_null: OnNull,

    /// Read only the first N rows of the inputs.
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..),
        conflicts_with_all = ["masks_only", "dry_run", "rank", "resume"],
        help_heading = "Input"
    )]
    pub(crate) limit: Option<u64>,

    /// Decide documents by different rules: a TOML file that says which, by source, path or any column (docs/policies.md).
    /// The column `policy` of the shards says which entry decided a document; `goldfish policy check` tries a file out.
    #[arg(
        long,
        value_name = "FILE.toml",
        conflicts_with_all = [
            "rule", "k", "context", "unit", "longest_run", "window", "head", "seed", "start", "table", "coefficients",
        ],
        help_heading = "Mask"
    )]
    pub(crate) policy: Option<PathBuf>,

    /// How dropped tokens are chosen. [default: text where the text is available (raw text, or token ids whose text
    /// --tokenizer gives exactly), else anchor; hash in packed sequences]
    #[arg(long, value_enum, help_heading = "Mask")]
    pub(crate) rule: Option<RuleName>,

    /// Drop one token in k. The paper recites nothing at 4; larger values cost less training signal and leak
    /// earlier (Apertus used 50).
    #[arg(long, default_value_t = 4, help_heading = "Mask")]
    pub(crate) k: u32,

    /// Length of the context that decides: in tokens, with the rule text in words, with text-v1 in letters and digits. A smaller
    /// context gives copies the same mask sooner after a difference; a larger one varies the mask more between passages that
    /// begin alike. [default: 8 for text, 12 for anchor, 50 for text-v1, else 13]
    #[arg(long, value_name = "N", help_heading = "Mask")]
    pub(crate) context: Option<u32>,

    /// With the rules over text: decide whole words, which are then the same for every tokenizer, or each token by the text
    /// before it. [default: word]
    #[arg(long, value_enum, help_heading = "Mask")]
    pub(crate) unit: Option<Granularity>,

    /// With the rules text and anchor: the most words or tokens in a row that are kept, at least 2k - 2, or none for no bound. A
    /// smaller number changes more decisions around an edit. [default: 4k - 2]
    #[arg(long, value_name = "N|none", value_parser = parse_longest_run, help_heading = "Mask")]
    pub(crate) longest_run: Option<LongestRunOption>,

    /// With the rule hash: whether the window holds the tokens before the decided one, or that one too (as in the
    /// reference code). [default: preceding]
    #[arg(long, value_enum, help_heading = "Mask")]
    pub(crate) window: Option<Window>,

    /// At the start of a document, where the context is not full: keep the tokens, or decide by the shorter context.
    #[arg(long, value_enum, default_value_t = ShortContext::Keep, help_heading = "Mask")]
    pub(crate) head: ShortContext,

    /// Seed of the rules that hash. Another seed drops other tokens.
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

    /// Never drop the tokenizer's special tokens, nor --bos-id and --eos-id. [default: true; false for the rules that
    /// reproduce another implementation: hash-table, hash-avalanche, coefficient-sum]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Mask")]
    pub(crate) exempt_special: Option<bool>,

    /// Only look for copies of the protected works of the --policy, and write no masks: how often does a work occur in this
    /// corpus? The folder gets protected.parquet, and shards with the ids of the documents that were searched. Raw text needs no
    /// tokenizer.
    #[arg(
        long,
        requires = "policy",
        conflicts_with_all = ["masks_only", "columns", "mask_column", "labels_column", "scope", "sequence_length"],
        help_heading = "Output"
    )]
    pub(crate) protect_only: bool,

    /// Read a sample, write nothing, and say how many documents and tokens there are, how large the shards will be, and how long a
    /// run takes with some numbers of threads and ranks.
    #[arg(
        long,
        conflicts_with_all = ["masks_only", "rank", "world", "resume", "overwrite"],
        help_heading = "Output"
    )]
    pub(crate) dry_run: bool,

    /// Write only masks, not shards: one file per memmap (.bin/.idx, .npy, .ds) as its training loop reads it, with one
    /// byte per token, 1 if it is in the loss. Without --output next to the memmaps: NAME.loss.bin and .idx, NAME.npy.loss,
    /// NAME.ds.loss.
    #[arg(
        long,
        conflicts_with_all = [
            "columns", "carry", "shard_size", "output_format", "rank", "on_error", "on_null", "policy", "mask_column", "labels_column",
        ],
        help_heading = "Output"
    )]
    pub(crate) masks_only: bool,

    /// Additional columns: labels (ids with -100 where dropped), attention_mask (ones), assistant_masks (the mask
    /// under the name TRL reads), loss_weights (float32: the mask, times the weights of --mask-column).
    #[arg(long, value_enum, value_delimiter = ',', value_name = "COLUMN", help_heading = "Output")]
    pub(crate) columns: Vec<ExtraColumn>,

    /// Columns of the source to copy into the shards. META.SOURCE is the field SOURCE inside the column META.
    #[arg(long, value_delimiter = ',', value_name = "COLUMN", help_heading = "Output")]
    pub(crate) carry: Vec<String>,

    /// Largest size of a shard, 4KiB at least. In an object store 4GiB at most.
    #[arg(long, default_value = "256MiB", value_parser = parse_shard_size, value_name = "SIZE", help_heading = "Output")]
    pub(crate) shard_size: u64,

    /// File format of the shards; only arrow-stream opens with datasets.load_from_disk.
    #[arg(long, value_enum, default_value_t = OutputFormat::ArrowStream, help_heading = "Output")]
    pub(crate) output_format: OutputFormat,

    /// Replace the shards of an earlier run, which stay in place until the new ones are complete, or restart an
    /// unfinished run.
    #[arg(long, help_heading = "Output")]
    pub(crate) overwrite: bool,

    /// Resume an unfinished run after its last finished shard (with --masks-only after its last memmap), with the same
    /// inputs and options; start at the beginning if there is none. What was read before is read again, to compare its hash.
    #[arg(long, conflicts_with = "overwrite", help_heading = "Output")]
    pub(crate) resume: bool,

    /// Mask only this one of --world parts of the inputs, counted from 0, into the folder rank-RRRRR-of-WWWWW of --output;
    /// `goldfish merge` joins them.
    #[arg(long, value_name = "RANK", requires = "world", help_heading = "Output")]
    pub(crate) rank: Option<u32>,

    /// Number of parts, of about equal size, that the inputs are divided into.
    #[arg(long, value_name = "N", requires = "rank", value_parser = clap::value_parser!(u32).range(1..=99_999), help_heading = "Output")]
    pub(crate) world: Option<u32>,

    /// Worker threads. The output is the same for every number. [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Output")]
    pub(crate) threads: Option<u16>,

    /// Print one JSON object instead of the summary.
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

/// Join the parts that `goldfish mask --rank R --world N` wrote to one folder of shards, or those of `goldfish trace`.
///
/// Checks that each part is given once, that all were made with the same options from the same inputs, and that no row is
/// missing or duplicated. The result is that of an undivided run, except that shards also end where parts end. The shards
/// are not read; `goldfish verify` does that.
#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// The parts' folders, in any order. In an object store a glob names many: 's3://BUCKET/parts/rank-*'.
    #[arg(required = true, value_name = "DIR")]
    pub(crate) parts: Vec<PathBuf>,

    /// Folder for what is joined. Shards are hard links where the file system allows them, else copies; in an object store the
    /// store copies.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,

    /// Remove the parts once the joined folder is complete.
    #[arg(long = "move")]
    pub(crate) remove_parts: bool,

    /// Replace the shards of an earlier run.
    #[arg(long)]
    pub(crate) overwrite: bool,

    /// Print one JSON object instead of a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show what is in a folder of shards: how it was made, its drop rates, the gaps between drops, and its first documents
/// with the dropped tokens marked.
///
/// Does the rule work on this corpus?
///   goldfish inspect masked/ --tokenizer tokenizer.json --by source --html masked.html
///
/// What would a model still learn from copies that differ?
///   goldfish inspect masked/ --tokenizer tokenizer.json --duplicates
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct InspectArgs {
    /// Output folders of `goldfish mask`.
    #[arg(required = true, value_name = "DIR")]
    pub(crate) folders: Vec<PathBuf>,

    /// The tokenizer.json that the shards were made with: to show text instead of token ids, to show why tokens were
    /// kept where the rule is text, and to find duplicates.
    #[arg(long, value_name = "FILE", value_parser = tokenizer_file())]
    pub(crate) tokenizer: Option<PathBuf>,

    /// Count by the values of this column of the shards, or by the documents' `input`.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) by: Option<String>,

    /// Find passages that recur, exactly or nearly, however they are formatted, and measure the leak: of the tokens
    /// dropped in one copy, the fraction that another copy trains on. Needs --tokenizer.
    #[arg(long)]
    pub(crate) duplicates: bool,

    /// Minimum length of a passage, in letters and digits.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(64..=1000), requires = "duplicates")]
    pub(crate) passage: u32,

    /// Maximum number of pairs of passages to compare.
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000), requires = "duplicates")]
    pub(crate) pairs: u32,

    /// Tokens to sample for the slow diagnostics (why tokens were kept, degenerate windows), in documents chosen by a hash of
    /// their ids. --duplicates looks for copies of what these hold in all documents. Drop rates and gaps are counted over all.
    #[arg(long, default_value_t = 4_000_000, value_name = "TOKENS")]
    pub(crate) sample: u64,

    /// Seed of the sampling.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) seed: u64,

    /// Number of documents, and of pairs of passages, to show.
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) documents: usize,

    /// Also write a page with plots: one self-contained HTML file, of one folder.
    #[arg(long, value_name = "FILE", value_parser = on_disk())]
    pub(crate) html: Option<PathBuf>,

    /// Print JSON instead of tables: an object, or a list of them for several folders.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Write a page about an audit or a trace, and check conditions for pipelines.
///
///   goldfish report runs/model-a --tokenizer tokenizer.json --output model-a.html
///   goldfish report runs/model-a --fail-if 'exact_match.upper > 0.01' --fail-if 'excess.rouge_l.lower > 0'
///
/// Exit codes: 0 done, 1 done but a --fail-if condition holds or the positive control failed, 2 could not run.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ReportArgs {
    /// Folder of a complete run of `goldfish audit`, or of `goldfish trace`.
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,

    /// The page to write: one self-contained HTML file.
    #[arg(short, long, default_value = "report.html", value_name = "FILE", value_parser = on_disk())]
    pub(crate) output: PathBuf,

    /// The tokenizer.json of the audited token ids: to show text instead of ids.
    #[arg(long, value_name = "FILE", value_parser = tokenizer_file())]
    pub(crate) tokenizer: Option<PathBuf>,

    /// Omit text and token ids of the corpus from the page; lengths, hashes, positions and documents' ids stay.
    #[arg(long, conflicts_with = "tokenizer")]
    pub(crate) redact: bool,

    /// Exit with code 1 if this condition holds in the run's summary, such as 'exact_match.upper > 0.01'; see
    /// docs/report.md. May be given several times.
    #[arg(long, value_name = "CONDITION")]
    pub(crate) fail_if: Vec<Gate<Summary>>,

    /// Print the summary and the conditions that hold as JSON.
    #[arg(long)]
    pub(crate) json: bool,

    /// Seed of the sample of probes or texts in the page's table, where there are more than 100,000.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) seed: u64,
}

/// Compare audits of several models on the same probes: what changed from the first run, and whether by chance.
///
///   goldfish compare runs/standard runs/goldfish --html compare.html
///   goldfish compare runs/step-1000 runs/step-2000 runs/step-4000 --fail-if 'differences.exact_match.lower > 0'
///
/// Differences are each further run minus the first one. Exit codes: 0 done, 1 done but a --fail-if condition holds or
/// the positive control of a run failed, 2 could not run.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct CompareArgs {
    /// Folders of complete runs of `goldfish audit`; the others are compared with the first one.
    #[arg(required = true, num_args = 2.., value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,

    /// Write a page with plots: one self-contained HTML file.
    #[arg(long, value_name = "FILE", value_parser = on_disk())]
    pub(crate) html: Option<PathBuf>,

    /// Print everything as JSON, with all probes whose verdict changed.
    #[arg(long)]
    pub(crate) json: bool,

    /// Exit with code 1 if this condition holds in any comparison, such as 'differences.exact_match.lower > 0'; see
    /// docs/report.md. May be given several times.
    #[arg(long, value_name = "CONDITION")]
    pub(crate) fail_if: Vec<Gate<Comparison>>,

    /// Seed of the bootstrap, and of the sample in the page's table where more than 100,000 probes changed.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) seed: u64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_options_are_well_formed() {
        Cli::command().debug_assert();
    }

    /// Every command, option and argument that is not hidden has its place in docs/cli.md.
    #[test]
    fn the_reference_has_every_command_and_option() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
        let reference = std::fs::read_to_string(path).unwrap();
        let sections: Vec<(&str, &str)> =
            reference.split("\n## `").skip(1).map(|section| section.split_once("`\n").unwrap()).collect();
        let (program, mut commands) = (Cli::command(), Vec::new());
        list_commands("goldfish", &program, &mut commands);

        let headings: Vec<&str> = sections.iter().map(|(heading, _)| *heading).collect();
        let names: Vec<&str> = commands.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(headings, names, "docs/cli.md: run `cargo xtask generate`");
        for ((name, command), (_, section)) in commands.iter().zip(&sections) {
            let visible = command.get_arguments().filter(|argument| !argument.is_hide_set());
            for argument in visible.filter(|argument| !argument.is_hide_long_help_set()) {
                assert!(has(section, argument), "docs/cli.md: `{name}` lacks {}", argument.get_id());
            }
        }
    }

    /// Commands in the order of the help, each before its own subcommands; a hidden one hides these too.
    fn list_commands<'c>(
        name: &str,
        command: &'c clap::Command,
        commands: &mut Vec<(String, &'c clap::Command)>,
    ) {
        commands.push((name.to_owned(), command));
        for nested in command.get_subcommands().filter(|nested| !nested.is_hide_set()) {
            list_commands(&format!("{name} {}", nested.get_name()), nested, commands);
        }
    }

    /// Whether a help has a line that starts with this argument: with its flags, or with its name in brackets.
    fn has(section: &str, argument: &clap::Arg) -> bool {
        let name = match argument.get_value_names() {
            Some([name, ..]) => name.to_string(),
            _ => argument.get_id().as_str().to_uppercase(),
        };
        let mut labels =
            section.lines().filter_map(|line| line.strip_prefix("  ")?.trim_start().split("  ").next());
        match argument.get_long().map(|long| format!("--{long}")) {
            Some(flag) => {
                labels.any(|label| label.starts_with('-') && label.split([' ', ',']).any(|word| word == flag))
            }
            None => labels.any(|label| {
                [format!("<{name}>"), format!("[{name}]")].iter().any(|it| label.starts_with(it))
            }),
        }
    }
}
