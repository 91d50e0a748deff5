//! Edit similarity.

use rapidfuzz::distance::levenshtein;

use super::definition::{Scale, Score, Source, Statistic};

/// Edit similarity.
pub const SCORE: Score = Score {
    name: "edit_similarity",
    label: "edit similarity",
    meaning: "1 less the edit distance over the larger length.",
    scale: Scale::Fraction,
    higher_is_worse: true,
    statistics: &[Statistic::Mean, Statistic::Difference],
    source: Source::Value(|o| Some(edit_similarity(o.continuation?, o.truth))),
};

/// Number of insertions, deletions and substitutions that turn one into the other.
#[must_use]
pub fn edit_distance(a: &[u32], b: &[u32]) -> usize {
    levenshtein::distance(a.iter().copied(), b.iter().copied())
}

/// 1 less the edit distance over the larger length; 1 where both are empty.
#[must_use]
pub fn edit_similarity(g: &[u32], s: &[u32]) -> f64 {
    match g.len().max(s.len()) {
        0 => 1.0,
        longer => 1.0 - edit_distance(g, s) as f64 / longer as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_example() {
        let (a, b) = ([1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 9, 4, 5, 6, 8, 7]);
        assert_eq!(edit_distance(&a, &b), 3);
        assert_eq!(edit_similarity(&a, &b), 0.625);
        assert_eq!(edit_similarity(&[], &a), 0.0);
        assert_eq!(edit_similarity(&[], &[]), 1.0);
    }
}
