use crate::rule::{MaskRule, TokenSpan, check_span};
use crate::rules::drop_threshold;
use crate::rules::xxh3::WindowHash;
use crate::spec::{ShortContext, Window};

/// `xxh3_64` of the window's ids as little-endian `u32` bytes.
#[derive(Debug)]
pub(crate) struct Hash {
    hash: WindowHash,
    context: usize,
    window: Window,
    head: ShortContext,
}

impl Hash {
    pub(crate) fn new(k: u32, context: usize, window: Window, head: ShortContext, seed: u64) -> Self {
        Self { hash: WindowHash::new(context, seed, drop_threshold(k)), context, window, head }
    }

    /// Tokens of the window that stand at or behind the decided one.
    fn overhang(&self) -> usize {
        match self.window {
            Window::Preceding => 0,
            Window::Inclusive => 1,
        }
    }
}

impl MaskRule for Hash {
    fn lookback(&self) -> usize {
        self.context - self.overhang()
    }

    fn decide(&self, span: &TokenSpan<'_>, mask: &mut [u8]) {
        check_span(span, self.lookback(), mask);
        let (ids, history) = (span.ids(), span.history());
        let before_full = (self.lookback() as u64).saturating_sub(span.position());
        let head = usize::try_from(before_full).map_or(mask.len(), |n| n.min(mask.len()));
        let (head_mask, full_mask) = mask.split_at_mut(head);

        for (i, keep) in head_mask.iter_mut().enumerate() {
            // In the head the look-back reaches the start of the unit, so `ids` starts there too.
            let index = history + i;
            let decided = index > 0 && self.head == ShortContext::Short;
            *keep = if decided { self.hash.keeps(&ids[..index + self.overhang()]) } else { 1 };
        }
        if !full_mask.is_empty() {
            let start = history + head - self.lookback();
            self.hash.decide(&ids[start..], full_mask);
        }
    }
}
