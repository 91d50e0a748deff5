//! The size and the results of a sweep.

use goldfish_report::SweepArm;
use serde::{Deserialize, Serialize};

/// The size of a sweep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepOptions {
    /// Passages to recite.
    pub targets: u64,
    /// Copies of each among the documents.
    pub copies: usize,
    /// Passages that occur once among them.
    pub background: u64,
    /// How often a model sees every document.
    pub epochs: u64,
    /// Passages in the validation loss.
    pub validation: u64,
    /// One token in k is dropped, for each of these.
    pub ks: Vec<u32>,
    /// Passages of the arms with copies in twelve layouts.
    pub layout_targets: u64,
    /// Epochs of those arms.
    pub layout_epochs: u64,
    /// Determines passages, initial weights and order.
    pub seed: u64,
}

impl Default for SweepOptions {
    fn default() -> Self {
        Self {
            targets: 32,
            copies: 8,
            background: 128,
            epochs: 6,
            validation: 64,
            ks: vec![3, 4, 8, 32, 128],
            layout_targets: 16,
            layout_epochs: 14,
            seed: 0,
        }
    }
}

impl SweepOptions {
    /// The smallest sweep with every kind of arm, to try it out.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            targets: 4,
            copies: 2,
            background: 4,
            epochs: 1,
            validation: 2,
            ks: vec![4, 32],
            layout_targets: 2,
            layout_epochs: 1,
            seed: 0,
        }
    }
}

/// The results of a sweep; `results.json` in its folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepResults {
    /// Its size.
    pub options: SweepOptions,
    /// Its arms, in order.
    pub arms: Vec<SweepArm>,
}
