use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::rule::{MaskRule, TokenSpan, check_span};
use crate::rules::drop_threshold;

/// A counter-based hash of seed, document and position: repeatable, but different in every copy.
#[derive(Debug)]
pub(crate) struct Random {
    last_dropped: u64,
    seed: u64,
}

impl Random {
    pub(crate) fn new(k: u32, seed: u64) -> Self {
        Self { last_dropped: drop_threshold(k), seed }
    }
}

impl MaskRule for Random {
    fn lookback(&self) -> usize {
        0
    }

    fn decide(&self, span: &TokenSpan<'_>, mask: &mut [u8]) {
        check_span(span, 0, mask);
        let mut counter = [0u8; 16];
        counter[..8].copy_from_slice(&span.key().to_le_bytes());
        for (position, keep) in (span.position()..).zip(mask) {
            counter[8..].copy_from_slice(&position.to_le_bytes());
            *keep = u8::from(xxh3_64_with_seed(&counter, self.seed) > self.last_dropped);
        }
    }
}
