//! The size and the results of an experiment with a pool of memory.

use goldfish_report::MemoryArm;
use serde::{Deserialize, Serialize};

use super::facts::{FACT, NAME};
use crate::error::LabError;

/// A model with pools of memory, and what it is trained and asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryOptions {
    /// Vectors in the pool of a layer.
    pub slots: usize,
    /// Of them, replaced when a fact is injected.
    pub replaced: usize,
    /// Most facts that are injected after the one that is asked for, in training; their number is uniform.
    pub most_later: usize,
    /// Numbers of later facts in the evaluation.
    pub later: Vec<usize>,
    /// Episodes of the evaluation for each of these numbers.
    pub samples: usize,
    /// One token in k is excluded from the loss by the arm with a mask.
    pub k: u32,
    /// Steps of training.
    pub steps: u64,
    /// Episodes in one step.
    pub batch: usize,
    /// Layers of the model.
    pub layers: usize,
    /// Width of its hidden states.
    pub width: usize,
    /// Heads of attention.
    pub heads: usize,
    /// Largest learning rate.
    pub learning_rate: f64,
    /// Determines facts, initial weights, and which vectors are replaced.
    pub seed: u64,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self {
            slots: 64,
            replaced: FACT,
            most_later: 4,
            later: vec![0, 1, 2, 4, 8, 16],
            samples: 400,
            k: 4,
            steps: 3000,
            batch: 16,
            layers: 2,
            width: 64,
            heads: 4,
            learning_rate: 3e-3,
            seed: 0,
        }
    }
}

impl MemoryOptions {
    /// The same as small as it can be, to try it out.
    #[must_use]
    pub fn quick() -> Self {
        Self { slots: 16, steps: 40, samples: 20, later: vec![0, 2], width: 32, ..Self::default() }
    }

    pub(super) fn check(&self) -> Result<(), LabError> {
        let bad = |option, reason: String| Err(LabError::option(option, reason));
        if self.replaced == 0 || self.replaced > FACT {
            return bad("replaced", format!("must be from 1 to {FACT}, the letters of a fact"));
        }
        if self.slots < self.replaced {
            return bad("slots", format!("{} are fewer than are replaced, {}", self.slots, self.replaced));
        }
        // Names differ within an episode.
        let most = self.later.iter().copied().max().unwrap_or(0).max(self.most_later);
        if most >= 26_usize.pow(NAME as u32) / 2 {
            return bad("later", format!("{most} facts have too few names"));
        }
        let counts = [
            ("later", self.later.len()),
            ("samples", self.samples),
            ("batch", self.batch),
            ("steps", usize::try_from(self.steps).unwrap_or(usize::MAX)),
        ];
        match counts.into_iter().find(|(_, count)| *count == 0) {
            Some((option, _)) => bad(option, "must be at least 1".into()),
            None => Ok(()),
        }
    }
}

/// The results; `results.json` in the folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryResults {
    /// What was trained and asked for.
    pub options: MemoryOptions,
    /// The model with the standard loss, and the one with a mask.
    pub arms: Vec<MemoryArm>,
}
