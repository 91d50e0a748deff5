use std::fmt;

use crate::options::{FromOptions, RuleOption, RuleOptions};
use crate::rule::{MaskRule, TokenSpan, check_span};
use crate::rules::AfterPrefix;
use crate::window_keys::WindowKeys;
use crate::{Coverage, MaskError, RuleDefinition, UniformTable};

/// Keeps every token: the standard loss, or masks that something else than a rule decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema), schemars(inline))]
#[non_exhaustive]
pub struct NoRule {}

impl NoRule {
    /// The rule; it has no parameters.
    #[must_use]
    pub fn new() -> Self {
        Self {}
    }
}

impl fmt::Display for NoRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keeps every token")
    }
}

impl FromOptions for NoRule {
    const OPTIONS: &'static [RuleOption] = &[];

    fn from_options(_options: &RuleOptions) -> Result<Self, MaskError> {
        Ok(Self::new())
    }
}

impl RuleDefinition for NoRule {
    fn name(&self) -> &'static str {
        "none"
    }

    fn version(&self) -> u32 {
        1
    }

    fn k(&self) -> Option<u32> {
        None
    }

    fn context(&self) -> Option<u32> {
        None
    }

    fn build(&self, _table: Option<&UniformTable>) -> Result<Box<dyn MaskRule>, MaskError> {
        Ok(Box::new(Kernel))
    }

    fn build_coverage(&self, coverage: Coverage) -> Result<Box<dyn MaskRule>, MaskError> {
        Ok(AfterPrefix::covering(coverage, 0))
    }

    fn window_keys(&self) -> Option<WindowKeys<'_>> {
        None
    }
}

#[derive(Debug)]
struct Kernel;

impl MaskRule for Kernel {
    fn lookback(&self) -> usize {
        0
    }

    fn decide(&self, span: &TokenSpan<'_>, mask: &mut [u8]) {
        check_span(span, 0, mask);
        mask.fill(1);
    }
}
