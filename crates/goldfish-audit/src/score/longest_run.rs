//! The longest common run.

use super::definition::{Scale, Score, Source, Statistic};

/// Longest common run.
pub const SCORE: Score = Score {
    name: "longest_run",
    label: "longest run",
    meaning: "Longest common run of token ids over the suffix length.",
    scale: Scale::Fraction,
    higher_is_worse: true,
    statistics: &[Statistic::Mean, Statistic::Difference],
    source: Source::Value(|o| Some(longest_run(o.continuation?, o.truth))),
};

/// Length of the longest run of tokens that both have, wherever it is (the longest common substring).
///
/// Time is the product of the lengths, memory the length of `b`.
#[must_use]
pub fn longest_common_run(a: &[u32], b: &[u32]) -> usize {
    // ends[j]: length of the common run that ends at the current token of `a` and at b[j - 1].
    let mut ends = vec![0usize; b.len() + 1];
    let mut longest = 0;
    for x in a {
        for j in (0..b.len()).rev() {
            ends[j + 1] = if *x == b[j] { ends[j] + 1 } else { 0 };
            longest = longest.max(ends[j + 1]);
        }
    }
    longest
}

/// The longest common run as a share of the truth's length (LCCS in the Apertus report); 0 for an empty truth.
#[must_use]
pub fn longest_run(g: &[u32], s: &[u32]) -> f64 {
    if s.is_empty() { 0.0 } else { longest_common_run(g, s) as f64 / s.len() as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_example() {
        let (a, b) = ([1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 9, 4, 5, 6, 8, 7]);
        assert_eq!(longest_common_run(&a, &b), 3);
        assert_eq!(longest_run(&a, &b), 0.375);
    }
}
