//! The rules, one file each, and the table of uniform numbers that two of them look into.

pub(crate) mod coefficient;
pub(crate) mod coverage;
pub(crate) mod hash;
mod lanes;
pub(crate) mod product;
pub(crate) mod random;
pub(crate) mod stride;
pub(crate) mod table;
pub(crate) mod text;
mod xxh3;

/// Largest 64-bit hash that drops: `(x as u128 * k) >> 64 == 0` iff `x <= u64::MAX / k`.
pub(crate) fn drop_threshold(k: u32) -> u64 {
    u64::MAX / u64::from(k)
}
