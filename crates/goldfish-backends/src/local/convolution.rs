//! Convolutions over the last tokens, each channel on its own.

use candle_core::{Result, Tensor};

use super::math::vectorized;
use super::precision::elements;

/// A causal convolution; its state is the inputs of the tokens before, the oldest first.
#[derive(Debug)]
pub(super) struct Convolution {
    /// `[kernel, channels]`, the oldest token first.
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Convolution {
    /// Takes weights `[channels, 1, kernel]`.
    pub(super) fn new(weights: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        let (channels, _, _) = weights.dims3()?;
        let bias = bias.map_or(Ok(vec![0.0; channels]), elements)?;
        Ok(Self { weights: elements(&weights.squeeze(1)?.t()?)?, bias })
    }

    fn channels(&self) -> usize {
        self.bias.len()
    }

    /// Reads the tokens of a sequence, in rows `stride` wide that begin with their inputs.
    pub(super) fn read(&self, rows: &[f32], stride: usize, kept: &mut [f32], out: &mut [f32]) {
        let channels = self.channels();
        for (row, out) in rows.chunks(stride).zip(out.chunks_exact_mut(channels)) {
            let input = &row[..channels];
            vectorized(
                #[inline(always)]
                || {
                    out.copy_from_slice(&self.bias);
                    let inputs = kept.chunks_exact(channels).chain([input]);
                    for (input, weights) in inputs.zip(self.weights.chunks_exact(channels)) {
                        for ((out, x), weight) in out.iter_mut().zip(input).zip(weights) {
                            *out = x.mul_add(*weight, *out);
                        }
                    }
                },
            );
            if let Some(last) = kept.len().checked_sub(channels) {
                kept.copy_within(channels.., 0);
                kept[last..].copy_from_slice(input);
            }
        }
    }
}
