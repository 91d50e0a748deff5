use std::fmt;

use crate::rule::{MaskRule, Span, check_span};
use crate::rules::table::DroppedKeys;

/// The reference rules: a decision on the wrapping product of the inclusive window.
///
/// Ids 0 and 1 make such a product lose the rest of the window (0 absorbs it, 1 leaves no trace, and
/// factors of two shift the others out), so drop rates stray far from `1/k` on real text; these rules exist
/// to reproduce runs that used them.
pub(crate) struct Product<F> {
    context: usize,
    keep: F,
}

/// The strategy `hash-table`: look the product up.
pub(crate) fn table_rule(context: usize, dropped: DroppedKeys) -> Product<impl Fn(u64) -> u8> {
    Product { context, keep: move |product: u64| dropped.keep(product as i64) }
}

/// The strategy `hash-avalanche`: hash the product to 32 bits and compare in `f32`, as torch compares an
/// integer tensor with a Python float.
pub(crate) fn avalanche_rule(context: usize, k: u32) -> Product<impl Fn(u64) -> u8> {
    let limit = (f64::from(u32::MAX) / f64::from(k)) as f32;
    Product { context, keep: move |product| u8::from(avalanche(product) as f32 >= limit) }
}

/// Thomas Wang's 64-bit mix as `hashint(key, width=32)` has it: some steps cut to 32 bits, some not.
pub(crate) fn avalanche(product: u64) -> u64 {
    const MASK: u64 = u32::MAX as u64;
    let mut key = (!product).wrapping_add(product << 21) & MASK;
    key = (key << 21).wrapping_sub(key).wrapping_sub(1);
    key ^= key >> 24;
    key = key.wrapping_add(key << 3).wrapping_add(key << 8) & MASK;
    key = key.wrapping_mul(265);
    key ^= key >> 14;
    key = key.wrapping_add(key << 2).wrapping_add(key << 4) & MASK;
    key = key.wrapping_mul(21);
    key ^= key >> 28;
    key.wrapping_add(key << 31) & MASK
}

impl<F> fmt::Debug for Product<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Product").field("context", &self.context).finish_non_exhaustive()
    }
}

impl<F: Fn(u64) -> u8 + Send + Sync> MaskRule for Product<F> {
    fn lookback(&self) -> usize {
        self.context - 1
    }

    fn decide(&self, span: &Span<'_>, mask: &mut [u8]) {
        let full = keep_head(span, self.lookback(), mask);
        for_each_product(full.ids, self.context, full.mask, &self.keep);
    }
}

/// The part of a span whose inclusive windows are full.
pub(crate) struct FullWindows<'a, 'm> {
    /// `lookback` ids before the first decided one, then the decided ones.
    pub(crate) ids: &'a [u32],
    /// One byte for each decided id.
    pub(crate) mask: &'m mut [u8],
}

/// Keeps the tokens whose window is not full, and returns the rest.
pub(crate) fn keep_head<'a, 'm>(span: &Span<'a>, lookback: usize, mask: &'m mut [u8]) -> FullWindows<'a, 'm> {
    check_span(span, lookback, mask);
    let before_full = (lookback as u64).saturating_sub(span.position());
    let head = usize::try_from(before_full).map_or(mask.len(), |n| n.min(mask.len()));
    let (kept, rest) = mask.split_at_mut(head);
    kept.fill(1);
    let ids = if rest.is_empty() { &[] } else { &span.ids()[span.history() + head - lookback..] };
    FullWindows { ids, mask: rest }
}

/// Writes `keep(product of ids[i..i + width])` for every full window, in constant time a window.
///
/// A wrapping product can't be divided out of, so nothing slides: the ids are cut in blocks of `width`, and
/// every window is the end of one block times the start of the next (van Herk 1992, Gil and Werman 1993).
fn for_each_product(ids: &[u32], width: usize, mask: &mut [u8], keep: impl Fn(u64) -> u8) {
    // suffix[j] is the product of the previous block from its j-th id on; suffix[width] is empty.
    let mut suffix = vec![1u64; width + 1];
    let mut blocks = mask.chunks_mut(width);
    for start in (0..).step_by(width) {
        let Some(out) = blocks.next() else { break };
        let block = &ids[start..start + width];
        for j in (0..width).rev() {
            suffix[j] = suffix[j + 1].wrapping_mul(block[j].into());
        }
        // Window `start + j` is the block from j on and the first j ids of the next block.
        let mut prefix = 1u64;
        let next = &ids[start + width..];
        for (j, out) in out.iter_mut().enumerate() {
            *out = keep(suffix[j].wrapping_mul(prefix));
            prefix = prefix.wrapping_mul(next.get(j).copied().unwrap_or(1).into());
        }
    }
}
