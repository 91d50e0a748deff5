use std::fmt;

use crate::options::{FromOptions, RuleOption, RuleOptions};
use crate::parameters::{TOKEN_CONTEXT, Window, check_context, check_k};
use crate::rule::MaskRule;
use crate::rules::AfterPrefix;
use crate::rules::product::{DecideProducts, Product, product};
use crate::window_keys::WindowKeys;
use crate::{Coverage, MaskError, RuleDefinition, UniformTable};

/// Drops iff an avalanche hash of the product of the inclusive window is below `(2^32 - 1) / k`: bit-exact with
/// `apply_goldfish(strategy="hash-avalanche")`, ahans30/goldfish-loss 35d29f9, `lit_gpt/utils.py`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema), schemars(inline))]
#[non_exhaustive]
pub struct HashAvalanche {
    /// One token in `k` is dropped.
    pub k: u32,
    /// Tokens in the window.
    pub context: u32,
}

impl HashAvalanche {
    /// Drops one token in `k` by a window of [`TOKEN_CONTEXT`] tokens.
    #[must_use]
    pub fn new(k: u32) -> Self {
        Self { k, context: TOKEN_CONTEXT }
    }

    /// Sets the tokens in the window.
    #[must_use]
    pub fn context(self, context: u32) -> Self {
        Self { context, ..self }
    }
}

impl fmt::Display for HashAvalanche {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "context {}", self.context)
    }
}

impl FromOptions for HashAvalanche {
    const OPTIONS: &'static [RuleOption] = &[];

    fn from_options(options: &RuleOptions) -> Result<Self, MaskError> {
        Ok(Self { k: options.k, context: options.context.unwrap_or(TOKEN_CONTEXT) })
    }
}

impl RuleDefinition for HashAvalanche {
    fn name(&self) -> &'static str {
        "hash-avalanche"
    }

    fn version(&self) -> u32 {
        1
    }

    fn k(&self) -> Option<u32> {
        Some(self.k)
    }

    fn context(&self) -> Option<u32> {
        Some(self.context)
    }

    fn is_reference(&self) -> bool {
        true
    }

    fn build(&self, _table: Option<&UniformTable>) -> Result<Box<dyn MaskRule>, MaskError> {
        let bound = Bound::new(check_k(self.k)?);
        Ok(Box::new(Product::new(check_context(self.context)?, bound)))
    }

    fn build_coverage(&self, coverage: Coverage) -> Result<Box<dyn MaskRule>, MaskError> {
        check_k(self.k)?;
        Ok(AfterPrefix::covering(coverage, check_context(self.context)? as u64 - 1))
    }

    fn window_keys(&self) -> Option<WindowKeys<'_>> {
        let key = |window: &[u32]| avalanche(product(window));
        Some(WindowKeys::new(self.context, Window::Inclusive, 1 << 32, key))
    }
}

/// The first hash that is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound(u64);

impl Bound {
    /// torch compares the hash, an integer, with a Python float in `f32`. The larger the hash, the larger its `f32`, so
    /// that there is a first one that is kept.
    pub(crate) fn new(k: u32) -> Self {
        let limit = (f64::from(u32::MAX) / f64::from(k)) as f32;
        let (mut dropped, mut kept) = (0, 1u64 << 32);
        while dropped < kept {
            let middle = u64::midpoint(dropped, kept);
            if (middle as f32) < limit { dropped = middle + 1 } else { kept = middle }
        }
        Self(kept)
    }
}

impl DecideProducts for Bound {
    #[inline(always)]
    fn decide(&self, products: &mut [u64], mask: &mut [u8]) {
        for (keep, &product) in mask.iter_mut().zip(&*products) {
            *keep = u8::from(avalanche(product) >= self.0);
        }
    }
}

/// Thomas Wang's 64-bit mix as `hashint(key, width=32)` has it: some steps cut to 32 bits, some not.
#[inline(always)]
fn avalanche(product: u64) -> u64 {
    const MASK: u64 = u32::MAX as u64;
    let mut key = (!product).wrapping_add(product << 21) & MASK;
    key = (key << 21).wrapping_sub(key).wrapping_sub(1);
    key ^= key >> 24;
    key = key.wrapping_add(key << 3).wrapping_add(key << 8) & MASK;
    key = key.wrapping_mul(265);
    key ^= key >> 14;
    key = key.wrapping_add(key << 2).wrapping_add(key << 4) & MASK;
    key = key.wrapping_mul(21);
    key ^= key >> 28;
    key.wrapping_add(key << 31) & MASK
}

#[cfg(test)]
mod tests {
    use super::Bound;

    #[test]
    fn the_bound_is_that_of_a_comparison_in_f32() {
        for k in [2, 3, 4, 5, 7, 32, 50, 128, 1 << 20, u32::MAX] {
            let limit = (f64::from(u32::MAX) / f64::from(k)) as f32;
            let Bound(bound) = Bound::new(k);
            for hash in bound.saturating_sub(300)..(bound + 300).min(1 << 32) {
                assert_eq!(hash >= bound, hash as f32 >= limit, "k = {k}, hash {hash}");
            }
        }
    }
}
