//! Random numbers by integer arithmetic, so that every machine draws the same.

use rand_mt::Mt64;

/// A number below `n`; 0 if `n` is 0.
pub(crate) fn below(random: &mut Mt64, n: u64) -> u64 {
    ((u128::from(random.next_u64()) * u128::from(n)) >> 64) as u64
}

/// True in this share of the calls.
pub(crate) fn hit(random: &mut Mt64, rate: f64) -> bool {
    // Multiplying by a power of two is exact, and the cast saturates.
    random.next_u64() < (rate * 2_f64.powi(64)) as u64
}

/// One of some values, `None` if there are none.
pub(crate) fn pick<'a, T>(random: &mut Mt64, values: &'a [T]) -> Option<&'a T> {
    values.get(below(random, values.len() as u64) as usize)
}
