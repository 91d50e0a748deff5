//! Randomized canaries: does a model know what it was trained on, by an experiment instead of a comparison with other text?
//!
//! Passages of random words are drawn in pairs of twins. A coin decides which twin is [planted](plant) in the corpus, the other is
//! held out. After training, [the losses of both](Losses) are compared: if training left no trace, a twin's loss
//! is as often the lower one as the coin says, and an exact [p-value](CanaryTest) follows from the coins alone.
//!
//! Exposure is defined in Carlini et al., "The Secret Sharer" (USENIX Security 2019, arXiv 1802.08232); a suite of models trained with
//! and without randomly inserted passages is described in arXiv 2510.19811.

mod draw;
mod error;
mod outcome;
mod plan;
mod plant;
mod score;
mod words;

pub use error::CanaryError;
pub use outcome::{Asked, CanaryResult, CanaryTest, PairResult, Repeated};
pub use plan::{
    CANARIES_NAME, CorpusEntry, MIXED_NAME, Opened, PLAN_NAME, Pair, Plan, PlanFile, Settings, TWINS_NAME,
    Twin, WORDS_NAME, WordsSource,
};
pub use plant::{PlantOptions, Planted, plant};
pub use score::{Losses, score};
