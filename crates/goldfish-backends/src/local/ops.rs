//! Operations on single rows.
//!
//! Each row is computed on its own, so its bits don't depend on other rows.

use super::config::Activation;
use super::math::{gelu, gelu_tanh, sigmoid, silu, sum, vectorized, xielu};
use super::rope::{Angles, Pairs};

/// Rows of a matrix in memory: the elements of a row are contiguous, the rows `stride` apart.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    values: &'a [f32],
    stride: usize,
    first: usize,
    width: usize,
}

impl<'a> Rows<'a> {
    /// `width` columns from `first` on of rows `stride` wide.
    pub(super) fn new(values: &'a [f32], stride: usize, first: usize, width: usize) -> Self {
        Self { values, stride, first, width }
    }

    #[inline(always)]
    pub(super) fn row(&self, index: usize) -> &'a [f32] {
        &self.values[index * self.stride + self.first..][..self.width]
    }
}

/// A norm of rows, or of groups within them.
#[derive(Debug)]
pub(super) struct Norm {
    /// Of one group, or of several one after the other.
    pub(super) weight: Vec<f32>,
    /// Of as many elements as there are weights.
    pub(super) bias: Option<Vec<f32>>,
    /// Elements that are normalized together.
    pub(super) width: usize,
    pub(super) epsilon: f32,
    /// Whether the mean is subtracted, as in layer norm; otherwise it is an RMS norm.
    pub(super) centered: bool,
}

impl Norm {
    /// Normalizes groups of elements, and starts again with the first weight after the last.
    pub(super) fn apply(&self, values: &mut [f32]) {
        vectorized(
            #[inline(always)]
            || {
                for values in values.chunks_exact_mut(self.weight.len()) {
                    let groups = values.chunks_exact_mut(self.width);
                    for (values, weights) in groups.zip(self.weight.chunks_exact(self.width)) {
                        self.group(values, weights);
                    }
                    for (value, bias) in values.iter_mut().zip(self.bias.iter().flatten()) {
                        *value += bias;
                    }
                }
            },
        );
    }

    #[inline(always)]
    fn group(&self, values: &mut [f32], weights: &[f32]) {
        let count = values.len() as f32;
        let mean = if self.centered { sum(values, |x| x) / count } else { 0.0 };
        let variance = sum(values, |x| (x - mean) * (x - mean)) / count;
        let scale = 1.0 / (variance + self.epsilon).sqrt();
        for (value, weight) in values.iter_mut().zip(weights) {
            *value = (*value - mean) * scale * weight;
        }
    }
}

/// Rotates the heads of a row by the angles of its position.
pub(super) fn rotate(heads: &mut [f32], head_dim: usize, angles: &Angles, position: usize) {
    let (cos, sin) = angles.at(position);
    vectorized(
        #[inline(always)]
        || {
            for head in heads.chunks_exact_mut(head_dim) {
                match angles.kind {
                    Pairs::Halves => {
                        let (first, rest) = head.split_at_mut(cos.len());
                        for (((first, second), cos), sin) in first.iter_mut().zip(rest).zip(cos).zip(sin) {
                            turn(first, second, *cos, *sin);
                        }
                    }
                    Pairs::Neighbours => {
                        let (pairs, _) = head.as_chunks_mut();
                        for (([first, second], cos), sin) in pairs.iter_mut().zip(cos).zip(sin) {
                            turn(first, second, *cos, *sin);
                        }
                    }
                }
            }
        },
    );
}

#[inline(always)]
fn turn(first: &mut f32, second: &mut f32, cos: f32, sin: f32) {
    let rotated = *second * cos + *first * sin;
    *first = *first * cos - *second * sin;
    *second = rotated;
}

/// Activates rows of `width` in `values`, to `out`. Gated: the first half of a row is activated and multiplied with the second.
pub(super) fn activate(activation: Activation, gated: bool, width: usize, values: &[f32], out: &mut [f32]) {
    match activation {
        Activation::Silu => each_row(gated, width, values, out, silu),
        Activation::Gelu => each_row(gated, width, values, out, gelu),
        Activation::GeluTanh => each_row(gated, width, values, out, gelu_tanh),
        Activation::Relu => each_row(
            gated,
            width,
            values,
            out,
            #[inline(always)]
            |x| x.max(0.0),
        ),
        Activation::Xielu(numbers) => each_row(
            gated,
            width,
            values,
            out,
            #[inline(always)]
            |x| xielu(&numbers, x),
        ),
        Activation::ClampedSwish { slope, limit } => each_pair(
            gated,
            width,
            values,
            out,
            #[inline(always)]
            |x| {
                let x = x.min(limit);
                x * sigmoid(slope * x)
            },
            #[inline(always)]
            |up| up.clamp(-limit, limit) + 1.0,
        ),
    }
}

#[inline(always)]
fn each_row(gated: bool, width: usize, values: &[f32], out: &mut [f32], f: impl Fn(f32) -> f32) {
    each_pair(
        gated,
        width,
        values,
        out,
        f,
        #[inline(always)]
        |up| up,
    );
}

/// Multiplies `f` of the gate with `g` of what it gates.
#[inline(always)]
fn each_pair(
    gated: bool,
    width: usize,
    values: &[f32],
    out: &mut [f32],
    f: impl Fn(f32) -> f32,
    g: impl Fn(f32) -> f32,
) {
    vectorized(
        #[inline(always)]
        || {
            let half = if gated { width / 2 } else { width };
            for (row, out) in values.chunks_exact(width).zip(out.chunks_exact_mut(half)) {
                let (gate, up) = row.split_at(half);
                for (out, x) in out.iter_mut().zip(gate) {
                    *out = f(*x);
                }
                for (out, up) in out.iter_mut().zip(up) {
                    *out *= g(*up);
                }
            }
        },
    );
}

/// Adds `more` to `values`.
pub(super) fn add(values: &mut [f32], more: &[f32]) {
    for (value, more) in values.iter_mut().zip(more) {
        *value += more;
    }
}
