//! Runs of kept tokens that are as long as a window, and the least of their tokens, for the rule `anchor`.

use std::ops::Range;

use crate::selection::least_in_row;

/// Tokens of most runs with a small `k`, which are looked at together at once.
pub(crate) const SHORT: usize = 64;

/// The same of most other runs.
pub(crate) const MEDIUM: usize = 512;

/// Tokens of longer runs that are looked at together, with one window more.
pub(crate) const PIECE: usize = 1024;

/// Tokens of the longest window that is looked at in one of these ways.
pub(crate) const LONGEST_WINDOW: usize = 256;

/// One bit for each zero of a mask of 64 bytes at most, which are 0 or 1.
#[inline(always)]
pub(crate) fn dropped_bits(mask: &[u8]) -> u64 {
    let mut padded = [1; 64];
    let whole = match mask.first_chunk() {
        Some(whole) => whole,
        None => {
            padded[..mask.len()].copy_from_slice(mask);
            &padded
        }
    };
    let mut kept = 0;
    for (i, eight) in whole.as_chunks::<8>().0.iter().enumerate() {
        // Gathers the lowest bits of eight bytes in the highest byte.
        kept |= (u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i);
    }
    !kept
}

/// The dropped ones of 64 tokens that come after as many kept ones among them as a window has, and more dropped ones before.
#[inline(always)]
pub(crate) fn ends_of_runs(dropped: u64, window: usize) -> u64 {
    if window >= 64 {
        return 0;
    }
    // Each bit becomes whether as many tokens up to it are kept.
    let (mut kept, mut width) = (!dropped, 1);
    while width < window {
        let more = width.min(window - width);
        kept &= kept << more;
        width += more;
    }
    (kept << 1) & dropped
}

/// Remainders of numbers below 1024 with a divisor of [`LONGEST_WINDOW`] at most, by multiplication.
pub(crate) struct Modulo {
    divisor: u32,
    reciprocal: u32,
}

impl Modulo {
    #[inline(always)]
    pub(crate) fn new(divisor: u32) -> Self {
        Self { divisor, reciprocal: (1 << 20) / divisor + 1 }
    }

    #[inline(always)]
    pub(crate) fn of(&self, number: u32) -> u32 {
        number - ((number * self.reciprocal) >> 20) * self.divisor
    }
}

/// Index of the least value of a range, which the lower twelve bits of all values have.
#[inline(always)]
pub(crate) fn index_of_least<const COUNT: usize>(values: &[u64; COUNT], range: Range<usize>) -> usize {
    let range = range.start as u64..range.end as u64;
    let mut least = u64::MAX;
    // Without branches, so that it becomes vector instructions.
    for (index, &value) in (0..).zip(values) {
        least = least.min(if range.contains(&index) { value } else { u64::MAX });
    }
    (least & 0xFFF) as usize
}

/// For each value the greatest one of the least values of the windows that it is in. A value that
/// is the least one of a window gets itself. There must be room for one window more than there are values.
#[inline(always)]
pub(crate) fn greatest_of_least<'a>(values: &[u64], window: usize, room: &'a mut [u64; PIECE]) -> &'a [u64] {
    let mut least = [0; PIECE];
    let least = &mut least[..values.len()];
    least.copy_from_slice(values);
    let offset = least_in_row(least, window);
    // The greatest value is the complement of the least complement.
    let windows = values.len() + 1 - window;
    let padded = &mut room[..values.len() + window - 1];
    padded[..window - 1].fill(u64::MAX);
    for (padded, (a, b)) in padded[window - 1..].iter_mut().zip(least[..windows].iter().zip(&least[offset..]))
    {
        *padded = !a.min(b);
    }
    padded[window - 1 + windows..].fill(u64::MAX);
    let offset = least_in_row(padded, window);
    for at in 0..values.len() {
        padded[at] = !padded[at].min(padded[at + offset]);
    }
    &padded[..values.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remainders_are_those_of_a_division() {
        for divisor in 3..=LONGEST_WINDOW as u32 {
            let modulo = Modulo::new(divisor);
            assert!((0..1024).all(|number| modulo.of(number) == number % divisor), "{divisor}");
        }
    }
}
