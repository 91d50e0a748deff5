//! Rouge-L over token ids.

use rapidfuzz::distance::lcs_seq;

use super::definition::{Column, Scale, Score, Source, Statistic};

/// Rouge-L, with its precision and recall.
pub const SCORE: Score = Score {
    name: "rouge_l",
    label: "Rouge-L",
    meaning: "Rouge-L F1 over token ids.",
    scale: Scale::Fraction,
    higher_is_worse: true,
    statistics: &[Statistic::Mean, Statistic::Difference],
    source: Source::Columns(
        &[
            Column { name: "rouge_l_precision", meaning: "Rouge-L precision over token ids." },
            Column { name: "rouge_l_recall", meaning: "Rouge-L recall over token ids." },
            Column { name: "rouge_l", meaning: "Rouge-L F1 over token ids." },
        ],
        |o, values| {
            if let Some(g) = o.continuation {
                let FScore { precision, recall, f1 } = rouge_l(g, o.truth);
                values.copy_from_slice(&[precision, recall, f1].map(Some));
            }
        },
    ),
};

/// Precision, recall and their harmonic mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FScore {
    /// Share of the continuation that is in the truth.
    pub precision: f64,
    /// Share of the truth that is in the continuation.
    pub recall: f64,
    /// `2 * precision * recall / (precision + recall)`; 0 where both are 0.
    pub f1: f64,
}

impl FScore {
    /// From the length of the common part and the two lengths; all 0 if nothing is common.
    #[must_use]
    pub fn new(common: usize, continuation: usize, truth: usize) -> Self {
        if common == 0 {
            return Self { precision: 0.0, recall: 0.0, f1: 0.0 };
        }
        let precision = common as f64 / continuation as f64;
        let recall = common as f64 / truth as f64;
        Self { precision, recall, f1: 2.0 * precision * recall / (precision + recall) }
    }
}

/// Length of the longest common subsequence.
#[must_use]
pub fn common_subsequence(a: &[u32], b: &[u32]) -> usize {
    lcs_seq::similarity(a.iter().copied(), b.iter().copied())
}

/// Rouge-L over token ids: the longest common subsequence against both lengths.
///
/// The main score of the goldfish paper (arXiv 2406.10209, section 4), there over ids as here.
#[must_use]
pub fn rouge_l(g: &[u32], s: &[u32]) -> FScore {
    FScore::new(common_subsequence(g, s), g.len(), s.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_example() {
        let (a, b) = ([1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 9, 4, 5, 6, 8, 7]);
        assert_eq!(common_subsequence(&a, &b), 6);
        let rouge = rouge_l(&a, &b);
        assert_eq!((rouge.precision, rouge.recall, rouge.f1), (0.75, 0.75, 0.75));
        assert_eq!(rouge_l(&[], &a).f1, 0.0);
        let half = rouge_l(&a[..4], &a);
        assert_eq!((half.precision, half.recall, half.f1), (1.0, 0.5, 2.0 / 3.0));
    }
}
