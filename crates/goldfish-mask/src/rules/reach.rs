use crate::rule::{MaskRule, Span, check_span};

/// Drops every token behind the head: what a rule over tokens decides about, whatever it decides.
#[derive(Debug)]
pub(crate) struct BehindHead {
    head: u64,
}

impl BehindHead {
    /// Keeps the first `head` tokens of a unit.
    pub(crate) fn new(head: u64) -> Self {
        Self { head }
    }
}

impl MaskRule for BehindHead {
    fn lookback(&self) -> usize {
        0
    }

    fn decide(&self, span: &Span<'_>, mask: &mut [u8]) {
        check_span(span, 0, mask);
        let left = self.head.saturating_sub(span.position());
        let head = usize::try_from(left).map_or(mask.len(), |n| n.min(mask.len()));
        mask[..head].fill(1);
        mask[head..].fill(0);
    }
}
