//! How far the continuation follows the truth.

use super::definition::{Scale, Score, Source, Statistic};

/// Match length.
pub const SCORE: Score = Score {
    name: "match_length",
    label: "match length",
    meaning: "Tokens before the first divergence.",
    scale: Scale::Tokens,
    higher_is_worse: true,
    statistics: &[Statistic::Mean, Statistic::Difference],
    source: Source::MatchLength,
};

/// Length of the longest common prefix: the position of the first difference, or the shorter length.
#[must_use]
pub fn match_length(g: &[u32], s: &[u32]) -> usize {
    g.iter().zip(s).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::match_length;

    #[test]
    fn worked_example() {
        assert_eq!(match_length(&[1, 2, 3, 4], &[1, 2, 9, 4]), 2);
        assert_eq!(match_length(&[1, 2], &[1, 2, 3]), 2);
    }
}
