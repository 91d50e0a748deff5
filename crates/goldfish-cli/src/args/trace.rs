//! `goldfish trace`.

use std::path::PathBuf;

use clap::Args;
use goldfish_corpus::{Format, IdType};
use goldfish_pipeline::OnError;

use super::values::{on_disk, parse_document_size};
use crate::args::hub::tokenizer_file;

/// Trace texts to a corpus: which parts of what a model said are in its training data, where, and how often?
///
/// Trace outputs of a model (columns id and text), next to texts that people wrote:
///   goldfish trace outputs.jsonl --control human.jsonl --corpus corpus/ --output traced/ --html traced.html
///
/// The corpus as token ids, or as shards that goldfish wrote:
///   goldfish trace outputs.jsonl --corpus masked/ --ids-column input_ids --tokenizer tokenizer.json --output traced/
///
/// Where does what a model recited in an audit appear, and how often? Its other suffixes are the control:
///   goldfish trace run/ --tokenizer tokenizer.json --corpus corpus/ --output traced/
///
/// Texts that a model says unprompted:
///   goldfish audit sample --model checkpoint/ --output samples/
///   goldfish trace samples/ --corpus corpus/ --output traced/
///
/// On several machines, then joined:
///   goldfish trace outputs.jsonl --corpus corpus/ --rank 0 --world 8 --output traced/
///   goldfish merge traced/rank-* --output traced-all/
///
/// A span is a part of a text that appears in the corpus word for word; case, layout and punctuation make no difference.
/// Passages with edits are found too. The folder gets texts.parquet, spans.parquet and summary.json (docs/trace.md).
///
/// Exit codes: 0 done, 1 done but rows of the corpus were rejected, 2 could not run.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct TraceArgs {
    /// Files, folders or globs with the texts to trace: .jsonl, .parquet and the like with a text and an id in each row, or
    /// .txt and .md, each one text. Or the folder of a complete run of `goldfish audit`, or of
    /// `goldfish audit sample`.
    #[arg(required = true, value_name = "TEXTS")]
    pub(crate) texts: Vec<String>,

    /// The corpus: files, folders or globs, also URLs, in any format that `goldfish mask` reads.
    #[arg(long, required = true, num_args = 1.., value_name = "INPUT")]
    pub(crate) corpus: Vec<String>,

    /// Folder to write.
    #[arg(short, long, value_name = "DIR", value_parser = on_disk())]
    pub(crate) output: PathBuf,

    /// Texts to compare with, such as ones that people wrote on the same topics: people quote too.
    #[arg(long, num_args = 1.., value_name = "TEXTS", help_heading = "Texts")]
    pub(crate) control: Vec<String>,

    /// Column with the texts.
    #[arg(long, default_value = "text", value_name = "COLUMN", help_heading = "Texts")]
    pub(crate) traced_column: String,

    /// Column with the texts' ids.
    #[arg(long, default_value = "id", value_name = "COLUMN", help_heading = "Texts")]
    pub(crate) traced_id_column: String,

    /// Words of the shortest span; 4 at least. Phrases of fewer than 8 words are everywhere.
    #[arg(long, default_value_t = 12, value_name = "N", value_parser = clap::value_parser!(u32).range(4..), help_heading = "Spans")]
    pub(crate) min_words: u32,

    /// Characters of the shortest span, in place of words: 50 in arXiv 2411.10242. Such a span has at least 6 words.
    #[arg(long, value_name = "N", conflicts_with = "min_words", help_heading = "Spans")]
    pub(crate) min_characters: Option<u32>,

    /// Seed of the choice of places where a span has many, and of the intervals.
    #[arg(long, default_value_t = 0, value_name = "N", help_heading = "Spans")]
    pub(crate) seed: u64,

    /// Read every input of the corpus as this format, whatever its name.
    #[arg(long, value_name = "FORMAT", help_heading = "Corpus")]
    pub(crate) format: Option<Format>,

    /// Column with raw text. [default: text]
    #[arg(long, value_name = "COLUMN", conflicts_with = "ids_column", help_heading = "Corpus")]
    pub(crate) text_column: Option<String>,

    /// Column with token ids, whose text --tokenizer gives.
    #[arg(long, value_name = "COLUMN", requires = "tokenizer", help_heading = "Corpus")]
    pub(crate) ids_column: Option<String>,

    /// Hugging Face tokenizer.json of token ids, those of the corpus and of an audit. Raw text needs none.
    #[arg(long, value_name = "FILE", help_heading = "Corpus", value_parser = tokenizer_file())]
    pub(crate) tokenizer: Option<PathBuf>,

    /// Column with the documents' ids. [default: FILE:ROW, rows counted from 0]
    #[arg(long, value_name = "COLUMN", help_heading = "Corpus")]
    pub(crate) id_column: Option<String>,

    /// Column that says where documents come from. [default: the name of the input]
    #[arg(long, value_name = "COLUMN", help_heading = "Corpus")]
    pub(crate) source_column: Option<String>,

    /// Id type of headerless memmaps (.npy, .ds). [default: derived from the file sizes if possible, else uint16]
    #[arg(long, value_name = "TYPE", help_heading = "Corpus")]
    pub(crate) ids_dtype: Option<IdType>,

    /// The id that separates documents in .npy memmaps without a .csv.gz sidecar. [default: the tokenizer's
    /// end-of-sequence token]
    #[arg(long, value_name = "ID", help_heading = "Corpus")]
    pub(crate) eos_id: Option<u32>,

    /// Largest document: bytes of its line, file or text, or four bytes per token. Larger ones are rejected.
    #[arg(long, default_value = "64MiB", value_parser = parse_document_size, value_name = "SIZE", help_heading = "Corpus")]
    pub(crate) max_document: usize,

    /// What to do with a row of the corpus that can't become a document.
    #[arg(long, value_enum, default_value_t = OnError::Fail, help_heading = "Corpus")]
    pub(crate) on_error: OnError,

    /// Also write a page that shows the texts with their spans, and the documents beside them.
    #[arg(long, value_name = "FILE", value_parser = on_disk(), help_heading = "Output")]
    pub(crate) html: Option<PathBuf>,

    /// Resume a trace that was interrupted, with the same texts, corpus and options. What was read before is read again, to
    /// compare its hash.
    #[arg(long, help_heading = "Output")]
    pub(crate) resume: bool,

    /// Seconds between two savings of what was found, after which a trace can be resumed.
    #[arg(long, default_value_t = 30, value_name = "SECONDS", help_heading = "Output")]
    pub(crate) save_every: u64,

    /// Search only this one of --world parts of the corpus, counted from 0, into the folder rank-RRRRR-of-WWWWW of --output;
    /// `goldfish merge` joins them.
    #[arg(long, value_name = "RANK", requires = "world", help_heading = "Output")]
    pub(crate) rank: Option<u32>,

    /// Number of parts, of about equal size, that the corpus is divided into.
    #[arg(long, value_name = "N", requires = "rank", value_parser = clap::value_parser!(u32).range(1..=99_999), help_heading = "Output")]
    pub(crate) world: Option<u32>,

    /// Worker threads. The output is the same for every number. [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Output")]
    pub(crate) threads: Option<u16>,

    /// Print one JSON object instead of the summary.
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}
