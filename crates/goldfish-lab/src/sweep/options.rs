//! The size and the results of a sweep.

use goldfish_report::{SweepArm, SweepCost, SweepLengths, SweepTask, SweepTuned};
use serde::{Deserialize, Serialize};

/// The size of a sweep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepOptions {
    /// Passages to recite: the same in all arms.
    pub passages: u64,
    /// Copies of each among the documents: equal ones, layouts or edited ones.
    pub copies: usize,
    /// Passages that occur once among them.
    pub background: u64,
    /// How often a model sees every document; twice as often with copies in layouts.
    pub epochs: u64,
    /// Passages in the validation loss.
    pub validation: u64,
    /// One token in k is dropped, for each of these.
    pub ks: Vec<u32>,
    /// Determines passages, edits, initial weights and order.
    pub seed: u64,
}

impl Default for SweepOptions {
    /// So many passages that none recited bounds the rate at 2%.
    fn default() -> Self {
        Self {
            passages: 160,
            copies: 12,
            background: 128,
            epochs: 6,
            validation: 64,
            ks: vec![3, 4, 8, 32, 128],
            seed: 0,
        }
    }
}

impl SweepOptions {
    /// The smallest sweep with every kind of arm, to try it out.
    #[must_use]
    pub fn quick() -> Self {
        Self { passages: 4, copies: 2, background: 4, epochs: 1, validation: 2, ks: vec![4, 32], seed: 0 }
    }
}

/// How the copies of a passage differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SweepCopies {
    /// Not at all.
    Equal,
    /// In their layout: line breaks, comment marks, case.
    Layouts,
    /// In their words: half of the copies have 5% of them replaced, half 10%.
    Edited,
}

impl SweepCopies {
    /// Every kind, in the order of the arms.
    pub const ALL: [Self; 3] = [Self::Equal, Self::Layouts, Self::Edited];

    /// Its name: the group of its arms.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Layouts => "layouts",
            Self::Edited => "edited",
        }
    }

    /// What it is, in a line.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::Equal => "the same text; rules by k",
            Self::Layouts => "other line breaks, comment marks or case",
            Self::Edited => "5% of the words replaced in half of the copies, 10% in the others",
        }
    }
}

/// What a sweep finds out about the architectures that it compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SweepPart {
    /// Which of them recite, with and without a mask: the arms.
    Recitation,
    /// What they keep of the tokens before, and what a token costs.
    Costs,
    /// How far they copy from their context.
    Copy,
    /// What they look up in it, by a key before and after the text.
    Keys,
    /// What they recite after the control was trained further on the passages, by rank of the adapters.
    Adapters,
    /// Whether they recite longer documents more.
    Lengths,
}

impl SweepPart {
    /// Every part, in the order of the page.
    pub const ALL: [Self; 6] =
        [Self::Recitation, Self::Costs, Self::Copy, Self::Keys, Self::Adapters, Self::Lengths];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Recitation => "recitation",
            Self::Costs => "costs",
            Self::Copy => "copy",
            Self::Keys => "keys",
            Self::Adapters => "adapters",
            Self::Lengths => "lengths",
        }
    }

    /// What it is, in a line.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::Recitation => "who recites passages, with and without a mask",
            Self::Costs => "bytes of state and time of a token, by position",
            Self::Copy => "who copies texts from its context, by length",
            Self::Keys => "who finds text by a key, before and after the text",
            Self::Adapters => {
                "what is recited after further training, with adapters by rank and with all weights"
            }
            Self::Lengths => {
                "whether long documents are recited more than random ones, after further training"
            }
        }
    }
}

/// Which arms of a sweep are trained in one call. Those of earlier calls in the same folder stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepSelection {
    /// Arms with these copies.
    pub copies: Vec<SweepCopies>,
    /// Arms that compare these architectures; they have equal copies.
    pub architectures: Vec<String>,
    /// What is found out about these architectures.
    pub parts: Vec<SweepPart>,
    /// Of the arms, those with these names; all if there are none.
    pub only: Vec<String>,
}

impl Default for SweepSelection {
    fn default() -> Self {
        Self {
            copies: SweepCopies::ALL.to_vec(),
            architectures: Vec::new(),
            parts: vec![SweepPart::Recitation],
            only: Vec::new(),
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
    /// Names of the arms that no call has trained yet.
    pub missing: Vec<String>,
    /// What a token costs in each architecture that was measured.
    pub costs: Vec<SweepCost>,
    /// The copy tasks that are finished.
    pub tasks: Vec<SweepTask>,
    /// Models that were trained further on the passages.
    pub tuned: Vec<SweepTuned>,
    /// Long documents against random ones.
    pub lengths: Vec<SweepLengths>,
}
