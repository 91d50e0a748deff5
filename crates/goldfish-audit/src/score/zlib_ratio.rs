//! Loss over compressed size.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::definition::{Scale, Score, Source, Statistic};
use super::loss::loss;

/// Loss over compressed size.
pub const SCORE: Score = Score {
    name: "zlib_ratio",
    label: "loss over compressed size",
    meaning: "Loss over the bytes of the suffix's zlib stream.",
    scale: Scale::Unbounded,
    higher_is_worse: false,
    statistics: &[Statistic::Membership],
    source: Source::Value(|o| {
        let text = o.truth_text?;
        Some(zlib_ratio(loss(o.tokens?.iter().map(|token| token.log_prob))?, text))
    }),
};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zlib_of_repeats_is_small() {
        assert!(zlib_bytes(&"goldfish ".repeat(100)) < 40);
        assert_eq!(zlib_ratio(2.0, "abc"), 2.0 / zlib_bytes("abc") as f64);
    }
}
