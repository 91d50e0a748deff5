//! Whether the suffix is likely after other prefixes too.
//!
//! Much of what a model recites is text that it gives after many prefixes, such as licenses and lists. After "Prior Aware Memorization"
//! (Tiwari et al., arXiv 2602.18733) the probability of the suffix after its own prefix is compared with that after unrelated ones.

use super::definition::{Column, Scale, Score, Source, Statistic};
use crate::backend::TokenScore;

/// How many times likelier the suffix is after its own prefix, as a logarithm.
pub const SCORE: Score = Score {
    name: "prior_gain",
    label: "gain over other prefixes",
    meaning: "Natural log of how many times likelier the suffix is after its own prefix than, on average, after unrelated ones.",
    scale: Scale::Unbounded,
    higher_is_worse: true,
    statistics: &[Statistic::Mean, Statistic::Difference, Statistic::Membership],
    source: Source::Columns(
        &[
            Column {
                name: "prior_log_p",
                meaning: "Natural log of the mean probability of the suffix after unrelated prefixes of the same length.",
            },
            Column {
                name: "prior_gain",
                meaning: "Natural log of how many times likelier the suffix is after its own prefix than, on average, after unrelated ones.",
            },
        ],
        |o, values| {
            values[0] = o.after_others.and_then(log_mean_exp);
            values[1] = o.tokens.zip(values[0]).map(|(tokens, prior)| prior_gain(tokens, prior));
        },
    ),
};

/// Natural log of the suffix's probability after its own prefix, less that after others.
#[must_use]
pub fn prior_gain(tokens: &[TokenScore], prior: f64) -> f64 {
    tokens.iter().map(|token| token.log_prob).sum::<f64>() - prior
}

/// Natural log of the mean of probabilities that are given by their logarithms; `None` for none.
#[must_use]
pub fn log_mean_exp(log_probs: &[f64]) -> Option<f64> {
    (!log_probs.is_empty()).then(|| log_sum_exp(log_probs) - (log_probs.len() as f64).ln())
}

/// Natural log of the sum of probabilities that are given by their logarithms; minus infinity for none.
#[must_use]
pub fn log_sum_exp(log_probs: &[f64]) -> f64 {
    let highest = log_probs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if highest == f64::NEG_INFINITY {
        return highest;
    }
    let sum: f64 = log_probs.iter().map(|log_prob| (log_prob - highest).exp()).sum();
    highest + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_far_below_the_smallest_number() {
        let near = |found: Option<f64>, expected: f64| assert!((found.unwrap() - expected).abs() < 1e-9);
        near(log_mean_exp(&[0.5f64.ln(), 0.25f64.ln()]), 0.375f64.ln());
        near(log_mean_exp(&[-5000.0, -5000.0, f64::NEG_INFINITY, -9000.0]), -5000.0 - 2f64.ln());
        assert_eq!(log_mean_exp(&[f64::NEG_INFINITY]), Some(f64::NEG_INFINITY));
        assert_eq!(log_mean_exp(&[]), None);
        let tokens = [TokenScore::of(-1.0, 1, 0), TokenScore::of(-0.5, 1, 0)];
        assert_eq!(prior_gain(&tokens, -4.0), 2.5);
    }
}
