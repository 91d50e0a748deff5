//! Rows of matrices in memory.

use std::array::from_fn;
use std::ops::Range;

use candle_core::{Device, Result, Storage, Tensor, bail};
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
    #[inline(always)]
    pub(super) fn row(&self, index: usize) -> &'a [f32] {
        &self.values[index * self.stride..][..self.width]
    }

    /// Some columns of the rows.
    pub(super) fn columns(&self, columns: Range<usize>) -> Self {
        let (values, width) = (&self.values[columns.start..], columns.len());
        Self { values, width, ..*self }
    }

    pub(super) fn has_shape(&self, count: usize, width: usize) -> Result<()> {
        if (self.count, self.width) != (count, width) {
            bail!("[{}, {}] instead of [{count}, {width}]", self.count, self.width);
        }
        Ok(())
    }

    pub(super) fn has_shape_of(&self, other: &Self) -> Result<()> {
        self.has_shape(other.count, other.width)
    }
}

/// The inputs of an operation that takes `N` of them.
pub(super) fn inputs<'a, const N: usize>(all: &[&'a Tensor]) -> Result<[&'a Tensor; N]> {
    match <[&Tensor; N]>::try_from(all) {
        Ok(inputs) => Ok(inputs),
        Err(_) => bail!("{} inputs instead of {N}", all.len()),
    }
}

/// Calls `work` with the rows of matrices in memory. A tensor of more dimensions is taken as rows of its last one, a vector as
/// a single row.
pub(super) fn with_rows<const N: usize, R>(
    tensors: [&Tensor; N],
    work: impl FnOnce([Rows<'_>; N]) -> Result<R>,
) -> Result<R> {
    let mut matrices = Vec::with_capacity(N);
    for tensor in tensors {
        matrices.push(match tensor.rank() {
            2 => tensor.clone(),
            1 => tensor.unsqueeze(0)?,
            _ => tensor.flatten_to(tensor.rank().saturating_sub(2))?,
        });
    }
    let held: Vec<_> = matrices.iter().map(Tensor::storage_and_layout).collect();
    let mut rows = Vec::with_capacity(N);
    for (storage, layout) in &held {
        let Storage::Cpu(storage) = &**storage else { bail!("a tensor is not in memory") };
        let (count, width) = layout.shape().dims2()?;
        let [stride, 1] = *layout.stride() else { bail!("the elements of a row are not contiguous") };
        let values = &storage.as_slice::<f32>()?[layout.start_offset()..];
        rows.push(Rows { values, stride, count, width });
    }
    work(from_fn(|index| rows[index]))
}

/// A tensor with the shape of another.
pub(super) fn like(values: Vec<f32>, other: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(values, other.shape(), &Device::Cpu)
}

pub(super) fn matrix(values: Vec<f32>, rows: usize, width: usize) -> Result<Tensor> {
    Tensor::from_vec(values, (rows, width), &Device::Cpu)
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
