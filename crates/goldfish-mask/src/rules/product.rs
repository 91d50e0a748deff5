use std::fmt::Debug;

use crate::rule::{MaskRule, TokenSpan};
use crate::rules::full_windows::FullWindows;
use crate::rules::lanes::{ByLanes, TOGETHER, run};

/// The reference rules: a decision by the wrapping product of the inclusive window.
///
/// Ids 0 and 1 make such a product lose the rest of the window (0 absorbs it, 1 leaves no trace, and
/// factors of two shift the others out), so drop rates stray far from `1/k` on real text; these rules exist
/// to reproduce runs that used them.
#[derive(Debug)]
pub(crate) struct Product<D> {
    context: usize,
    by: D,
}

/// How products decide.
pub(crate) trait DecideProducts {
    /// Decides one token a product. The products are scratch memory afterwards.
    fn decide(&self, products: &mut [u64], mask: &mut [u8]);
}

impl<D> Product<D> {
    pub(crate) fn new(context: usize, by: D) -> Self {
        Self { context, by }
    }
}

/// The wrapping product of a window.
pub(crate) fn product(window: &[u32]) -> u64 {
    window.iter().fold(1, |product, &id| product.wrapping_mul(id.into()))
}

impl<D: DecideProducts + Debug + Send + Sync> MaskRule for Product<D> {
    fn lookback(&self) -> usize {
        self.context - 1
    }

    fn decide(&self, span: &TokenSpan<'_>, mask: &mut [u8]) {
        let full = FullWindows::of(span, self.lookback(), mask);
        run(Products { rule: self, full });
    }
}

struct Products<'a, 'm, D> {
    rule: &'a Product<D>,
    full: FullWindows<'a, 'm>,
}

/// Widest window whose product is made by doubling.
const DOUBLED: usize = 64;

impl<D: DecideProducts> ByLanes for Products<'_, '_, D> {
    #[inline(always)]
    fn in_lanes(self) {
        let Self { rule: Product { context: width, by }, full: FullWindows { ids, mask } } = self;
        if *width > DOUBLED {
            return in_blocks(ids, *width, mask, by);
        }
        let mut powers = [[0u64; TOGETHER + DOUBLED]; 2];
        let mut products = [0u64; TOGETHER];
        for (block, mask) in mask.chunks_mut(TOGETHER).enumerate() {
            let ids = &ids[block * TOGETHER..][..mask.len() + width - 1];
            let products = &mut products[..mask.len()];
            by_doubling(ids, *width, &mut powers, products);
            by.decide(products, mask);
        }
    }

    fn one_by_one(self) {
        let Self { rule: Product { context: width, by }, full: FullWindows { ids, mask } } = self;
        in_blocks(ids, *width, mask, by);
    }
}

/// Products of all windows of `width` ids, at most [`DOUBLED`], by products of 1, 2, 4, 8... ids: about `log2(width)` passes
/// over a slice that stays in the nearest cache.
#[inline(always)]
fn by_doubling(ids: &[u32], width: usize, powers: &mut [[u64; TOGETHER + DOUBLED]; 2], products: &mut [u64]) {
    let [power, next] = powers;
    // `power[i]` is the product of `size` ids from the i-th one, for the first `len` positions.
    let (mut power, mut next, mut size, mut len) = (power, next, 1, ids.len());
    power.iter_mut().zip(ids).for_each(|(power, &id)| *power = id.into());
    let mut covered = 0;
    loop {
        if width & size != 0 {
            let factors = &power[covered..][..products.len()];
            if covered == 0 {
                products.copy_from_slice(factors);
            } else {
                for (product, &factor) in products.iter_mut().zip(factors) {
                    *product = product.wrapping_mul(factor);
                }
            }
            covered += size;
        }
        if covered == width {
            return;
        }
        len -= size;
        let (these, those) = (&power[..len], &power[size..][..len]);
        for (next, (&this, &that)) in next.iter_mut().zip(these.iter().zip(those)) {
            *next = this.wrapping_mul(that);
        }
        std::mem::swap(&mut power, &mut next);
        size *= 2;
    }
}

/// Decides by the product of every full window, in constant time a window.
///
/// A wrapping product can't be divided out of, so nothing slides: the ids are cut in blocks of `width`, and
/// every window is the end of one block times the start of the next (van Herk 1992, Gil and Werman 1993).
#[inline(always)]
fn in_blocks(ids: &[u32], width: usize, mask: &mut [u8], by: &impl DecideProducts) {
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
        for (j, product) in suffix.iter_mut().enumerate().take(out.len()) {
            *product = product.wrapping_mul(prefix);
            prefix = prefix.wrapping_mul(next.get(j).copied().unwrap_or(1).into());
        }
        by.decide(&mut suffix[..out.len()], out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::hash_avalanche::Bound;

    #[test]
    fn doubling_and_blocks_give_the_same_bits() {
        let table = crate::UniformTable::cpu();
        let ids: Vec<u32> = (0..900u32).map(|i| i.wrapping_mul(2_654_435_761) >> 12 | 1).collect();
        for width in (1..=DOUBLED + 2).chain([300]) {
            both_ways(&ids, &Product::new(width, table.dropped(3)));
            both_ways(&ids, &Product::new(width, Bound::new(3)));
        }
    }

    fn both_ways(ids: &[u32], rule: &Product<impl DecideProducts>) {
        for count in [1, 2, 255, 256, 257, 600] {
            let ids = &ids[..count + rule.context - 1];
            let (mut one, mut other) = (vec![8; count], vec![9; count]);
            Products { rule, full: FullWindows { ids, mask: &mut one } }.in_lanes();
            Products { rule, full: FullWindows { ids, mask: &mut other } }.one_by_one();
            assert_eq!(one, other, "{count} windows of {}", rule.context);
        }
    }
}
