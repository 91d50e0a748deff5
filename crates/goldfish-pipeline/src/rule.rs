//! Rules that are ready to decide.

use goldfish_mask::{Coverage, Masker, RuleSpec, UniformTable};

use crate::PipelineError;

/// A rule with the ids that it never drops.
pub(crate) struct BuiltRule {
    pub(crate) spec: RuleSpec,
    pub(crate) exempt_ids: Vec<u32>,
    pub(crate) masker: Masker,
    /// Drops every token that the rule decides about.
    pub(crate) decided: Masker,
}

impl BuiltRule {
    pub(crate) fn new(
        spec: &RuleSpec,
        table: Option<&UniformTable>,
        exempt_ids: &[u32],
    ) -> Result<Self, PipelineError> {
        Ok(Self {
            spec: spec.clone(),
            exempt_ids: exempt_ids.to_vec(),
            masker: Masker::new(spec.build(table)?, exempt_ids),
            decided: Masker::new(spec.build_coverage(Coverage::Decided)?, exempt_ids),
        })
    }
}
