use std::fmt;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::options::{FromOptions, RuleOption, RuleOptions};
use crate::parameters::{check_k, drop_threshold};
use crate::rule::{MaskRule, TokenSpan, check_span};
use crate::rules::AfterPrefix;
use crate::window_keys::WindowKeys;
use crate::{Coverage, MaskError, RuleDefinition, UniformTable};

/// Drops iff `xxh3_64(seed, key as LE u64 ++ i as LE u64)` is in the first `1/k` of its range,
/// `key` being [`document_key`](crate::document_key) (the paper's random mask, section 3.1: copies differ).
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema), schemars(inline))]
#[non_exhaustive]
pub struct Random {
    /// One token in `k` is dropped.
    pub k: u32,
    /// Seed of the hash.
    pub seed: u64,
}

impl Random {
    /// Drops one token in `k`, with seed 0.
    #[must_use]
    pub fn new(k: u32) -> Self {
        Self { k, seed: 0 }
    }

    /// Sets the seed of the hash.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }
}

impl fmt::Display for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}", self.seed)
    }
}

impl FromOptions for Random {
    const OPTIONS: &'static [RuleOption] = &[];

    fn from_options(options: &RuleOptions) -> Result<Self, MaskError> {
        Ok(Self { k: options.k, seed: options.seed })
    }
}

impl RuleDefinition for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    fn version(&self) -> u32 {
        1
    }

    fn k(&self) -> Option<u32> {
        Some(self.k)
    }

    fn context(&self) -> Option<u32> {
        None
    }

    fn needs_key(&self) -> bool {
        true
    }

    fn build(&self, _table: Option<&UniformTable>) -> Result<Box<dyn MaskRule>, MaskError> {
        Ok(Box::new(Kernel { last_dropped: drop_threshold(check_k(self.k)?), seed: self.seed }))
    }

    fn build_coverage(&self, coverage: Coverage) -> Result<Box<dyn MaskRule>, MaskError> {
        check_k(self.k)?;
        Ok(AfterPrefix::covering(coverage, 0))
    }

    fn window_keys(&self) -> Option<WindowKeys<'_>> {
        None
    }
}

#[derive(Debug)]
struct Kernel {
    last_dropped: u64,
    seed: u64,
}

impl MaskRule for Kernel {
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
