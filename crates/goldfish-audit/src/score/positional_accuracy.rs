//! Agreement position by position.

use super::definition::{Scale, Score, Source, Statistic};

/// Positional accuracy.
pub const SCORE: Score = Score {
    name: "positional_accuracy",
    label: "positional accuracy",
    meaning: "Share of positions with the true token.",
    scale: Scale::Fraction,
    higher_is_worse: true,
    statistics: &[Statistic::Mean, Statistic::Difference],
    source: Source::Value(|o| Some(positional_accuracy(o.continuation?, o.truth))),
};

/// Share of the truth's positions at which the continuation has the same token; 0 for an empty truth.
///
/// The score of Biderman et al., "Emergent and Predictable Memorization" (arXiv 2304.11158). Positions after the end of
/// a short continuation count as different.
#[must_use]
pub fn positional_accuracy(g: &[u32], s: &[u32]) -> f64 {
    let same = g.iter().zip(s).filter(|(a, b)| a == b).count();
    if s.is_empty() { 0.0 } else { same as f64 / s.len() as f64 }
}

#[cfg(test)]
mod tests {
    use super::positional_accuracy;

    #[test]
    fn worked_example() {
        assert_eq!(positional_accuracy(&[1, 2, 9, 4, 5, 6, 8, 7], &[1, 2, 3, 4, 5, 6, 7, 8]), 0.625);
        assert_eq!(positional_accuracy(&[1, 2], &[1, 2, 3, 4]), 0.5);
        assert_eq!(positional_accuracy(&[], &[]), 0.0);
    }
}
