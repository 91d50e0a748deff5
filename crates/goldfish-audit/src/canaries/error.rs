use std::path::{Path, PathBuf};

use goldfish_corpus::{CorpusError, Reject};
use goldfish_remedy::{Remedies, Remedy, Setting};

use crate::error::AuditError;
use crate::stat::OutOfRange;

/// Why canaries can't be planted or tested.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CanaryError {
    /// Files can't be read or written, or the model doesn't answer.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The corpus can't be read.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// A row of the corpus is no document.
    #[error("{}, row {}: {}", .0.file, .0.row, .0.reason)]
    BadRow(Reject),
    /// A number of the plan is out of its range.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// A number of repetitions is given twice.
    #[error("{0} repetitions are given twice")]
    Twice(u32),
    /// There are not enough words to draw passages from.
    #[error("{found} different words of 3 to 12 small letters were found, and {needed} are needed")]
    FewWords {
        /// How many there are.
        found: usize,
        /// How many it takes.
        needed: usize,
    },
    /// The corpus has tokens only.
    #[error("{input} holds token ids; canaries are planted in raw text")]
    NoText {
        /// The input.
        input: String,
    },
    /// A passage is not unique.
    #[error("{place} has {words} words in a row of a passage")]
    Occurs {
        /// The document of the corpus, or another passage.
        place: String,
        /// How many words in a row no two passages share.
        words: usize,
    },
    /// The corpus is not the same when it is read again.
    #[error("{input} changed while it was read")]
    Changed {
        /// The input.
        input: String,
    },
    /// The folder is not free.
    #[error("{}: {reason}", path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
        /// What is there.
        reason: String,
    },
    /// A plan is not the one that its seed gives.
    #[error("{}: {reason}", path.display())]
    Edited {
        /// The file.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
}

impl CanaryError {
    pub(super) fn edited(path: &Path, reason: impl Into<String>) -> Self {
        Self::Edited { path: path.to_owned(), reason: reason.into() }
    }

    pub(super) fn taken(path: &Path, reason: impl Into<String>) -> Self {
        Self::Taken { path: path.to_owned(), reason: reason.into() }
    }
}

impl Remedies for CanaryError {
    fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::Audit(error) => error.remedies(),
            Self::Corpus(error) => error.remedies(),
            Self::BadRow(reject) => reject.remedies(),
            Self::FewWords { .. } => vec![Remedy::give(Setting::WordsFrom).to("draw from other words")],
            Self::NoText { .. } => {
                vec![Remedy::give(Setting::WordsFrom).to("plant without reading the corpus")]
            }
            Self::Occurs { .. } => vec![Remedy::change(Setting::Seed)],
            Self::Taken { .. } => vec![Remedy::change(Setting::Output)],
            _ => Vec::new(),
        }
    }
}
