use goldfish_corpus::{CorpusError, Reject};
use goldfish_mask::MaskError;
use goldfish_shard::ShardError;
use goldfish_tokenize::TokenizeError;

/// Why a run stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// An input can't be read.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// A shard can't be written or read.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The rule can't be built.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// The tokenizer can't be used.
    #[error(transparent)]
    Tokenize(#[from] TokenizeError),
    /// A row can't become a document, and bad rows are to stop the run.
    #[error(
        "{}: row {}{}: {}\nMend the row or the options; or give --on-error skip to leave such rows out and list them in rejects.jsonl",
        .0.file,
        .0.row,
        .0.offset.map(|offset| format!(" (at byte {offset})")).unwrap_or_default(),
        .0.reason
    )]
    Rejected(Reject),
    /// Two inputs disagree about a carried column.
    #[error(
        "{file}: the carried columns are {found}, but in the inputs before it {expected}; mask them apart, or leave out --carry"
    )]
    CarriedDiffer {
        /// The input.
        file: String,
        /// Its columns.
        found: String,
        /// The columns of the inputs before it.
        expected: String,
    },
    /// A batch doesn't fit its schema.
    #[error("{file}: {source}; this is a fault in goldfish, please report it")]
    Batch {
        /// The input.
        file: String,
        /// What the library said.
        source: arrow::error::ArrowError,
    },
    /// Code panicked on some input.
    #[error("{file}: {message}; this is a fault in goldfish or a library, please report it")]
    Panicked {
        /// The input.
        file: String,
        /// The panic's message.
        message: String,
    },
    /// The options contradict each other.
    #[error("{0}")]
    Options(String),
}
