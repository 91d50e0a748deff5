//! The options and the results of a repair.

use std::path::PathBuf;

use goldfish_report::RepairArm;
use serde::{Deserialize, Serialize};

use crate::error::LabError;

/// What a repair is of, and how it is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepairOptions {
    /// The checkpoint that recites.
    pub model: PathBuf,
    /// Folders with the documents that it recites. Their masks are used by [`RepairMethod::Mask`] alone.
    pub shards: Vec<PathBuf>,
    /// Folders with other documents, for the loss on them.
    pub validation: Vec<PathBuf>,
    /// Folders with further documents, for [`RepairMethod::Keep`].
    pub other: Vec<PathBuf>,
    /// Tokens of a prefix, from the beginning of a document.
    pub prefix: usize,
    /// Tokens after it, which the model shall not recite.
    pub suffix: usize,
    /// Steps of the methods with preferences.
    pub steps: u64,
    /// Passages in a step, or documents of the mask.
    pub batch: usize,
    /// Steps from one measurement to the next.
    pub every: u64,
    /// Factor of log-probabilities in the loss of preferences.
    pub beta: f64,
    /// Divides the logits that continuations are drawn from.
    pub temperature: f64,
    /// Factor of the cross entropy of the further documents.
    pub keep: f64,
    /// Largest learning rate of the methods with preferences.
    pub learning_rate: f64,
    /// That of the mask.
    pub mask_learning_rate: f64,
    /// Longest sequence in tokens.
    pub sequence_length: usize,
    /// Determines the order and the samples.
    pub seed: u64,
}

impl RepairOptions {
    pub(super) fn check(&self, methods: &[RepairMethod]) -> Result<(), LabError> {
        let bad = |option, reason: &str| Err(LabError::option(option, reason));
        if methods.contains(&RepairMethod::Keep) && self.other.is_empty() {
            return bad("other", "is needed for the method keep");
        }
        if self.steps == 0 || self.every == 0 {
            return bad("steps", "must be at least 1, as must the steps between measurements");
        }
        if self.validation.is_empty() {
            return bad("validation", "is needed, for the loss on other text");
        }
        // The last token is no input.
        let inputs = (self.prefix + self.suffix).saturating_sub(1);
        if inputs > self.sequence_length {
            let reason = format!("{} tokens, but prefix and suffix take {inputs}", self.sequence_length);
            return bad("sequence_length", &reason);
        }
        Ok(())
    }
}

/// A way to make a model recite less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RepairMethod {
    /// Preferences between its own continuations.
    Preference,
    /// The same, with the cross entropy of other text in the loss.
    Keep,
    /// More training on the documents with their masks.
    Mask,
}

impl RepairMethod {
    /// Every method, in the order in which they are done.
    pub const ALL: [Self; 3] = [Self::Preference, Self::Keep, Self::Mask];

    /// Its name, which is that of its arm.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Preference => "preference",
            Self::Keep => "keep",
            Self::Mask => "mask",
        }
    }

    /// What it is, in a line.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::Preference => {
                "of two continuations by the model, the one with less of the suffix is preferred"
            }
            Self::Keep => "the same, with the cross entropy of other documents in the loss",
            Self::Mask => "training on with the masks of the shards, for as many supervised tokens",
        }
    }
}

/// The results of a repair; `results.json` in its folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepairResults {
    /// What was done.
    pub options: RepairOptions,
    /// The methods that are finished in the folder.
    pub arms: Vec<RepairArm>,
    /// Documents that were not asked for: they are shorter than prefix and suffix.
    pub left_out: u64,
}
