//! Rows of matrices in memory.

use std::array::from_fn;

use candle_core::{CpuStorage, Layout, Result, Shape, Storage, Tensor, bail};
use goldfish_backends::local::math::vectorized;
use rayon::prelude::*;

/// Rows of a matrix in memory: the elements of a row are contiguous, the rows `stride` apart.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    values: &'a [f32],
    stride: usize,
    pub(super) count: usize,
    pub(super) width: usize,
}

impl<'a> Rows<'a> {
    pub(super) fn new(storage: &'a CpuStorage, layout: &Layout) -> Result<Self> {
        let (count, width) = layout.shape().dims2()?;
        let [stride, 1] = *layout.stride() else { bail!("the elements of a row are not contiguous") };
        Ok(Self { values: &storage.as_slice::<f32>()?[layout.start_offset()..], stride, count, width })
    }

    #[inline(always)]
    pub(super) fn row(&self, index: usize) -> &'a [f32] {
        &self.values[index * self.stride..][..self.width]
    }

    pub(super) fn has_shape_of(&self, other: &Self) -> Result<()> {
        if (self.count, self.width) != (other.count, other.width) {
            bail!("[{}, {}] instead of [{}, {}]", self.count, self.width, other.count, other.width);
        }
        Ok(())
    }
}

/// Calls `work` with the rows of matrices in memory.
pub(super) fn with_rows<const N: usize, R>(
    tensors: [&Tensor; N],
    work: impl FnOnce([Rows<'_>; N]) -> Result<R>,
) -> Result<R> {
    let held = tensors.map(Tensor::storage_and_layout);
    let mut rows = Vec::with_capacity(N);
    for (storage, layout) in &held {
        let Storage::Cpu(storage) = &**storage else { bail!("a tensor is not in memory") };
        rows.push(Rows::new(storage, layout)?);
    }
    work(from_fn(|index| rows[index]))
}

/// The elements of a vector in memory.
pub(super) fn vector<'a>(storage: &'a CpuStorage, layout: &Layout, width: usize) -> Result<&'a [f32]> {
    let (start, Some((_, end))) = (layout.start_offset(), layout.contiguous_offsets()) else {
        bail!("a vector of weights is not contiguous");
    };
    let values = &storage.as_slice::<f32>()?[start..end];
    if values.len() != width {
        bail!("{} weights for rows of {width}", values.len());
    }
    Ok(values)
}

pub(super) fn matrix(values: Vec<f32>, rows: usize, width: usize) -> (CpuStorage, Shape) {
    (CpuStorage::F32(values), Shape::from((rows, width)))
}

/// Rows of one task of a thread.
const BLOCK: usize = 16;

/// A matrix `[rows, width]` whose rows are filled by `fill`.
pub(super) fn fill_rows(rows: usize, width: usize, fill: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    let mut values = vec![0f32; rows * width];
    if width > 0 {
        values.par_chunks_mut(BLOCK * width).enumerate().for_each(|(block, out)| {
            vectorized(
                #[inline(always)]
                || {
                    for (row, out) in out.chunks_exact_mut(width).enumerate() {
                        fill(block * BLOCK + row, out);
                    }
                },
            );
        });
    }
    values
}

/// The sum of the products of two rows, in an order that depends on their length alone.
#[inline(always)]
pub(super) fn sum_products(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut lanes = [0f32; LANES];
    let (left, right) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = left.remainder().iter().zip(right.remainder());
    for (a, b) in left.zip(right) {
        for i in 0..LANES {
            lanes[i] = a[i].mul_add(b[i], lanes[i]);
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(rest) {
        *lane = a.mul_add(*b, *lane);
    }
    lanes.iter().sum()
}
