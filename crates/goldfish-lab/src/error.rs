use std::path::{Path, PathBuf};

use goldfish_audit::backend::BackendError;
use goldfish_backends::local::CheckpointError;
use goldfish_remedy::{Remedies, Remedy, Setting};
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
        /// The error of the system.
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
    /// An invalid option.
    #[error("{option}: {reason}")]
    Option {
        /// Its name in [`TrainOptions`](crate::TrainOptions).
        option: &'static str,
        /// What is wrong.
        reason: String,
        /// What to do.
        remedies: Vec<Remedy>,
    },
    /// The output folder, or something in it, can't be used.
    #[error("{}: {reason}", path.display())]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// What to do.
        remedies: Vec<Remedy>,
    },
    /// A row of a corpus is no document.
    #[error("{file}: row {row}: {reason}")]
    BadRow {
        /// The input.
        file: String,
        /// The row, from 0.
        row: u64,
        /// What is wrong.
        reason: String,
        /// What to do.
        remedies: Vec<Remedy>,
    },
    /// The loss or the gradients are no longer finite.
    #[error(
        "step {step}: the loss is {loss}, the gradients' norm {norm}; try a smaller learning rate or a longer warmup"
    )]
    Diverged {
        /// The step, from 1.
        step: u64,
        /// The loss.
        loss: f64,
        /// Norm of all gradients together.
        norm: f64,
    },
    /// The caller stopped the run; what was done is kept.
    #[error("stopped after step {step} of {steps}")]
    Stopped {
        /// The last step that was done.
        step: u64,
        /// Steps of the whole run.
        steps: u64,
    },
    /// The model can't continue a prefix.
    #[error(transparent)]
    Generate(#[from] BackendError),
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
        Self::Option { option, reason: reason.into(), remedies: Vec::new() }
    }

    pub(crate) fn folder(path: &Path, reason: impl Into<String>) -> Self {
        Self::Folder { path: path.into(), reason: reason.into(), remedies: Vec::new() }
    }

    /// A folder in place of which another can be chosen.
    pub(crate) fn output(path: &Path, reason: impl Into<String>) -> Self {
        Self::folder(path, reason).with([Remedy::change(Setting::Output)])
    }

    /// The same error with remedies.
    pub(crate) fn with<const N: usize>(mut self, all: [Remedy; N]) -> Self {
        if let Self::Option { remedies, .. } | Self::Folder { remedies, .. } = &mut self {
            *remedies = all.into();
        }
        self
    }
}

impl Remedies for LabError {
    fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::Shards(error) => error.remedies(),
            Self::Tokenizer(error) => error.remedies(),
            Self::Option { remedies, .. } | Self::Folder { remedies, .. } | Self::BadRow { remedies, .. } => {
                remedies.clone()
            }
            Self::Stopped { .. } => vec![Remedy::give(Setting::Resume).to("resume")],
            // A checkpoint's remedies are about audits.
            Self::Model(_)
            | Self::Io { .. }
            | Self::Diverged { .. }
            | Self::Generate(_)
            | Self::Compute(_) => Vec::new(),
        }
    }
}
