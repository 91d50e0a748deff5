//! Products of rows with weights in a layout of their own.
//!
//! Each element of a product is summed on its own, its terms in one order: blocks of [`DEPTH`] inputs, and the inputs within a block
//! one after the other, by fused multiply-add. So its bits depend neither on other rows, nor on how the work is divided, nor on
//! the width of the vectors.

use candle_core::{Result, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::panels::{PANEL, Panels};
use super::precision::elements;

/// Inputs whose products are summed in registers.
const DEPTH: usize = 256;
/// Rows whose sums are in registers at the same time.
const TILE: usize = 6;

/// A linear layer: its weights in panels of 64 outputs, and within a panel input by input, in the precision in which they were given.
///
/// Weights of 16 bits are widened panel by panel while they are multiplied, so that all products are those of `f32` weights with the
/// same values, bit for bit.
#[derive(Debug)]
pub struct Linear {
    weights: Panels,
    /// One for each output of all panels, 0 where the layer has none.
    bias: Vec<f32>,
    inputs: usize,
    outputs: usize,
}

impl Linear {
    /// Takes weights `[inputs, outputs]` in any order in memory, and perhaps a bias `[outputs]`.
    ///
    /// # Errors
    ///
    /// If the weights are no matrix of `f32`, `bf16` or `f16` in memory, or the bias is no vector of one of them.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        let (inputs, outputs) = weight.dims2()?;
        let weights = Panels::pack(weight)?;
        let mut padded = vec![0f32; outputs.div_ceil(PANEL) * PANEL];
        if let Some(bias) = bias {
            padded[..outputs].copy_from_slice(&elements(bias)?);
        }
        Ok(Self { weights, bias: padded, inputs, outputs })
    }

    /// Bytes of weights and biases in memory: for each weight 4, or 2 of `bf16` or `f16`, and the same for the outputs that are
    /// missing to a multiple of 64.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.weights.bytes() + size_of_val(self.bias.as_slice())
    }

    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Writes the weights of one output, input by input, to `out` `[inputs]`.
    pub(super) fn read_output(&self, output: usize, out: &mut [f32]) {
        self.weights.read_output(output, out);
    }

    fn panels(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    /// Writes the product of rows `x` `[rows, inputs]` to `out` `[rows, outputs]`, on this thread.
    pub(super) fn multiply(&self, x: &[f32], out: &mut [f32]) {
        debug_assert_eq!(x.len() * self.outputs, out.len() * self.inputs);
        let stride = self.outputs;
        Arch::new().dispatch(Multiply { weights: self, x, first: 0, panels: self.panels(), out, stride });
    }

    /// Writes the product of rows `x` `[rows, inputs]` to `out` `[rows, outputs]`, on all threads: for few rows, of which each thread
    /// takes some of the outputs.
    ///
    /// # Panics
    ///
    /// If `x` and `out` don't have the same number of rows.
    pub fn multiply_shared(&self, x: &[f32], out: &mut [f32]) {
        let threads = rayon::current_num_threads();
        if threads < 2 || self.panels() < 2 || x.is_empty() {
            return self.multiply(x, out);
        }
        let rows = x.len() / self.inputs;
        let each = self.panels().div_ceil(threads * 2);
        let firsts: Vec<usize> = (0..self.panels()).step_by(each).collect();
        let parts = firsts.into_par_iter().map(|first| {
            let panels = each.min(self.panels() - first);
            let width = (panels * PANEL).min(self.outputs - first * PANEL);
            let mut part = vec![0f32; rows * width];
            Arch::new().dispatch(Multiply { weights: self, x, first, panels, out: &mut part, stride: width });
            (first * PANEL, width, part)
        });
        for (first, width, part) in parts.collect::<Vec<_>>() {
            for (out, part) in out.chunks_exact_mut(self.outputs).zip(part.chunks_exact(width)) {
                out[first..first + width].copy_from_slice(part);
            }
        }
    }
}

/// Rows times some panels.
struct Multiply<'a> {
    weights: &'a Linear,
    x: &'a [f32],
    first: usize,
    panels: usize,
    /// The product's columns of these panels, its rows `stride` apart.
    out: &'a mut [f32],
    stride: usize,
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let inputs = self.weights.inputs;
        if inputs == 0 {
            return self.out.fill(0.0);
        }
        let rows = self.x.len() / inputs;
        let linear = self.weights;
        let mut scratch = linear.weights.scratch(inputs.min(DEPTH));
        for panel in 0..self.panels {
            for start in (0..inputs).step_by(DEPTH) {
                let inputs = start..inputs.min(start + DEPTH);
                let weights = linear.weights.widened(self.first + panel, inputs.clone(), &mut scratch);
                let mut row = 0;
                while row + TILE <= rows {
                    self.rows::<S, TILE>(simd, weights, panel, inputs.clone(), row);
                    row += TILE;
                }
                match rows - row {
                    1 => self.rows::<S, 1>(simd, weights, panel, inputs, row),
                    2 => self.rows::<S, 2>(simd, weights, panel, inputs, row),
                    3 => self.rows::<S, 3>(simd, weights, panel, inputs, row),
                    4 => self.rows::<S, 4>(simd, weights, panel, inputs, row),
                    5 => self.rows::<S, 5>(simd, weights, panel, inputs, row),
                    _ => (),
                }
            }
        }
    }
}

impl Multiply<'_> {
    /// Adds what some inputs contribute to `R` rows of a panel's outputs.
    #[inline(always)]
    fn rows<S: Simd, const R: usize>(
        &mut self,
        simd: S,
        weights: &[f32],
        panel: usize,
        inputs: std::ops::Range<usize>,
        row: usize,
    ) {
        // As many sums as there are registers, besides the weights and an input.
        if S::REGISTER_COUNT >= 32 {
            self.columns::<S, R, 4>(simd, weights, panel, inputs, row);
        } else {
            self.columns::<S, R, 2>(simd, weights, panel, inputs, row);
        }
    }

    #[inline(always)]
    fn columns<S: Simd, const R: usize, const V: usize>(
        &mut self,
        simd: S,
        weights: &[f32],
        panel: usize,
        inputs: std::ops::Range<usize>,
        row: usize,
    ) {
        let width = self.weights.inputs;
        let x: [&[f32]; R] = std::array::from_fn(|r| &self.x[(row + r) * width..][inputs.clone()]);
        let (vectors, _) = S::as_simd_f32s(weights);
        let bias = &self.weights.bias[(self.first + panel) * PANEL..][..PANEL];
        let column = panel * PANEL;
        let room = self.stride - column;
        let mut at = 0;
        while at < PANEL && at < room {
            let sums = sums::<S, R, V>(simd, x, vectors, at / S::F32_LANES);
            for (r, sums) in sums.iter().enumerate() {
                let out = &mut self.out[(row + r) * self.stride + column + at..];
                let count = (V * S::F32_LANES).min(room - at);
                let mut whole = [0f32; PANEL];
                let (before, _) = S::as_mut_simd_f32s(&mut whole);
                if count == V * S::F32_LANES {
                    let (out, _) = S::as_mut_simd_f32s(&mut out[..count]);
                    let (bias, _) = S::as_simd_f32s(&bias[at..]);
                    for (v, sum) in sums.iter().enumerate() {
                        let before = if inputs.start == 0 { bias[v] } else { out[v] };
                        out[v] = simd.add_f32s(before, *sum);
                    }
                } else {
                    before[..V].copy_from_slice(sums);
                    for (v, out) in out[..count].iter_mut().enumerate() {
                        *out = if inputs.start == 0 { bias[at + v] } else { *out } + whole[v];
                    }
                }
            }
            at += V * S::F32_LANES;
        }
    }
}

/// Products of `R` rows with `V` vectors of outputs, from vector `first` of a panel on.
#[inline(always)]
fn sums<S: Simd, const R: usize, const V: usize>(
    simd: S,
    x: [&[f32]; R],
    weights: &[S::f32s],
    first: usize,
) -> [[S::f32s; V]; R] {
    let depth = x[0].len();
    assert!(x.iter().all(|x| x.len() == depth));
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    for (k, weights) in (0..depth).zip(weights.chunks_exact(PANEL / S::F32_LANES)) {
        let weights: [S::f32s; V] = std::array::from_fn(|v| weights[first + v]);
        for r in 0..R {
            let x = simd.splat_f32s(x[r][k]);
            for v in 0..V {
                sums[r][v] = simd.mul_add_f32s(x, weights[v], sums[r][v]);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn as_the_definition_says() {
        for (inputs, outputs) in [(1, 1), (3, 5), (7, 64), (64, 65), (255, 130), (256, 15), (600, 200)] {
            let weights = numbers(inputs * outputs, 5);
            let bias = numbers(outputs, 6);
            let stored = Tensor::from_slice(&weights, (outputs, inputs), &Device::Cpu).unwrap().t().unwrap();
            let bias_tensor = Tensor::from_slice(&bias, outputs, &Device::Cpu).unwrap();
            let linear = Linear::new(&stored, Some(&bias_tensor)).unwrap();
            let turned = Linear::new(&stored.contiguous().unwrap(), Some(&bias_tensor)).unwrap();
            let mut last = vec![f32::NAN; inputs];
            linear.read_output(outputs - 1, &mut last);
            assert_eq!(last, weights[(outputs - 1) * inputs..]);
            let x = numbers(21 * inputs, 7);
            let mut whole = vec![f32::NAN; 21 * outputs];
            linear.multiply(&x, &mut whole);
            for (x, out) in x.chunks_exact(inputs).zip(whole.chunks_exact(outputs)) {
                for (output, found) in out.iter().enumerate() {
                    let pairs = x.iter().zip(&weights[output * inputs..]);
                    let exact: f64 = pairs.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                    let size: f64 = x.iter().map(|x| f64::from(x.abs())).sum::<f64>() + 1.0;
                    let difference = (f64::from(*found) - exact - f64::from(bias[output])).abs();
                    assert!(difference < 1e-6 * size, "{inputs} x {outputs}: {difference}");
                }
            }
            // The same bits for all combinations of rows, threads and layouts of the weights.
            for rows in 1..=21 {
                let (x, expected) = (&x[..rows * inputs], &whole[..rows * outputs]);
                for one in [&linear, &turned] {
                    let (mut alone, mut shared) = (vec![0f32; rows * outputs], vec![0f32; rows * outputs]);
                    one.multiply(x, &mut alone);
                    one.multiply_shared(x, &mut shared);
                    assert!(alone == expected && shared == expected, "{rows} rows, {inputs} x {outputs}");
                }
            }
        }
    }

    #[test]
    fn bits_are_those_of_the_order_that_is_promised() {
        let (inputs, outputs) = (600, 70);
        let weights =
            Tensor::from_vec(numbers(inputs * outputs, 1), (inputs, outputs), &Device::Cpu).unwrap();
        let linear = Linear::new(&weights, None).unwrap();
        let x = numbers(inputs, 2);
        let mut found = vec![0f32; outputs];
        linear.multiply(&x, &mut found);
        for (output, found) in found.iter().enumerate() {
            let mut weights = vec![0f32; inputs];
            linear.read_output(output, &mut weights);
            let blocks = x.chunks(DEPTH).zip(weights.chunks(DEPTH));
            let expected = blocks.fold(0f32, |total, (x, weights)| {
                total + x.iter().zip(weights).fold(0f32, |sum, (x, weight)| x.mul_add(*weight, sum))
            });
            assert_eq!(*found, expected);
        }
    }

    #[test]
    fn weights_of_16_bits_give_the_bits_of_the_same_weights_in_f32() {
        for dtype in [DType::BF16, DType::F16] {
            for (inputs, outputs) in [(1, 1), (3, 5), (64, 65), (255, 130), (600, 200)] {
                let mut values = numbers(inputs * outputs, 8);
                // Numbers from a wide range, subnormal ones of f16 among them.
                values.iter_mut().enumerate().for_each(|(at, value)| *value *= 0.1f32.powi(at as i32 % 9));
                let stored = Tensor::from_vec(values, (outputs, inputs), &Device::Cpu).unwrap();
                let stored = stored.to_dtype(dtype).unwrap();
                let bias = Tensor::from_vec(numbers(outputs, 9), outputs, &Device::Cpu).unwrap();
                let bias = bias.to_dtype(dtype).unwrap();
                let half = Linear::new(&stored.t().unwrap(), Some(&bias)).unwrap();
                let wide = stored.to_dtype(DType::F32).unwrap();
                let wide_bias = bias.to_dtype(DType::F32).unwrap();
                let wide = Linear::new(&wide.t().unwrap(), Some(&wide_bias)).unwrap();
                let padded = outputs.div_ceil(64) * 64;
                assert_eq!(half.bytes(), padded * (2 * inputs + 4));
                assert_eq!(wide.bytes(), padded * (4 * inputs + 4));
                let x = numbers(61 * inputs, 10);
                let bits = |linear: &Linear, rows: usize, shared: bool| -> Vec<u32> {
                    let mut out = vec![f32::NAN; rows * outputs];
                    let x = &x[..rows * inputs];
                    if shared {
                        linear.multiply_shared(x, &mut out)
                    } else {
                        linear.multiply(x, &mut out)
                    }
                    out.into_iter().map(f32::to_bits).collect()
                };
                for (rows, shared) in [(1, false), (1, true), (5, true), (60, false), (61, false)] {
                    assert_eq!(
                        bits(&half, rows, shared),
                        bits(&wide, rows, shared),
                        "{dtype:?}, {rows} rows"
                    );
                }
                for output in [0, outputs / 2, outputs - 1] {
                    let (mut a, mut b) = (vec![f32::NAN; inputs], vec![f32::NAN; inputs]);
                    half.read_output(output, &mut a);
                    wide.read_output(output, &mut b);
                    assert_eq!(a, b);
                }
            }
        }
    }
}
