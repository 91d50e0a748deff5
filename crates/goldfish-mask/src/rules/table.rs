use rand_mt::Mt;
use xxhash_rust::xxh3::Xxh3Default;

use crate::rules::lanes::upper_product;
use crate::rules::product::DecideProducts;
use crate::{MaskError, TABLE_LEN};

/// Seed of the reference table ("fib47 is prime", says the reference).
const CPU_SEED: u32 = 2_971_215_073;

/// Uniform numbers in `[0, 1)` that a window's key is looked up in.
///
/// The reference implementation fills its table with `torch.rand` on the training device, so its contents
/// depend on the device: [`UniformTable::cpu`] is what a CPU gives; a table saved on a GPU comes in through
/// [`UniformTable::from_values`].
#[derive(Debug, Clone, PartialEq)]
pub struct UniformTable(Vec<f32>);

impl UniformTable {
    /// The table of `torch.Generator("cpu").manual_seed(2971215073)` and `torch.rand(1_000_003)`:
    /// MT19937 outputs, the low 24 bits of each over `2^24`.
    #[must_use]
    pub fn cpu() -> Self {
        let mut generator = Mt::new(CPU_SEED);
        Self(
            (0..TABLE_LEN).map(|_| (generator.next_u32() & 0xFF_FFFF) as f32 / (1u32 << 24) as f32).collect(),
        )
    }

    /// A table saved from another device.
    ///
    /// # Errors
    ///
    /// If there are not exactly [`TABLE_LEN`] numbers, or one is not in `0..=1`.
    pub fn from_values(values: Vec<f32>) -> Result<Self, MaskError> {
        if values.len() != TABLE_LEN {
            return Err(MaskError::TableLength { found: values.len() });
        }
        if let Some(index) = values.iter().position(|value| !(0.0..=1.0).contains(value)) {
            return Err(MaskError::TableValue { index, value: values[index].to_string() });
        }
        Ok(Self(values))
    }

    /// The numbers, [`TABLE_LEN`] of them.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.0
    }

    /// Names the table's contents: `xxh3_128:` and the hex digest of its little-endian `f32` bytes.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hasher = Xxh3Default::new();
        hasher.update(bytemuck::cast_slice(&self.0));
        format!("xxh3_128:{:032x}", hasher.digest128())
    }

    /// Which keys drop: `table[key] < 1/k`, compared in `f32` with `1/k` rounded from `f64` as torch does.
    pub(crate) fn dropped(&self, k: u32) -> DroppedKeys {
        let limit = (1.0 / f64::from(k)) as f32;
        let mut bits = vec![0u64; TABLE_LEN.div_ceil(64)];
        for (key, _) in self.0.iter().enumerate().filter(|&(_, &value)| value < limit) {
            bits[key / 64] |= 1 << (key % 64);
        }
        DroppedKeys(bits)
    }
}

/// Where a rule's table of uniform numbers comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum TableSource {
    /// The table that torch makes on the CPU from the seed 2971215073.
    #[default]
    Cpu,
    /// A table from a file, named by [`UniformTable::fingerprint`].
    File(String),
}

impl TableSource {
    /// The table itself; `given` is the one from a file.
    pub(crate) fn resolve(&self, given: Option<&UniformTable>) -> Result<UniformTable, MaskError> {
        match (self, given) {
            (Self::Cpu, _) => Ok(UniformTable::cpu()),
            (Self::File(expected), None) => Err(MaskError::TableMissing { expected: expected.clone() }),
            (Self::File(expected), Some(table)) => {
                let found = table.fingerprint();
                if found != *expected {
                    return Err(MaskError::TableDiffers { expected: expected.clone(), found });
                }
                Ok(table.clone())
            }
        }
    }
}

/// One bit a key: 125 kB, where the table itself would miss the cache.
#[derive(Debug)]
pub(crate) struct DroppedKeys(Vec<u64>);

/// `floor(2^64 / TABLE_LEN)`: `x` times this, over `2^64`, is `x / TABLE_LEN` or one less.
const INVERSE: u64 = ((1u128 << 64) / TABLE_LEN as u128) as u64;

/// What makes a remainder of `x + 2^63` one of `x`.
const SHIFT: u64 = {
    let len = TABLE_LEN as u64;
    (len - (1 << 63) % len) % len
};

/// The number, read as signed, floor-mod [`TABLE_LEN`].
#[inline(always)]
pub(crate) fn key(sum_or_product: u64) -> u64 {
    const LEN: u64 = TABLE_LEN as u64;
    // Plain arithmetic throughout, so that loops over it become vector instructions.
    let x = sum_or_product ^ (1 << 63);
    let rest = x.wrapping_sub(upper_product(x, INVERSE).wrapping_mul(LEN)) + SHIFT;
    // Below three times the length.
    let rest = if rest >= LEN { rest - LEN } else { rest };
    if rest >= LEN { rest - LEN } else { rest }
}

impl DroppedKeys {
    /// For each number, read as signed: 0 if, floor-mod [`TABLE_LEN`], it is a key that drops; else 1. The numbers are
    /// scratch memory afterwards.
    #[inline(always)]
    pub(crate) fn decide(&self, numbers: &mut [u64], mask: &mut [u8]) {
        numbers.iter_mut().for_each(|number| *number = key(*number));
        for (keep, &key) in mask.iter_mut().zip(&*numbers) {
            *keep = (self.0[key as usize / 64] >> (key % 64) & 1) as u8 ^ 1;
        }
    }
}

impl DecideProducts for DroppedKeys {
    #[inline(always)]
    fn decide(&self, products: &mut [u64], mask: &mut [u8]) {
        DroppedKeys::decide(self, products, mask);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(number: u64) {
        let expected = number.cast_signed().rem_euclid(TABLE_LEN as i64).cast_unsigned();
        assert_eq!(key(number), expected, "{number}");
    }

    #[test]
    fn keys_at_the_edges() {
        let len = TABLE_LEN as u64;
        for middle in [0, len, 2 * len, u64::MAX / len * len, 1 << 63, (1u64 << 63) / len * len] {
            (0..2000).for_each(|i| check(middle.wrapping_add(i).wrapping_sub(1000)));
        }
    }

    proptest! {
        #[test]
        fn keys_are_floor_remainders(number: u64) {
            check(number);
        }
    }
}
