use crate::rule::{MaskRule, TokenSpan, check_span};

/// Every `k`-th token from `start` on.
#[derive(Debug)]
pub(crate) struct Static {
    k: u64,
    start: u64,
}

impl Static {
    pub(crate) fn new(k: u32, start: u64) -> Self {
        Self { k: k.into(), start }
    }
}

impl MaskRule for Static {
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
