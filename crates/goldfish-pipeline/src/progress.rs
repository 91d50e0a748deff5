//! How far a run has come.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use goldfish_shard::FinishedFiles;
use serde::{Deserialize, Serialize};

/// How far a run has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the inputs' main files that were read.
    pub bytes_read: u64,
    /// Bytes of all inputs' main files.
    pub bytes_total: u64,
    /// Documents tokenized and masked.
    pub documents: u64,
    /// Their tokens.
    pub tokens: u64,
    /// What an earlier run finished, whose work is not counted here: shards, or masks of memmaps.
    pub finished: Option<FinishedFiles>,
}

/// Bytes of text by the path of the tokenizer that they took, and what was in them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenizedText {
    /// The fast path.
    pub fast: u64,
    /// The reference implementation.
    pub exact: u64,
    /// Special tokens that the texts spelled.
    #[serde(default)]
    pub special: u64,
}

/// Counters that the threads add to and the caller is shown.
pub(crate) struct SharedProgress(Mutex<Progress>);

impl SharedProgress {
    pub(crate) fn new(progress: Progress) -> Self {
        Self(Mutex::new(progress))
    }

    pub(crate) fn lock<R>(&self, f: impl FnOnce(&mut Progress) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How often the caller is shown the progress.
pub(crate) const TICK: Duration = Duration::from_millis(100);
