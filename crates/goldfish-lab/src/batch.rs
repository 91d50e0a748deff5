//! What a model computes at once.

/// Sequences one after the other, without padding.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Tokens of all sequences, one after the other; the rows of the model.
    pub tokens: Vec<u32>,
    /// Number of tokens of each sequence. No sequence sees another, and each begins at position 0.
    pub lengths: Vec<usize>,
}

/// The targets of the loss in a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets {
    /// Rows of the batch with a target, ascending.
    pub rows: Vec<u32>,
    /// The token that should follow each of them.
    pub ids: Vec<u32>,
}
