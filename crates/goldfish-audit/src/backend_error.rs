//! What can go wrong with a model that is asked.

use std::time::Duration;

use goldfish_remedy::{Remedies, Remedy, Setting};

/// Why a backend has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// It can't do what is asked.
    #[error("{backend} can't {what}; {advice}")]
    Unsupported {
        /// Its name.
        backend: String,
        /// What was asked for.
        what: String,
        /// What to do instead.
        advice: String,
    },
    /// A sequence is longer than its context.
    #[error("{backend} takes {longest} tokens at most, a sequence has {length}")]
    TooLong {
        /// Its name.
        backend: String,
        /// Its context in tokens.
        longest: u64,
        /// Tokens in the sequence.
        length: u64,
        /// Whether it would take longer ones with a [`BlockMemory`](crate::backend::BlockMemory).
        memory: bool,
    },
    /// A token id is not in its vocabulary.
    #[error(
        "token id {id} is not in the vocabulary of {backend}, which has {vocab_size} ids; was the corpus tokenized for another model?"
    )]
    UnknownToken {
        /// Its name.
        backend: String,
        /// The id.
        id: u32,
        /// Its number of ids.
        vocab_size: u32,
    },
    /// It failed after all repetitions.
    #[error("{backend} failed: {reason}")]
    Failed {
        /// Its name.
        backend: String,
        /// What happened last.
        reason: String,
        /// How long it asks to be left alone, where it said so.
        retry_after: Option<Duration>,
    },
}

impl Remedies for BackendError {
    fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::TooLong { memory, .. } => {
                let attend = Remedy::give(Setting::MemoryWindow)
                    .to("attend to a window and to blocks of the tokens before it");
                let shorter = Remedy::change(Setting::Prefix).and(Setting::Suffix);
                std::iter::once(shorter).chain(memory.then_some(attend)).collect()
            }
            _ => Vec::new(),
        }
    }
}
