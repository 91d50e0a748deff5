//! A toy score: all that a score needs is a file like this and a line in the registry.

use super::definition::{Scale, Score, Source, Statistic};

pub(super) const SCORE: Score = Score {
    name: "toy",
    label: "toy",
    meaning: "Share of the true suffix's ids that are even.",
    scale: Scale::Fraction,
    higher_is_worse: true,
    statistics: &[Statistic::Mean, Statistic::Difference, Statistic::Membership],
    source: Source::Value(|o| {
        let even = o.truth.iter().filter(|id| id.is_multiple_of(2)).count();
        Some(even as f64 / o.truth.len() as f64)
    }),
};
