//! Numbers of 16 bits as `f32`, and tensors that hold them.

use candle_core::{CpuStorage, DType, Result, Storage, Tensor, bail};

/// The number with these bits of a `bf16`.
#[inline(always)]
pub(super) fn of_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The finite number with these bits of an `f16`; as plain arithmetic, so that loops over it become vector instructions.
#[inline(always)]
pub(super) fn of_f16(bits: u16) -> f32 {
    /// Exponents of `f32` start so much lower.
    const LOWER: u32 = (127 - 15) << 23;
    /// The smallest normal number of an `f16`, 2^-14.
    const SMALLEST: u32 = 113 << 23;
    let magnitude = u32::from(bits & 0x7fff) << 13;
    // Without an exponent the fraction counts steps of 2^-24, those of numbers from 2^-14 on.
    let subnormal = f32::from_bits(magnitude + SMALLEST) - f32::from_bits(SMALLEST);
    let value = if magnitude < 1 << 23 { subnormal } else { f32::from_bits(magnitude + LOWER) };
    f32::from_bits(value.to_bits() | u32::from(bits & 0x8000) << 16)
}

/// All elements of a tensor, in order.
///
/// # Errors
///
/// If they are no numbers in memory.
pub(super) fn elements(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1()
}

/// Tensors one after the other along their first dimension, in their precision, or as `f32` if they have several.
///
/// # Errors
///
/// If their shapes don't fit.
pub(super) fn joined(parts: &[Tensor]) -> Result<Tensor> {
    match parts {
        [first, rest @ ..] if rest.iter().any(|part| part.dtype() != first.dtype()) => {
            let wide = parts.iter().map(|part| part.to_dtype(DType::F32)).collect::<Result<Vec<_>>>()?;
            Tensor::cat(&wide, 0)
        }
        _ => Tensor::cat(parts, 0),
    }
}

/// Bytes of the elements of a tensor.
pub(super) fn bytes(tensor: &Tensor) -> usize {
    tensor.elem_count() * tensor.dtype().size_in_bytes()
}

/// Adds chosen rows of a table `[rows, width]` to the rows of `x`.
///
/// # Errors
///
/// If the table has no such rows.
pub(super) fn add_rows(table: &Tensor, chosen: &[u32], width: usize, x: &mut [f32]) -> Result<()> {
    let (count, columns) = table.dims2()?;
    let (storage, layout) = table.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else { bail!("a table is not in memory") };
    if !layout.is_contiguous() || columns != width {
        bail!("a table of {count} x {columns} has no rows of {width}");
    }
    let rows = Chosen { start: layout.start_offset(), count, chosen, width };
    match storage {
        CpuStorage::F32(values) => rows.add(values, |value| value, x),
        CpuStorage::BF16(values) => rows.add(values, |value| of_bf16(value.to_bits()), x),
        CpuStorage::F16(values) => rows.add(values, |value| of_f16(value.to_bits()), x),
        _ => bail!("a table of type {:?}", table.dtype()),
    }
}

/// Rows of a table.
struct Chosen<'a> {
    start: usize,
    count: usize,
    chosen: &'a [u32],
    width: usize,
}

impl Chosen<'_> {
    fn add<T: Copy>(&self, values: &[T], widened: impl Fn(T) -> f32, x: &mut [f32]) -> Result<()> {
        let table = &values[self.start..];
        for (x, row) in x.chunks_exact_mut(self.width).zip(self.chosen) {
            let row_values = table.get(*row as usize * self.width..).and_then(|rest| rest.get(..self.width));
            let Some(row_values) = row_values else { bail!("row {row} is beyond a table of {}", self.count) };
            for (x, value) in x.iter_mut().zip(row_values) {
                *x += widened(*value);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_16_bits() {
        for bits in 0..=u16::MAX {
            let (a, b) = (half::bf16::from_bits(bits), half::f16::from_bits(bits));
            if a.is_finite() {
                assert_eq!(of_bf16(bits).to_bits(), a.to_f32().to_bits());
            }
            if b.is_finite() {
                assert_eq!(of_f16(bits).to_bits(), b.to_f32().to_bits(), "{b}");
            }
        }
    }
}
