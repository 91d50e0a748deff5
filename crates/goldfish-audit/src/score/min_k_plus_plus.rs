//! Min-K%++.

use super::definition::{Scale, Score, Source, Statistic};
use super::min_k::lowest_mean;
use crate::backend::TokenScore;

/// Min-K%++.
pub const SCORE: Score = Score {
    name: "min_k_plus_plus",
    label: "Min-K%++",
    meaning: "Min-K%++: Min-K% of standardized log-probabilities.",
    scale: Scale::Unbounded,
    higher_is_worse: false,
    statistics: &[Statistic::Membership],
    source: Source::Value(|o| min_k_plus_plus(o.tokens?, o.min_k)),
};

/// Min-K%++: as [`min_k`](super::min_k::min_k), of log-probabilities that are standardized by the mean and variance of the
/// log-probability over the vocabulary.
///
/// Zhang et al., "Min-K%++" (arXiv 2404.02936). A token whose distribution has no variance counts as 0: it is
/// what was expected. `None` for no tokens or where the backend gave no moments.
#[must_use]
pub fn min_k_plus_plus(tokens: &[TokenScore], fraction: f64) -> Option<f64> {
    let standardized = tokens.iter().map(|token| {
        let moments = token.moments?;
        let deviation = moments.variance.max(0.0).sqrt();
        Some(if deviation > 0.0 { (token.log_prob - moments.mean) / deviation } else { 0.0 })
    });
    lowest_mean(standardized.collect::<Option<_>>()?, fraction).map(|mean| -mean)
}

#[cfg(test)]
mod tests {
    use super::min_k_plus_plus;
    use crate::backend::{Moments, TokenScore};

    fn token(log_prob: f64, mean: f64, variance: f64) -> TokenScore {
        TokenScore { moments: Some(Moments { mean, variance }), ..TokenScore::of(log_prob, 1, 0) }
    }

    #[test]
    fn standardizes() {
        // (-1 + 2) / 2 = 0.5, (-5 + 2) / 1 = -3, and one without variance.
        let tokens = [token(-1.0, -2.0, 4.0), token(-5.0, -2.0, 1.0), token(0.0, 0.0, 0.0)];
        assert_eq!(min_k_plus_plus(&tokens, 0.34), Some(3.0));
        assert_eq!(min_k_plus_plus(&tokens, 0.67), Some(1.5));
        let without = [TokenScore::of(-1.0, 1, 0)];
        assert_eq!(min_k_plus_plus(&without, 0.2), None);
    }
}
