//! Min-K%.

use super::definition::{Scale, Score, Source, Statistic};

/// Min-K%.
pub const SCORE: Score = Score {
    name: "min_k",
    label: "Min-K%",
    meaning: "Min-K%: mean negative log-probability of the least likely tokens.",
    scale: Scale::Unbounded,
    higher_is_worse: false,
    statistics: &[Statistic::Membership],
    source: Source::Value(|o| min_k(o.tokens?.iter().map(|token| token.log_prob), o.min_k)),
};

/// Min-K%: the mean negative log-probability of the `fraction` least likely tokens; `None` for no tokens.
///
/// Shi et al., "Detecting Pretraining Data from Large Language Models" (arXiv 2310.16789), whose best fraction is
/// 0.2. The number of tokens is rounded down, but is 1 at least.
#[must_use]
pub fn min_k(log_probs: impl IntoIterator<Item = f64>, fraction: f64) -> Option<f64> {
    lowest_mean(log_probs.into_iter().collect(), fraction).map(|mean| -mean)
}

pub(super) fn lowest_mean(mut values: Vec<f64>, fraction: f64) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let n = ((values.len() as f64 * fraction) as usize).clamp(1, values.len());
    values.sort_by(f64::total_cmp);
    Some(values[..n].iter().sum::<f64>() / n as f64)
}

#[cfg(test)]
mod tests {
    use super::min_k;

    #[test]
    fn takes_the_lowest() {
        let log_probs = [-1.0, -5.0, -3.0, -2.0, -4.0];
        assert_eq!(min_k(log_probs, 0.4), Some(4.5));
        assert_eq!(min_k(log_probs, 0.5), Some(4.5), "2.5 tokens are 2");
        assert_eq!(min_k(log_probs, 0.01), Some(5.0), "one token at least");
        assert_eq!(min_k(log_probs, 1.0), Some(3.0));
        assert_eq!(min_k([], 0.2), None);
    }
}
