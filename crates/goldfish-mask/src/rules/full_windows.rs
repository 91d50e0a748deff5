use crate::rule::{TokenSpan, check_span};

/// The part of a span whose inclusive windows are full.
pub(crate) struct FullWindows<'a, 'm> {
    /// `lookback` ids before the first decided one, then the decided ones.
    pub(crate) ids: &'a [u32],
    /// One byte for each decided id.
    pub(crate) mask: &'m mut [u8],
}

impl<'a, 'm> FullWindows<'a, 'm> {
    /// Keeps the tokens whose window is not full, and returns the rest.
    pub(crate) fn of(span: &TokenSpan<'a>, lookback: usize, mask: &'m mut [u8]) -> Self {
        check_span(span, lookback, mask);
        let before_full = (lookback as u64).saturating_sub(span.position());
        let short = usize::try_from(before_full).map_or(mask.len(), |n| n.min(mask.len()));
        let (kept, rest) = mask.split_at_mut(short);
        kept.fill(1);
        let ids = if rest.is_empty() { &[] } else { &span.ids()[span.history() + short - lookback..] };
        Self { ids, mask: rest }
    }
}
