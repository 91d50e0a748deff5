use std::io;
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use goldfish_remedy::{Remedies, Remedy, Setting};
use goldfish_storage::{is_remote, without_secrets};
use parquet::errors::ParquetError;

/// Why shards could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShardError {
    /// The operating system refused.
    #[error("{}: {action} failed: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A shard can't be encoded or decoded.
    #[error("{}: {source}", path.display())]
    Arrow {
        /// The shard.
        path: PathBuf,
        /// What the library said.
        source: ArrowError,
    },
    /// A Parquet shard can't be encoded or decoded.
    #[error("{}: {source}", path.display())]
    Parquet {
        /// The shard.
        path: PathBuf,
        /// What the library said.
        source: ParquetError,
    },
    /// The output folder is in use.
    #[error("{}: {reason}", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
        /// What is there.
        reason: String,
        /// What to do about it.
        remedies: Vec<Remedy>,
    },
    /// There is no manifest.
    #[error(
        "{}: no manifest.json there; is this the output folder of a finished run of `goldfish mask`?",
        path.display()
    )]
    NoManifest {
        /// The folder.
        path: PathBuf,
    },
    /// The manifest can't be used.
    #[error("{}: {reason}", path.display())]
    BadManifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An unfinished run can't be resumed.
    #[error("{}: {reason}", path.display())]
    BadJournal {
        /// The file or folder in question.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A part of a divided run doesn't fit the others.
    #[error("{}: {reason}", path.display())]
    BadPart {
        /// The part's folder, or a file in it.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// What to do about it.
        remedies: Vec<Remedy>,
    },
    /// Shards can't be exported.
    #[error("{}: {error}", path.display())]
    Export {
        /// The folder, shard or output in question.
        path: PathBuf,
        /// What is wrong.
        error: ExportError,
    },
    /// There are more shards than a folder may hold.
    #[error(
        "{}: more than {MAX_FOLDER_SHARDS} shards would make its manifest.json too large to be read again; mask the inputs \
         in several runs",
        path.display()
    )]
    TooManyShards {
        /// The folder.
        path: PathBuf,
    },
    /// There are more rejected rows or passages than a run into a store may have.
    #[error(
        "{}: the list of {list} of a run into an object store may have {MAX_STORE_REJECTS_BYTES} bytes at most; mask to a disk",
        path.display()
    )]
    ListTooLong {
        /// The list.
        path: PathBuf,
        /// What it lists.
        list: &'static str,
    },
    /// The work was stopped.
    #[error("interrupted")]
    Interrupted,
    /// A shard doesn't have the columns of a shard.
    #[error("{}: {reason}", path.display())]
    BadShard {
        /// The shard.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Shards that a folder may hold: a manifest that lists them stays below
/// [`MAX_MANIFEST_BYTES`](crate::MAX_MANIFEST_BYTES).
pub const MAX_FOLDER_SHARDS: usize = 1 << 19;

/// Longest list of rejected rows in an object store, in bytes, and of protected passages while shards are written. Nothing
/// grows in a store: a list is kept in memory, and the journal has what came to it since the record before.
pub const MAX_STORE_REJECTS_BYTES: u64 = 1 << 30;

/// Longest packed sequence, in tokens.
pub const MAX_SEQUENCE_LENGTH: u32 = 1 << 24;

/// Why shards can't be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The output is in the folder of shards.
    #[error("the output is in the folder of shards")]
    OutputInside,
    /// A layout has no ids of a type.
    #[error("ids in the layout {layout} are {allowed}, not {given}")]
    TokenType {
        /// The layout.
        layout: &'static str,
        /// The types that it may have.
        allowed: String,
        /// The type that was asked for.
        given: &'static str,
    },
    /// A sequence would be too long.
    #[error("{length} is more than the {MAX_SEQUENCE_LENGTH} tokens that a packed sequence may have")]
    SequenceTooLong {
        /// The length that was asked for, in tokens.
        length: u32,
    },
    /// A layout packs sequences, and there is no length, or it is less than 2.
    #[error("the layout {layout} packs sequences, of 2 tokens at least")]
    NoSequenceLength {
        /// The layout.
        layout: &'static str,
    },
    /// A layout doesn't pack sequences.
    #[error("the layout {layout} doesn't pack sequences")]
    NotPacked {
        /// The layout.
        layout: &'static str,
    },
    /// A layout has masks of 0 and 1 alone.
    #[error(
        "{tokens} tokens have a loss weight that is neither 0 nor 1, and the layout {layout} has no room for weights; the layout \
         levanter has, and training loops can read the column loss_weights of the shards"
    )]
    Fractions {
        /// The layout.
        layout: &'static str,
        /// Tokens with such weights.
        tokens: u64,
    },
    /// There are no tokens.
    #[error("the shards hold no tokens: there is nothing to export")]
    NoTokens,
    /// An id is larger than its type allows.
    #[error("row {row} ({document}): the id {id} at position {position} doesn't fit {token_type}")]
    IdTooLarge {
        /// The row in the shard.
        row: u64,
        /// The document's id, shortened.
        document: String,
        /// The id.
        id: i32,
        /// Its position in the document, in tokens.
        position: usize,
        /// The type.
        token_type: &'static str,
    },
    /// Not all tokens were written.
    #[error(
        "{written} tokens were written, but the shards hold {expected}; this is a bug in goldfish, please report it"
    )]
    Miscounted {
        /// Tokens that were written.
        written: u64,
        /// Tokens in the shards.
        expected: u64,
    },
}

impl Remedies for ExportError {
    fn remedies(&self) -> Vec<Remedy> {
        vec![match self {
            Self::OutputInside => Remedy::change(Setting::Output),
            Self::TokenType { .. } => Remedy::omit(Setting::IdsDtype),
            Self::IdTooLarge { .. } => Remedy::change(Setting::IdsDtype),
            Self::SequenceTooLong { .. } => Remedy::change(Setting::SequenceLength),
            Self::NoSequenceLength { .. } => Remedy::give(Setting::SequenceLength).to("name the model's"),
            Self::NotPacked { .. } => Remedy::omit(Setting::SequenceLength),
            Self::NoTokens | Self::Miscounted { .. } | Self::Fractions { .. } => return Vec::new(),
        }]
    }
}

/// To discard what an earlier run left.
pub(crate) fn start_again() -> Remedy {
    Remedy::give(Setting::Overwrite).to("start again")
}

/// To replace a complete set.
pub(crate) fn replace_set() -> Remedy {
    Remedy::give(Setting::Overwrite).to("replace them")
}

/// To write elsewhere.
pub(crate) fn other_output() -> Remedy {
    Remedy::change(Setting::Output)
}

impl ShardError {
    pub(crate) fn occupied(path: &Path, reason: impl Into<String>, remedies: impl Into<Vec<Remedy>>) -> Self {
        Self::Occupied { path: path.to_owned(), reason: reason.into(), remedies: remedies.into() }
    }

    pub(crate) fn part(path: &Path, reason: impl Into<String>, remedies: impl Into<Vec<Remedy>>) -> Self {
        Self::BadPart { path: path.to_owned(), reason: reason.into(), remedies: remedies.into() }
    }

    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = match path.to_str() {
            Some(url) if is_remote(path) => without_secrets(url).into(),
            _ => path.to_owned(),
        };
        move |source| Self::Io { path, action, source }
    }

    pub(crate) fn arrow(path: &Path) -> impl FnOnce(ArrowError) -> Self {
        let path = path.to_owned();
        move |source| Self::Arrow { path, source }
    }

    pub(crate) fn parquet(path: &Path) -> impl FnOnce(ParquetError) -> Self {
        let path = path.to_owned();
        move |source| Self::Parquet { path, source }
    }
}

impl Remedies for ShardError {
    fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::Occupied { remedies, .. } | Self::BadPart { remedies, .. } => remedies.clone(),
            Self::BadJournal { .. } => vec![start_again()],
            Self::Export { error, .. } => error.remedies(),
            Self::TooManyShards { .. } => vec![Remedy::change(Setting::ShardSize)],
            Self::ListTooLong { .. } => {
                vec![Remedy::give(Setting::Rank).and(Setting::World).to("mask in more parts")]
            }
            _ => Vec::new(),
        }
    }
}
