use goldfish_mask::MaskError;

/// Why works could not be indexed, or a document not be searched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MatchError {
    /// Fingerprints of no words, or of too many.
    #[error("a fingerprint is of {gram} words, but must be of 2 to 64")]
    Gram {
        /// The value given.
        gram: u32,
    },
    /// No windows, or too large ones.
    #[error("a window has {window} fingerprints, but must have 1 to 64")]
    Window {
        /// The value given.
        window: u32,
    },
    /// A share of edits that makes anything a copy, or lets no edit pass.
    #[error("{percent} of 100 words of a copy may be edited, but must be 1 to 50")]
    Edits {
        /// The value given, in percent.
        percent: u32,
    },
    /// The works are too large for one index.
    #[error(
        "the works have more than 4 GiB of letters or 2^32 - 2 words at the work {id}; index fewer works at a time"
    )]
    TooLarge {
        /// The work that did not fit.
        id: String,
    },
    /// A text could not be cut into words.
    #[error(transparent)]
    Text(#[from] MaskError),
}
