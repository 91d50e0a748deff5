//! What a folder of masked shards holds: drop rates, gaps between drops, windows that the rule can't distinguish, and
//! what leaks between the copies of passages that recur.
//!
//! [`inspect`] reads the shards once, document by document, and a second time the documents whose passages it compares.
//! What needs no more than the masks is counted over all of them; what needs a closer look ([`TallyReport`],
//! [`Windows`], [`Duplicates`]) over a sample of documents, chosen by a seeded hash of their ids. Memory stays bounded
//! however large the folder is.

mod counting;
mod documents;
mod duplicates;
mod error;
#[cfg(feature = "polars")]
mod frames;
mod gaps;
mod groups;
mod ids;
mod inspect;
mod merging;
mod options;
mod rates;
mod reading;
mod report;
mod sample;
mod shards;
mod stretches;
mod warning;
mod windows;

pub use documents::{MaskedDocuments, compare_documents, leak_warning};
pub use duplicates::{Passage, near_copies};
pub use error::InspectError;
pub use inspect::inspect;
pub use options::{DuplicateOptions, InspectOptions};
pub use report::{
    Copy, CopyBucket, Difference, DifferenceLeak, DistanceLeak, Duplicates, Excess, GapQuantiles,
    GapSurvival, Gaps, GroupRow, Groups, IdCount, IdList, IdRates, Inspection, Leak, LeakingPair, Rates,
    RuleLeak, ShownToken, TallyReport, Undropped, Windows, WorstKey,
};
pub use stretches::{KeptStretch, LongestKept};
pub use warning::LeakWarning;
