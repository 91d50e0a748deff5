use std::fmt;

use crate::options::{FromOptions, RuleOption, RuleOptions};
use crate::parameters::check_k;
use crate::rule::{MaskRule, TokenSpan, check_span};
use crate::rules::AfterPrefix;
use crate::window_keys::WindowKeys;
use crate::{Coverage, MaskError, RuleDefinition, UniformTable};

/// Drops position `i` iff `i >= start` and `(i - start) % k == 0` (the paper's static mask, section 3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema), schemars(inline))]
#[non_exhaustive]
pub struct Static {
    /// One token in `k` is dropped.
    pub k: u32,
    /// First dropped position.
    pub start: u64,
}

impl Static {
    /// Drops one token in `k`, the first one first.
    #[must_use]
    pub fn new(k: u32) -> Self {
        Self { k, start: 0 }
    }

    /// Sets the first dropped position.
    #[must_use]
    pub fn start(self, start: u64) -> Self {
        Self { start, ..self }
    }
}

impl fmt::Display for Static {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from position {}", self.start)
    }
}

impl FromOptions for Static {
    const OPTIONS: &'static [RuleOption] = &[];

    fn from_options(options: &RuleOptions) -> Result<Self, MaskError> {
        Ok(Self { k: options.k, start: options.start })
    }
}

impl RuleDefinition for Static {
    fn name(&self) -> &'static str {
        "static"
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

    fn build(&self, _table: Option<&UniformTable>) -> Result<Box<dyn MaskRule>, MaskError> {
        Ok(Box::new(Kernel { k: check_k(self.k)?.into(), start: self.start }))
    }

    fn build_coverage(&self, coverage: Coverage) -> Result<Box<dyn MaskRule>, MaskError> {
        check_k(self.k)?;
        Ok(AfterPrefix::covering(coverage, self.start))
    }

    fn window_keys(&self) -> Option<WindowKeys<'_>> {
        None
    }
}

#[derive(Debug)]
struct Kernel {
    k: u64,
    start: u64,
}

impl MaskRule for Kernel {
    fn lookback(&self) -> usize {
        0
    }

    fn decide(&self, span: &TokenSpan<'_>, mask: &mut [u8]) {
        check_span(span, 0, mask);
        mask.fill(1);
        let first = match span.position().checked_sub(self.start) {
            Some(past) => (self.k - past % self.k) % self.k,
            None => self.start - span.position(),
        };
        let (Ok(first), Ok(k)) = (usize::try_from(first), usize::try_from(self.k)) else { return };
        mask.iter_mut().skip(first).step_by(k).for_each(|keep| *keep = 0);
    }
}
