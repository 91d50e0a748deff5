use crate::rule::{MaskRule, TokenSpan, check_span};
use crate::rules::lanes::{ByLanes, TOGETHER, run};
use crate::rules::table::DroppedKeys;

/// The reference rules: a decision on the wrapping product of the inclusive window.
///
/// Ids 0 and 1 make such a product lose the rest of the window (0 absorbs it, 1 leaves no trace, and
/// factors of two shift the others out), so drop rates stray far from `1/k` on real text; these rules exist
/// to reproduce runs that used them.
#[derive(Debug)]
pub(crate) struct Product {
    context: usize,
    keys: Keys,
}

/// How a product decides.
#[derive(Debug)]
enum Keys {
    /// The strategy `hash-table`: it is looked up.
    Table(DroppedKeys),
    /// The strategy `hash-avalanche`: its hash drops below this bound.
    Avalanche { bound: u64 },
}

impl Product {
    pub(crate) fn table(context: usize, dropped: DroppedKeys) -> Self {
        Self { context, keys: Keys::Table(dropped) }
    }

    /// torch compares the hash, an integer, with a Python float in `f32`. The larger the hash, the larger its `f32`, so
    /// that there is a first one that is kept.
    pub(crate) fn avalanche(context: usize, k: u32) -> Self {
        let limit = (f64::from(u32::MAX) / f64::from(k)) as f32;
        let (mut dropped, mut kept) = (0, 1u64 << 32);
        while dropped < kept {
            let middle = u64::midpoint(dropped, kept);
            if (middle as f32) < limit { dropped = middle + 1 } else { kept = middle }
        }
        Self { context, keys: Keys::Avalanche { bound: kept } }
    }
}

impl Keys {
    #[inline(always)]
    fn decide(&self, products: &mut [u64], mask: &mut [u8]) {
        match self {
            Self::Table(dropped) => dropped.decide(products, mask),
            Self::Avalanche { bound } => {
                for (keep, &product) in mask.iter_mut().zip(&*products) {
                    *keep = u8::from(avalanche(product) >= *bound);
                }
            }
        }
    }
}

/// Thomas Wang's 64-bit mix as `hashint(key, width=32)` has it: some steps cut to 32 bits, some not.
#[inline(always)]
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

impl MaskRule for Product {
    fn lookback(&self) -> usize {
        self.context - 1
    }

    fn decide(&self, span: &TokenSpan<'_>, mask: &mut [u8]) {
        let full = keep_head(span, self.lookback(), mask);
        run(Products { rule: self, full });
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
pub(crate) fn keep_head<'a, 'm>(
    span: &TokenSpan<'a>,
    lookback: usize,
    mask: &'m mut [u8],
) -> FullWindows<'a, 'm> {
    check_span(span, lookback, mask);
    let before_full = (lookback as u64).saturating_sub(span.position());
    let head = usize::try_from(before_full).map_or(mask.len(), |n| n.min(mask.len()));
    let (kept, rest) = mask.split_at_mut(head);
    kept.fill(1);
    let ids = if rest.is_empty() { &[] } else { &span.ids()[span.history() + head - lookback..] };
    FullWindows { ids, mask: rest }
}

struct Products<'a, 'm> {
    rule: &'a Product,
    full: FullWindows<'a, 'm>,
}

/// Widest window whose product is made by doubling.
const DOUBLED: usize = 64;

impl ByLanes for Products<'_, '_> {
    #[inline(always)]
    fn in_lanes(self) {
        let Self { rule: Product { context: width, keys }, full: FullWindows { ids, mask } } = self;
        if *width > DOUBLED {
            return in_blocks(ids, *width, mask, keys);
        }
        let mut powers = [[0u64; TOGETHER + DOUBLED]; 2];
        let mut products = [0u64; TOGETHER];
        for (block, mask) in mask.chunks_mut(TOGETHER).enumerate() {
            let ids = &ids[block * TOGETHER..][..mask.len() + width - 1];
            let products = &mut products[..mask.len()];
            by_doubling(ids, *width, &mut powers, products);
            keys.decide(products, mask);
        }
    }

    fn one_by_one(self) {
        let Self { rule: Product { context: width, keys }, full: FullWindows { ids, mask } } = self;
        in_blocks(ids, *width, mask, keys);
    }
}

/// Products of all windows of `width` ids, at most [`DOUBLED`], by products of 1, 2, 4, 8... ids: about `log2(width)` passes
/// over a slice that stays in the nearest cache.
#[inline(always)]
fn by_doubling(ids: &[u32], width: usize, powers: &mut [[u64; TOGETHER + DOUBLED]; 2], products: &mut [u64]) {
    let [power, next] = powers;
    // `power[i]` is the product of `size` ids from the i-th one, for the first `len` places.
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
fn in_blocks(ids: &[u32], width: usize, mask: &mut [u8], keys: &Keys) {
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
        keys.decide(&mut suffix[..out.len()], out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_of_the_avalanche_is_that_of_its_comparison_in_f32() {
        for k in [2, 3, 4, 5, 7, 32, 50, 128, 1 << 20, u32::MAX] {
            let limit = (f64::from(u32::MAX) / f64::from(k)) as f32;
            let Keys::Avalanche { bound } = Product::avalanche(4, k).keys else { panic!("another rule") };
            for hash in bound.saturating_sub(300)..(bound + 300).min(1 << 32) {
                assert_eq!(hash >= bound, hash as f32 >= limit, "k = {k}, hash {hash}");
            }
        }
    }

    #[test]
    fn doubling_and_blocks_give_the_same_bits() {
        let table = crate::UniformTable::cpu();
        let ids: Vec<u32> = (0..900u32).map(|i| i.wrapping_mul(2_654_435_761) >> 12 | 1).collect();
        for width in (1..=DOUBLED + 2).chain([300]) {
            for rule in [Product::table(width, table.dropped(3)), Product::avalanche(width, 3)] {
                for count in [1, 2, 255, 256, 257, 600] {
                    let ids = &ids[..count + width - 1];
                    let (mut one, mut other) = (vec![8; count], vec![9; count]);
                    Products { rule: &rule, full: FullWindows { ids, mask: &mut one } }.in_lanes();
                    Products { rule: &rule, full: FullWindows { ids, mask: &mut other } }.one_by_one();
                    assert_eq!(one, other, "{count} windows of {width}");
                }
            }
        }
    }
}
