use std::path::{Path, PathBuf};

use goldfish_backends::local::CheckpointError;
use goldfish_remedy::{Remedies, Remedy};
use goldfish_shard::ShardError;
use goldfish_tokenize::TokenizeError;

/// Why a model could not be trained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// A file can't be read or written.
    #[error("{}: {action} failed: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// Shards can't be read.
    #[error(transparent)]
    Shards(#[from] ShardError),
    /// A tokenizer can't be read.
    #[error(transparent)]
    Tokenizer(#[from] TokenizeError),
    /// A model can't be built.
    #[error(transparent)]
    Model(#[from] CheckpointError),
    /// An option that can't be.
    #[error("{option}: {reason}")]
    Option {
        /// Its name in [`TrainOptions`](crate::TrainOptions).
        option: &'static str,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The output folder, or something in it, can't be used.
    #[error("{}: {reason}", path.display())]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// Training went wrong.
    #[error("step {step}: {reason}")]
    Diverged {
        /// The step, from 1.
        step: u64,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The caller stopped the run; what was done is kept.
    #[error("stopped behind step {step} of {steps}; go on with --resume")]
    Stopped {
        /// The last step that was done.
        step: u64,
        /// Steps of the whole run.
        steps: u64,
    },
    /// A computation failed.
    #[error("the model could not be run: {0}")]
    Compute(#[from] candle_core::Error),
}

impl LabError {
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, action, source }
    }

    pub(crate) fn option(option: &'static str, reason: impl Into<String>) -> Self {
        Self::Option { option, reason: reason.into() }
    }

    pub(crate) fn folder(path: &Path, reason: impl Into<String>) -> Self {
        Self::Folder { path: path.into(), reason: reason.into() }
    }
}

impl Remedies for LabError {
    fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::Shards(error) => error.remedies(),
            Self::Tokenizer(error) => error.remedies(),
            Self::Model(error) => error.remedies(),
            _ => Vec::new(),
        }
    }
}
