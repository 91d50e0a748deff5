//! The scores of one probe: pure functions over token ids and log-probabilities.
//!
//! Throughout, `g` is the model's continuation and `s` the true suffix. Ids are compared, never text; text enters only
//! the [word score](rouge_l_words) and the [zlib score](zlib_ratio).
//!
//! A score is one file with its function and its [`Score`], and one line in [`SCORES`]. From there it gets its columns in
//! `results.parquet`, its statistics in `summary.json` with their schema, its names for gates, and its lines in reports,
//! comparisons and terminal tables.

mod definition;
pub mod divergence;
pub mod edit_similarity;
pub mod exact_match;
pub mod extraction;
pub mod longest_run;
pub mod loss;
pub mod match_length;
pub mod min_k;
pub mod min_k_plus_plus;
pub mod near_verbatim;
mod observation;
pub mod positional_accuracy;
pub mod prior;
mod registry;
pub mod rouge_l;
pub mod rouge_l_words;
#[cfg(test)]
mod toy;
pub mod trivial;
pub mod type_token_ratio;
pub mod zlib_ratio;

pub use definition::{Column, Scale, Score, Source, Statistic};
pub use observation::Observation;
pub(crate) use registry::columns;
pub use registry::{SCORES, ScoreValues, position, score};
