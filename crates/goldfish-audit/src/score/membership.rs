//! Membership scores: numbers that tend to be lower for text a model has seen.
//!
//! All of them run over the suffix given its prefix. Lower means "more likely a member" for every score here, so
//! that one rule reads them all.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use crate::backend::TokenScore;

/// Bytes of the text as a zlib stream at level 6.
///
/// The reference uses Python's `zlib.compress`; another implementation's stream may differ by some bytes.
#[must_use]
pub fn zlib_bytes(text: &str) -> usize {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(6));
    // A vector takes every write.
    let written = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
    written.map_or(0, |bytes| bytes.len())
}

/// Loss over compressed size: Carlini et al., "Extracting Training Data from Large Language Models" (arXiv
/// 2012.07805), in nats a token a byte.
#[must_use]
pub fn zlib_ratio(loss: f64, text: &str) -> f64 {
    loss / zlib_bytes(text) as f64
}

/// Min-K%: the mean negative log-probability of the `share` least likely tokens; `None` for no tokens.
///
/// Shi et al., "Detecting Pretraining Data from Large Language Models" (arXiv 2310.16789), whose best share is
/// 0.2. The number of tokens is rounded down, but is 1 at least.
#[must_use]
pub fn min_k(log_probs: impl IntoIterator<Item = f64>, share: f64) -> Option<f64> {
    lowest_mean(log_probs.into_iter().collect(), share).map(|mean| -mean)
}

/// Min-K%++: as [`min_k`], of log-probabilities that are standardised by the mean and variance of the
/// log-probability over the vocabulary.
///
/// Zhang et al., "Min-K%++" (arXiv 2404.02936). A token whose distribution has no variance counts as 0: it is
/// what was expected. `None` for no tokens or where the backend gave no moments.
#[must_use]
pub fn min_k_plus_plus(tokens: &[TokenScore], share: f64) -> Option<f64> {
    let standardised = tokens.iter().map(|token| {
        let moments = token.moments?;
        let deviation = moments.variance.max(0.0).sqrt();
        Some(if deviation > 0.0 { (token.log_prob - moments.mean) / deviation } else { 0.0 })
    });
    lowest_mean(standardised.collect::<Option<_>>()?, share).map(|mean| -mean)
}

fn lowest_mean(mut values: Vec<f64>, share: f64) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let n = ((values.len() as f64 * share) as usize).clamp(1, values.len());
    values.sort_by(f64::total_cmp);
    Some(values[..n].iter().sum::<f64>() / n as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Moments;

    fn token(log_prob: f64, mean: f64, variance: f64) -> TokenScore {
        TokenScore { moments: Some(Moments { mean, variance }), ..TokenScore::of(log_prob, 1, 0) }
    }

    #[test]
    fn min_k_takes_the_lowest() {
        let log_probs = [-1.0, -5.0, -3.0, -2.0, -4.0];
        assert_eq!(min_k(log_probs, 0.4), Some(4.5));
        assert_eq!(min_k(log_probs, 0.5), Some(4.5), "2.5 tokens are 2");
        assert_eq!(min_k(log_probs, 0.01), Some(5.0), "one token at least");
        assert_eq!(min_k(log_probs, 1.0), Some(3.0));
        assert_eq!(min_k([], 0.2), None);
    }

    #[test]
    fn min_k_plus_plus_standardises() {
        // (-1 + 2) / 2 = 0.5, (-5 + 2) / 1 = -3, and one without variance.
        let tokens = [token(-1.0, -2.0, 4.0), token(-5.0, -2.0, 1.0), token(0.0, 0.0, 0.0)];
        assert_eq!(min_k_plus_plus(&tokens, 0.34), Some(3.0));
        assert_eq!(min_k_plus_plus(&tokens, 0.67), Some(1.5));
        let without = [TokenScore::of(-1.0, 1, 0)];
        assert_eq!(min_k_plus_plus(&without, 0.2), None);
    }

    #[test]
    fn zlib_of_repeats_is_small() {
        assert!(zlib_bytes(&"goldfish ".repeat(100)) < 40);
        assert_eq!(zlib_ratio(2.0, "abc"), 2.0 / zlib_bytes("abc") as f64);
    }
}
