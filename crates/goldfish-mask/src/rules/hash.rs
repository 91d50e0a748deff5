use std::fmt;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::options::{FromOptions, RuleOption, RuleOptions};
use crate::parameters::{ShortContext, TOKEN_CONTEXT, Window, check_context, check_k, drop_threshold};
use crate::rule::{MaskRule, TokenSpan, check_span};
use crate::rules::AfterPrefix;
use crate::rules::xxh3::WindowHash;
use crate::window_keys::WindowKeys;
use crate::{Coverage, MaskError, RuleDefinition, UniformTable};

/// Drops iff `xxh3_64(seed, window as LE u32 bytes)` is in the first `1/k` of its range.
///
/// This is the hashed mask of the paper (section 3.1) with a hash that loses nothing of the window.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema), schemars(inline))]
#[non_exhaustive]
pub struct Hash {
    /// One token in `k` is dropped.
    pub k: u32,
    /// Tokens in the window.
    pub context: u32,
    /// Where the window is.
    pub window: Window,
    /// What happens where it is not full.
    #[cfg_attr(feature = "serde", serde(rename = "head"))]
    pub short_context: ShortContext,
    /// Seed of the hash.
    pub seed: u64,
}

impl Hash {
    /// Drops one token in `k` by the [`TOKEN_CONTEXT`] tokens before it, keeps tokens with a short context, seed 0.
    #[must_use]
    pub fn new(k: u32) -> Self {
        let (window, short_context) = (Window::Preceding, ShortContext::Keep);
        Self { k, context: TOKEN_CONTEXT, window, short_context, seed: 0 }
    }

    /// Sets the tokens in the window.
    #[must_use]
    pub fn context(self, context: u32) -> Self {
        Self { context, ..self }
    }

    /// Sets where the window is.
    #[must_use]
    pub fn window(self, window: Window) -> Self {
        Self { window, ..self }
    }

    /// Sets what happens where the window is not full.
    #[must_use]
    pub fn short_context(self, short_context: ShortContext) -> Self {
        Self { short_context, ..self }
    }

    /// Sets the seed of the hash.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (window, head) = (self.window.name(), self.short_context.name());
        write!(f, "context {} ({window}), head {head}, seed {}", self.context, self.seed)
    }
}

impl FromOptions for Hash {
    const OPTIONS: &'static [RuleOption] = &[RuleOption::Window];

    fn from_options(options: &RuleOptions) -> Result<Self, MaskError> {
        let RuleOptions { k, context, window, short_context, seed, .. } = *options;
        let window = window.unwrap_or_default();
        Ok(Self { k, context: context.unwrap_or(TOKEN_CONTEXT), window, short_context, seed })
    }
}

impl RuleDefinition for Hash {
    fn name(&self) -> &'static str {
        "hash"
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

    fn build(&self, _table: Option<&UniformTable>) -> Result<Box<dyn MaskRule>, MaskError> {
        let last_dropped = drop_threshold(check_k(self.k)?);
        let context = check_context(self.context)?;
        Ok(Box::new(Kernel {
            hash: WindowHash::new(context, self.seed, last_dropped),
            context,
            overhang: self.window.overhang(),
            short_context: self.short_context,
        }))
    }

    fn build_coverage(&self, coverage: Coverage) -> Result<Box<dyn MaskRule>, MaskError> {
        check_k(self.k)?;
        let lookback = check_context(self.context)? - self.window.overhang();
        let undecided = match self.short_context {
            ShortContext::Keep => lookback,
            ShortContext::Short => lookback.min(1),
        };
        Ok(AfterPrefix::covering(coverage, undecided as u64))
    }

    fn window_keys(&self) -> Option<WindowKeys<'_>> {
        let key = |window: &[u32]| xxh3_64_with_seed(bytemuck::cast_slice(window), self.seed);
        Some(WindowKeys::new(self.context, self.window, u64::MAX, key))
    }
}

#[derive(Debug)]
struct Kernel {
    hash: WindowHash,
    context: usize,
    overhang: usize,
    short_context: ShortContext,
}

impl MaskRule for Kernel {
    fn lookback(&self) -> usize {
        self.context - self.overhang
    }

    fn decide(&self, span: &TokenSpan<'_>, mask: &mut [u8]) {
        check_span(span, self.lookback(), mask);
        let (ids, history) = (span.ids(), span.history());
        let before_full = (self.lookback() as u64).saturating_sub(span.position());
        let short = usize::try_from(before_full).map_or(mask.len(), |n| n.min(mask.len()));
        let (short_mask, full_mask) = mask.split_at_mut(short);

        for (i, keep) in short_mask.iter_mut().enumerate() {
            // The history covers everything before a short context, so `ids` starts with the document.
            let index = history + i;
            let decided = index > 0 && self.short_context == ShortContext::Short;
            *keep = if decided { self.hash.keeps(&ids[..index + self.overhang]) } else { 1 };
        }
        if !full_mask.is_empty() {
            let start = history + short - self.lookback();
            self.hash.decide(&ids[start..], full_mask);
        }
    }
}
