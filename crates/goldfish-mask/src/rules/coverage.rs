use crate::rule::{MaskRule, TokenSpan, check_span};

/// Drops every token behind the head: what a rule over tokens decides about, whatever it decides.
#[derive(Debug)]
pub(crate) struct AfterPrefix {
    head: u64,
}

impl AfterPrefix {
    /// Keeps the first `head` tokens of a unit.
    pub(crate) fn new(head: u64) -> Self {
        Self { head }
    }
}

impl MaskRule for AfterPrefix {
    fn lookback(&self) -> usize {
        0
    }

    fn decide(&self, span: &TokenSpan<'_>, mask: &mut [u8]) {
        check_span(span, 0, mask);
        let left = self.head.saturating_sub(span.position());
        let head = usize::try_from(left).map_or(mask.len(), |n| n.min(mask.len()));
        mask[..head].fill(1);
        mask[head..].fill(0);
    }
}
