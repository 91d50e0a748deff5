//! What a decoder does to its rows one by one, as operations on tensors `[rows, width]`.
//!
//! Each row is computed on its own and by one thread, so that it has the same bits whatever stands in the rows beside it.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, bail};
use rayon::prelude::*;

use super::config::Activation;
use super::math::{gelu, gelu_tanh, silu, sum, vectorized};
use super::rope::Angles;

/// Rows of a matrix in memory: elements of a row stand side by side, rows `stride` apart.
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
        let [stride, 1] = *layout.stride() else { bail!("the elements of a row are not side by side") };
        Ok(Self { values: &storage.as_slice::<f32>()?[layout.start_offset()..], stride, count, width })
    }

    #[inline(always)]
    pub(super) fn row(&self, index: usize) -> &'a [f32] {
        &self.values[index * self.stride..][..self.width]
    }
}

fn vector<'a>(storage: &'a CpuStorage, layout: &Layout, width: usize) -> Result<&'a [f32]> {
    let (start, Some((_, end))) = (layout.start_offset(), layout.contiguous_offsets()) else {
        bail!("a vector of weights is not contiguous");
    };
    let values = &storage.as_slice::<f32>()?[start..end];
    if values.len() != width {
        bail!("{} weights for rows of {width}", values.len());
    }
    Ok(values)
}

/// Rows that one thread takes at a time.
const BLOCK: usize = 16;

/// A matrix `[rows, width]` whose rows are filled by `fill`.
fn fill_rows(rows: usize, width: usize, fill: impl Fn(usize, &mut [f32]) + Sync) -> (CpuStorage, Shape) {
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
    (CpuStorage::F32(values), Shape::from((rows, width)))
}

/// Normalises groups of a row, as many elements each as there are weights.
pub(super) struct Normalize {
    pub(super) epsilon: f32,
    /// Whether the mean is taken away, as in layer norm; without, it is an RMS norm.
    pub(super) centred: bool,
    pub(super) width: usize,
}

impl Normalize {
    #[inline(always)]
    fn group(&self, input: &[f32], weight: &[f32], bias: Option<&[f32]>, out: &mut [f32]) {
        let count = self.width as f32;
        let mean = if self.centred { sum(input, |x| x) / count } else { 0.0 };
        let variance = sum(input, |x| (x - mean) * (x - mean)) / count;
        let scale = 1.0 / (variance + self.epsilon).sqrt();
        for ((out, x), weight) in out.iter_mut().zip(input).zip(weight) {
            *out = (x - mean) * scale * weight;
        }
        for (out, bias) in out.iter_mut().zip(bias.unwrap_or(&[])) {
            *out += bias;
        }
    }

    fn rows(&self, input: Rows<'_>, weight: &[f32], bias: Option<&[f32]>) -> Result<(CpuStorage, Shape)> {
        if self.width == 0 || !input.width.is_multiple_of(self.width) {
            bail!("rows of {} can't be normalised by {}", input.width, self.width);
        }
        Ok(fill_rows(
            input.count,
            input.width,
            #[inline(always)]
            |row, out| {
                let groups = input.row(row).chunks_exact(self.width);
                for (group, out) in groups.zip(out.chunks_exact_mut(self.width)) {
                    self.group(group, weight, bias, out);
                }
            },
        ))
    }
}

impl CustomOp2 for Normalize {
    fn name(&self) -> &'static str {
        "normalize"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.rows(Rows::new(x, xl)?, vector(w, wl, self.width)?, None)
    }
}

impl CustomOp3 for Normalize {
    fn name(&self) -> &'static str {
        "normalize"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.rows(Rows::new(x, xl)?, vector(w, wl, self.width)?, Some(vector(b, bl, self.width)?))
    }
}

/// Turns the heads of each row by the angles of its position.
pub(super) struct Rotate {
    pub(super) angles: Arc<Angles>,
    pub(super) positions: Arc<[u32]>,
    pub(super) head_dim: usize,
}

impl CustomOp1 for Rotate {
    fn name(&self) -> &'static str {
        "rotate"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let input = Rows::new(x, layout)?;
        if input.width % self.head_dim != 0 || self.positions.len() != input.count {
            bail!("{} rows of {} don't fit the positions", input.count, input.width);
        }
        Ok(fill_rows(
            input.count,
            input.width,
            #[inline(always)]
            |row, out| {
                let (cos, sin) = self.angles.at(self.positions[row] as usize);
                let half = cos.len();
                let heads = input.row(row).chunks_exact(self.head_dim);
                for (head, out) in heads.zip(out.chunks_exact_mut(self.head_dim)) {
                    let (first, rest) = head.split_at(half);
                    let (second, rest) = rest.split_at(half);
                    let (out_first, out_rest) = out.split_at_mut(half);
                    let (out_second, out_rest) = out_rest.split_at_mut(half);
                    for i in 0..half {
                        out_first[i] = first[i] * cos[i] - second[i] * sin[i];
                        out_second[i] = second[i] * cos[i] + first[i] * sin[i];
                    }
                    out_rest.copy_from_slice(rest);
                }
            },
        ))
    }
}

/// The activation of an MLP. Gated: the first half of a row is activated and multiplied with the second.
pub(super) struct Activate {
    pub(super) activation: Activation,
    pub(super) gated: bool,
}

impl Activate {
    fn with(&self, input: Rows<'_>, f: impl Fn(f32) -> f32 + Sync + Copy) -> (CpuStorage, Shape) {
        let width = if self.gated { input.width / 2 } else { input.width };
        fill_rows(
            input.count,
            width,
            #[inline(always)]
            |row, out| {
                let (gate, up) = input.row(row).split_at(width);
                for (out, x) in out.iter_mut().zip(gate) {
                    *out = f(*x);
                }
                for (out, up) in out.iter_mut().zip(up) {
                    *out *= up;
                }
            },
        )
    }
}

impl CustomOp1 for Activate {
    fn name(&self) -> &'static str {
        "activate"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let input = Rows::new(x, layout)?;
        Ok(match self.activation {
            Activation::Silu => self.with(input, silu),
            Activation::Gelu => self.with(input, gelu),
            Activation::GeluTanh => self.with(input, gelu_tanh),
            Activation::Relu => self.with(
                input,
                #[inline(always)]
                |x| x.max(0.0),
            ),
        })
    }
}
