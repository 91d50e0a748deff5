//! What a sweep found out about models that were trained further.

use goldfish_audit::stat::{Difference, Mean, Rate};
use serde::{Deserialize, Serialize};

/// A model that was trained further, on passages which its checkpoint never saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepTuned {
    /// The architecture of the checkpoint.
    pub architecture: String,
    /// The rank of the adapters; all weights were trained if absent.
    pub rank: Option<u64>,
    /// One token in k was dropped; the standard loss if absent.
    pub k: Option<u32>,
    /// Trained parameters.
    pub parameters: u64,
    /// Tokens included in the loss.
    pub supervised_tokens: u64,
    /// The last loss on the validation documents.
    pub validation_loss: Option<f64>,
    /// Passages recited token for token.
    pub exact_match: Rate,
    /// Tokens before the first divergence.
    pub match_length: Mean,
}

/// A checkpoint that was trained further on the longest of some documents, and on random ones with as many supervised tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepLengths {
    /// The architecture of the checkpoint.
    pub architecture: String,
    /// The model of the longest documents.
    pub longest: SweepLength,
    /// The model of random documents.
    pub random: SweepLength,
    /// The share of the first that is recited, less that of the second.
    pub difference: Difference,
}

/// One of the two models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepLength {
    /// Mean tokens of a document.
    pub mean_tokens: f64,
    /// How often it saw every document.
    pub epochs: u64,
    /// Tokens included in the loss.
    pub supervised_tokens: u64,
    /// The last loss on the validation documents.
    pub validation_loss: Option<f64>,
    /// Its own documents of which the start was recited token for token.
    pub exact_match: Rate,
}
