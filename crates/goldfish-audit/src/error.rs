use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use goldfish_corpus::CorpusError;
use goldfish_remedy::{Remedies, Remedy, Setting};
use goldfish_shard::ShardError;
use parquet::errors::ParquetError;

use crate::backend::BackendError;
use crate::stat::OutOfRange;

/// Something that an audit asks of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ability {
    /// Scores of given sequences.
    Score,
    /// Continuations of prompts.
    Continue,
    /// Log-probabilities under a sampling scheme.
    Schemes,
    /// The likeliest tokens under a sampling scheme.
    Candidates,
}

impl fmt::Display for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Score => "it can't score given sequences",
            Self::Continue => "it can't continue prompts",
            Self::Schemes => "it gives no log-probabilities under a sampling scheme",
            Self::Candidates => {
                "it does not name the likeliest tokens under a sampling scheme, which bounds of near-verbatim draws need"
            }
        })
    }
}

/// Why an audit could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Shards can't be read.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// Other documents can't be read.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// The model didn't answer.
    #[error(transparent)]
    Backend(#[from] BackendError),
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
    /// A file of the run can't be encoded or decoded.
    #[error("{}: {source}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the library said.
        source: ParquetError,
    },
    /// Rows can't be put into columns.
    #[error("{}: {source}", path.display())]
    Arrow {
        /// The file.
        path: PathBuf,
        /// What the library said.
        source: ArrowError,
    },
    /// A file of the run is not what this program writes.
    #[error("{}: {reason}", path.display())]
    BadRun {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// What to do about it.
        remedies: Vec<Remedy>,
    },
    /// A column is missing.
    #[error("{}: there is no column {column:?}", path.display())]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
    },
    /// A column has another type.
    #[error("{}: column {column:?} is {found}, expected {expected}", path.display())]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its type, or what is wrong with its values.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// Raw text can't be tokenized.
    #[error("{}: raw text needs the model's tokenizer", path.display())]
    TextWithoutTokenizer {
        /// The file.
        path: PathBuf,
    },
    /// A row can't be used.
    #[error("{file}, row {row}: {reason}")]
    BadRow {
        /// The file.
        file: String,
        /// The row, from 0.
        row: u64,
        /// What is wrong.
        reason: String,
        /// What to do about it.
        remedies: Vec<Remedy>,
    },
    /// A number is out of its range.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// A grid has no values for one of its axes.
    #[error("the grid has no {what}")]
    EmptyGrid {
        /// The axis.
        what: &'static str,
        /// What to do about it.
        remedies: Vec<Remedy>,
    },
    /// A grid has a stride, a prefix or a suffix of 0 tokens.
    #[error("strides, prefixes and suffixes have at least 1 token")]
    ZeroLength,
    /// A gate can't be read or can't be decided.
    #[error("the gate `{gate}` can't be decided: {reason}")]
    BadGate {
        /// The gate.
        gate: String,
        /// What is wrong, and which names exist.
        reason: String,
    },
    /// The self-test of the backend failed.
    #[error("{backend} can't serve this audit: {reason}")]
    Unfit {
        /// The backend's name.
        backend: String,
        /// What failed.
        reason: String,
    },
    /// The corpus was tokenized for another model.
    #[error(
        "the token ids are not the model's: {detail}{}; give the raw text, or mask it with the model's tokenizer", shown(texts.as_ref())
    )]
    OtherTokenizer {
        /// Both tokenizers, and how they differ.
        detail: String,
        /// A text by the corpus's tokenizer, and the same ids by the model's.
        texts: Option<(String, String)>,
        /// What else to do about it.
        remedies: Vec<Remedy>,
    },
    /// The backend can't do what the audit asks for.
    #[error("{backend} can't serve this audit: {ability}")]
    Missing {
        /// The backend's name.
        backend: String,
        /// What it can't do.
        ability: Ability,
    },
    /// A run without tokens can't be asked again.
    #[error("the run is redacted: it has no token ids to ask the model with again")]
    Redacted,
    /// The run was stopped.
    #[error("interrupted")]
    Interrupted,
    /// The backend broke its contract.
    #[error("{backend} answered {found}, expected {expected}; run the self-test again")]
    BadAnswer {
        /// The backend's name.
        backend: String,
        /// What came.
        found: String,
        /// What should have come.
        expected: String,
    },
}

/// Two texts of the same ids.
fn shown(texts: Option<&(String, String)>) -> String {
    let quoted = |(corpus, model): &(String, String)| {
        format!(": {corpus:?} by the corpus's tokenizer, {model:?} by the model's")
    };
    texts.map(quoted).unwrap_or_default()
}

impl AuditError {
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, action, source }
    }

    pub(crate) fn parquet(path: &Path) -> impl FnOnce(ParquetError) -> Self {
        let path = path.to_owned();
        move |source| Self::Parquet { path, source }
    }

    pub(crate) fn arrow(path: &Path) -> impl FnOnce(ArrowError) -> Self {
        let path = path.to_owned();
        move |source| Self::Arrow { path, source }
    }

    pub(crate) fn bad_run(path: &Path, reason: impl Into<String>) -> Self {
        Self::refused(path, reason, Vec::new())
    }

    /// A run that can't be used as it is.
    pub(crate) fn refused(path: &Path, reason: impl Into<String>, remedies: Vec<Remedy>) -> Self {
        Self::BadRun { path: path.to_owned(), reason: reason.into(), remedies }
    }
}

impl Remedies for AuditError {
    fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::Shard(error) => error.remedies(),
            Self::Corpus(error) => error.remedies(),
            Self::Backend(error) => error.remedies(),
            Self::BadRun { remedies, .. }
            | Self::BadRow { remedies, .. }
            | Self::EmptyGrid { remedies, .. }
            | Self::OtherTokenizer { remedies, .. } => remedies.clone(),
            Self::TextWithoutTokenizer { .. } => {
                vec![Remedy::give(Setting::Tokenizer), Remedy::give(Setting::IdsColumn).to("read token ids")]
            }
            Self::MissingColumn { column, .. } => {
                vec![Remedy::give(Setting::Carry).value(column).to("keep the column when masking")]
            }
            Self::Missing { ability: Ability::Continue, .. } => {
                vec![Remedy::give(Setting::Metrics).value("exact-match")]
            }
            Self::Missing { ability: Ability::Schemes, .. } => vec![Remedy::omit(Setting::Temperature)],
            _ => Vec::new(),
        }
    }
}
