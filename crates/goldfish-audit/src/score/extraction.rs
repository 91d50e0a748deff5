//! Sampled extraction: the probability of drawing the true suffix, and the draws until it is seen.
//!
//! Everything stays in natural-log space; a 500-token suffix has a probability below 1e-300.

use super::definition::{Column, Scale, Score, Source};
use crate::backend::TokenScore;

/// Sampled extraction.
pub const SCORE: Score = Score {
    name: "ln_draws",
    label: "draws",
    meaning: "Natural log of the draws after which the suffix was seen with probability p; infinity if never.",
    scale: Scale::Unbounded,
    higher_is_worse: false,
    statistics: &[],
    source: Source::Columns(
        &[
            Column {
                name: "log_p_z",
                meaning: "Natural log of the probability of drawing the suffix under the sampling scheme; minus infinity if it can't be drawn.",
            },
            Column {
                name: "ln_draws",
                meaning: "Natural log of the draws after which the suffix was seen with probability p; infinity if never.",
            },
            Column {
                name: "near_log_p_z",
                meaning: "Natural log of a lower bound on the probability of drawing a continuation that differs from the suffix in few tokens.",
            },
            Column {
                name: "near_ln_draws",
                meaning: "Natural log of a bound on the draws after which such a continuation was seen with probability p; infinity if none was found.",
            },
        ],
        |o, values| {
            let Some((tokens, p)) = o.tokens.zip(o.extraction) else { return };
            values[2] = o.near_log_p;
            values[3] = o.near_log_p.map(|log_p| ln_draws(log_p.min(0.0), p));
            values[0] = log_p_z(tokens);
            // A sum of log-probabilities may end a rounding error above 0.
            values[1] = values[0].map(|log_p| ln_draws(log_p.min(0.0), p));
        },
    ),
};

/// Natural log of the probability that the truth is drawn under the sampling scheme: the sum over its tokens.
///
/// Minus infinity where a token is excluded by the scheme's top-k. `None` where the backend didn't answer
/// for the scheme.
#[must_use]
pub fn log_p_z(tokens: &[TokenScore]) -> Option<f64> {
    tokens.iter().map(|token| token.scheme_log_prob).sum()
}

/// `ln(1 - e^x)` for `x <= 0`, without loss at either end.
///
/// The two branches meet at `-ln 2` (Mächler, "Accurately computing log(1 - exp(-|a|))", 2012).
fn ln_one_minus_exp(x: f64) -> f64 {
    if x > -std::f64::consts::LN_2 { (-x.exp_m1()).ln() } else { (-x.exp()).ln_1p() }
}

/// Natural log of n(p): the draws after which the truth was seen at least once with probability `p`.
///
/// `n(p) = ln(1 - p) / ln(1 - p_z)` of Hayes et al., "Measuring memorization through probabilistic discoverable
/// extraction" (arXiv 2410.19482), before rounding. Finite for every finite `log_p_z < 0`: also far below the
/// smallest `f64`. Plus infinity where `p_z` is 0, minus infinity where it is 1. `NaN` if `p` is not in `(0, 1)` or
/// `log_p_z` exceeds 0.
///
/// ```
/// use goldfish_audit::score::extraction::ln_draws;
///
/// // p_z = e^-5000, which no f64 holds.
/// let n = ln_draws(-5000.0, 0.9);
/// assert!((n - (5000.0 + (10f64.ln()).ln())).abs() < 1e-9);
/// ```
#[must_use]
pub fn ln_draws(log_p_z: f64, p: f64) -> f64 {
    if !(p > 0.0 && p < 1.0) || log_p_z > 0.0 || log_p_z.is_nan() {
        return f64::NAN;
    }
    let misses = (-(-p).ln_1p()).ln();
    // ln(-ln(1 - q)): for q below the spacing of 1 the series -ln(1 - q) = q + q^2/2 + ... is q itself.
    let rate = if log_p_z < -40.0 { log_p_z } else { (-ln_one_minus_exp(log_p_z)).ln() };
    misses - rate
}

/// n(p) in whole draws, at least 1; `None` where it exceeds 2^53, beyond which only [`ln_draws`] gives it.
#[must_use]
pub fn draws(log_p_z: f64, p: f64) -> Option<u64> {
    let ln = ln_draws(log_p_z, p);
    let most = (1u64 << 53) as f64;
    if ln.is_nan() || ln >= most.ln() {
        return None;
    }
    // Straight from the quotient where it can be held, so that rounding up isn't disturbed by ln and exp.
    let direct = (-p).ln_1p() / ln_one_minus_exp(log_p_z);
    let n = if direct.is_finite() && direct > 0.0 { direct } else { ln.exp() };
    Some((n.ceil() as u64).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_draws() {
        let at = |p_z: f64| draws(p_z.ln(), 0.9);
        assert_eq!(at(0.5), Some(4));
        assert_eq!(at(0.01), Some(230));
        assert_eq!(at(1e-3), Some(2302));
        assert_eq!(at(1e-10), Some(23_025_850_929));
        assert_eq!(at(1.0), Some(1));
        assert_eq!(at(1.0 - 1e-12), Some(1));
        assert_eq!(at(1e-300), None);
        assert_eq!(draws(f64::NEG_INFINITY, 0.9), None);
    }

    #[test]
    fn draws_in_log_space() {
        let expected = |log_p_z: f64| (10f64.ln()).ln() - log_p_z;
        for log_p_z in [-39.9, -40.1, -700.0, -745.2, -1e4, -1e9] {
            let n = ln_draws(log_p_z, 0.9);
            assert!((n - expected(log_p_z)).abs() < 1e-12 * n.abs(), "{log_p_z}: {n}");
        }
        assert_eq!(ln_draws(f64::NEG_INFINITY, 0.9), f64::INFINITY);
        assert_eq!(ln_draws(0.0, 0.9), f64::NEG_INFINITY);
        assert!(ln_draws(-1.0, 1.0).is_nan() && ln_draws(-1.0, 0.0).is_nan() && ln_draws(0.1, 0.5).is_nan());
    }
}
