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

/// Does the work in the way that suits this processor. Both ways give the same bits.
pub(crate) fn run(work: impl ByLanes) {
    Arch::new().dispatch(Choice(work));
}

/// `low 64 bits ^ high 64 bits` of a product of 64-bit numbers in 32-bit halves, the lower one first: no vector unit
/// has a 128-bit product.
#[inline(always)]
pub(crate) fn folded_product(a: [u32; 2], b: [u32; 2]) -> u64 {
    let [a_low, a_high] = a.map(u64::from);
    let [b_low, b_high] = b.map(u64::from);
    let low = a_low * b_low;
    // Neither sum exceeds 64 bits: (2^32 - 1)^2 + 2^32 - 1 < 2^64.
    let middle = a_high * b_low + (low >> 32);
    let other = a_low * b_high + (middle & LOW);
    let high = a_high * b_high + (middle >> 32) + (other >> 32);
    ((other << 32) | (low & LOW)) ^ high
}

const LOW: u64 = u32::MAX as u64;

/// The upper 64 bits of `a * b`, for a constant `b`, in the same way.
#[inline(always)]
pub(crate) fn upper_product(a: u64, b: u64) -> u64 {
    let (a_low, a_high, b_low, b_high) = (a & LOW, a >> 32, b & LOW, b >> 32);
    let middle = a_high * b_low + ((a_low * b_low) >> 32);
    let other = a_low * b_high + (middle & LOW);
    a_high * b_high + (middle >> 32) + (other >> 32)
}

/// The two halves of a number, the lower one first.
pub(crate) const fn halves(x: u64) -> [u32; 2] {
    [x as u32, (x >> 32) as u32]
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
            prop_assert_eq!(folded_product(halves(a), halves(b)), low ^ high);
            prop_assert_eq!(upper_product(a, b), high);
        }
    }
}
