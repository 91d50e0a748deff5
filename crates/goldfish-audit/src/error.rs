use std::io;
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use goldfish_corpus::CorpusError;
use goldfish_remedy::{Remedies, Remedy};
use goldfish_shard::ShardError;
use parquet::errors::ParquetError;

use crate::backend::BackendError;
use crate::stat::OutOfRange;

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
        /// What is wrong and what to do.
        reason: String,
    },
    /// A column is missing or of the wrong type.
    #[error("{}: {reason}", path.display())]
    BadColumn {
        /// The file.
        path: PathBuf,
        /// Which column, what was expected, what to do.
        reason: String,
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
    },
    /// A number is out of its range.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// The grid is no grid.
    #[error("{0}")]
    BadGrid(String),
    /// A gate can't be read or can't be decided.
    #[error("the gate `{gate}` can't be decided: {reason}")]
    BadGate {
        /// The gate.
        gate: String,
        /// What is wrong, and which names exist.
        reason: String,
    },
    /// The run can't be made with this backend.
    #[error("{backend} can't serve this audit: {reason}")]
    Unfit {
        /// The backend's name.
        backend: String,
        /// What it lacks and what to do.
        reason: String,
    },
    /// The run was told to stop.
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
        Self::BadRun { path: path.to_owned(), reason: reason.into() }
    }
}

impl Remedies for AuditError {
    fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::Shard(error) => error.remedies(),
            Self::Corpus(error) => error.remedies(),
            Self::Backend(error) => error.remedies(),
            _ => Vec::new(),
        }
    }
}
