use std::io;
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use goldfish_remedy::{Remedies, Remedy};
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
        /// What is there and what to do.
        reason: String,
    },
    /// There is no manifest.
    #[error(
        "{}: no manifest.json there; is this the output folder of a finished `goldfish mask`?",
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
    /// An unfinished run can't be taken up.
    #[error("{}: {reason}", path.display())]
    BadJournal {
        /// The file or folder in question.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A part of a divided run doesn't fit the others.
    #[error("{}: {reason}", path.display())]
    BadPart {
        /// The part's folder, or a file in it.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// Shards can't be exported.
    #[error("{}: {reason}", path.display())]
    Export {
        /// The folder, shard or output in question.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The work was told to stop.
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

impl ShardError {
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
        Vec::new()
    }
}
