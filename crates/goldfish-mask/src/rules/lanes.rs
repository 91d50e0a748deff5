//! Loops over many windows at once, compiled for the widest vectors of the processor that runs them.

use pulp::{Arch, Simd, WithSimd};

/// Windows that are worked on together: their intermediate values stay in the nearest cache.
pub(crate) const TOGETHER: usize = 256;

/// Work that can be done window by window, or in plain loops that a compiler turns into vector instructions.
pub(crate) trait ByLanes {
    /// For processors whose vectors hold four 64-bit numbers or more; must be inlined, loops and all.
    fn in_lanes(self);

    /// For others: they multiply faster one by one.
    fn one_by_one(self);
}

struct Choice<W>(W);

impl<W: ByLanes> WithSimd for Choice<W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        if S::U64_LANES >= 4 { self.0.in_lanes() } else { self.0.one_by_one() }
    }
}

/// Runs a closure that is compiled for the vector instructions of this processor, with everything inlined into it.
#[inline(always)]
pub(crate) fn simd_dispatch<F: FnOnce()>(work: F) {
    struct Work<F>(F);
    impl<F: FnOnce()> pulp::NullaryFnOnce for Work<F> {
        type Output = ();
        #[inline(always)]
        fn call(self) {
            (self.0)();
        }
    }
    Arch::new().dispatch(Work(work));
}

/// Does the work in the way that is faster on this processor; both give the same bits.
pub(crate) fn run(work: impl ByLanes) {
    Arch::new().dispatch(Choice(work));
}

const LOW: u64 = u32::MAX as u64;

/// `low 64 bits ^ high 64 bits` of a product, by products of halves: no vector unit has one of 128 bits.
#[inline(always)]
pub(crate) fn folded_product(a: u64, b: u64) -> u64 {
    let Partial { low, middle, high } = Partial::new(a, b);
    ((middle << 32) | (low & LOW)) ^ high
}

/// The upper 64 bits of a product, in the same way.
#[inline(always)]
pub(crate) fn upper_product(a: u64, b: u64) -> u64 {
    Partial::new(a, b).high
}

/// A product of 128 bits.
struct Partial {
    /// Its lower 32 bits are those of the product.
    low: u64,
    /// Its lower 32 bits are the next ones.
    middle: u64,
    high: u64,
}

impl Partial {
    #[inline(always)]
    fn new(a: u64, b: u64) -> Self {
        let (a_low, a_high, b_low, b_high) = (a & LOW, a >> 32, b & LOW, b >> 32);
        let low = a_low * b_low;
        // Neither sum exceeds 64 bits: (2^32 - 1)^2 + 2^32 - 1 < 2^64.
        let one = a_high * b_low + (low >> 32);
        let middle = a_low * b_high + (one & LOW);
        Self { low, middle, high: a_high * b_high + (one >> 32) + (middle >> 32) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn products_in_halves_are_products(a: u64, b: u64) {
            let product = u128::from(a) * u128::from(b);
            let (low, high) = (product as u64, (product >> 64) as u64);
            prop_assert_eq!(folded_product(a, b), low ^ high);
            prop_assert_eq!(upper_product(a, b), high);
        }
    }
}
