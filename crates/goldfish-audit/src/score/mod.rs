//! The scores of one probe. Pure functions over token ids and log-probabilities.
//!
//! Throughout, `g` is the model's continuation and `s` the true suffix. Ids are compared, never text; text
//! enters only the [word scores](words) and the zlib score.

pub mod goldfish;
pub mod likelihood;
pub mod membership;
pub mod overlap;
pub mod trivial;
pub mod words;

/// Precision, recall and their harmonic mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FScore {
    /// Share of the continuation that is in the truth.
    pub precision: f64,
    /// Share of the truth that is in the continuation.
    pub recall: f64,
    /// `2 * precision * recall / (precision + recall)`; 0 where both are 0.
    pub f1: f64,
}

impl FScore {
    /// From a common part and the two lengths; all 0 if either is empty.
    #[must_use]
    pub fn new(common: usize, continuation: usize, truth: usize) -> Self {
        if common == 0 {
            return Self { precision: 0.0, recall: 0.0, f1: 0.0 };
        }
        let precision = common as f64 / continuation as f64;
        let recall = common as f64 / truth as f64;
        Self { precision, recall, f1: 2.0 * precision * recall / (precision + recall) }
    }
}
