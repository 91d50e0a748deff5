//! Whether the continuation is the truth.

use super::definition::{Scale, Score, Source, Statistic};

/// Exact match.
pub const SCORE: Score = Score {
    name: "exact_match",
    label: "exact match",
    meaning: "Greedy continuation equal to the true suffix.",
    scale: Scale::Fraction,
    higher_is_worse: true,
    statistics: &[Statistic::Rate, Statistic::Difference],
    source: Source::ExactMatch,
};

/// Whether the continuation is the truth, token by token.
#[must_use]
pub fn exact_match(g: &[u32], s: &[u32]) -> bool {
    g == s
}
