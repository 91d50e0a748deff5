use crate::Coverage;
use crate::rule::{MaskRule, TokenSpan, check_span};

/// Drops every token after the first few of a document: the [`Coverage`] of rules over tokens.
#[derive(Debug)]
pub struct AfterPrefix {
    kept: u64,
}

impl AfterPrefix {
    /// The coverage of a rule that keeps the first `undecided` tokens of a document and decides the others.
    #[must_use]
    pub fn covering(coverage: Coverage, undecided: u64) -> Box<dyn MaskRule> {
        let kept = match coverage {
            Coverage::Decided => undecided,
            Coverage::Present => 0,
        };
        Box::new(Self { kept })
    }
}

impl MaskRule for AfterPrefix {
    fn lookback(&self) -> usize {
        0
    }

    fn decide(&self, span: &TokenSpan<'_>, mask: &mut [u8]) {
        check_span(span, 0, mask);
        let left = self.kept.saturating_sub(span.position());
        let kept = usize::try_from(left).map_or(mask.len(), |n| n.min(mask.len()));
        mask[..kept].fill(1);
        mask[kept..].fill(0);
    }
}
