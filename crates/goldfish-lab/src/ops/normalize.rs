use candle_core::{Result, Tensor};
use goldfish_backends::local::math::{inner, sum, vectorized};
use rayon::prelude::*;

use super::operation::Operation;
use super::rows::{fill_rows, inputs, like, matrix, with_rows};

/// RMS norm of rows, times a weight.
pub(crate) struct Normalize {
    pub(crate) epsilon: f32,
}

/// Rows whose part of the weight's gradient is summed by one thread.
const BLOCK: usize = 64;

impl Normalize {
    #[inline(always)]
    fn scale(&self, x: &[f32]) -> f32 {
        1.0 / (sum(x, |x| x * x) / x.len() as f32 + self.epsilon).sqrt()
    }

    /// With `n` the normal values and `g` the gradient times the weight: `scale * (g - n * mean(g * n))`.
    #[inline(always)]
    fn row_back(&self, [x, weight, grad]: [&[f32]; 3], of_x: &mut [f32], of_weight: &mut [f32]) {
        let scale = self.scale(x);
        for ((of_x, grad), weight) in of_x.iter_mut().zip(grad).zip(weight) {
            *of_x = grad * weight;
        }
        let along = scale * scale * inner(of_x, x) / x.len() as f32;
        for (of_x, x) in of_x.iter_mut().zip(x) {
            *of_x = scale * (*of_x - x * along);
        }
        for ((of_weight, grad), x) in of_weight.iter_mut().zip(grad).zip(x) {
            *of_weight = grad.mul_add(x * scale, *of_weight);
        }
    }
}

impl Operation for Normalize {
    fn forward(&self, all: &[&Tensor]) -> Result<Tensor> {
        let [x, weight] = inputs(all)?;
        with_rows([x, weight], |[x, weight]| {
            weight.has_shape(1, x.width)?;
            let weight = weight.row(0);
            let values = fill_rows(
                x.count,
                x.width,
                #[inline(always)]
                |row, out| {
                    let x = x.row(row);
                    let scale = self.scale(x);
                    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
                        *out = x * scale * weight;
                    }
                },
            );
            matrix(values, x.count, x.width)
        })
    }

    fn backward(&self, all: &[&Tensor], _: &Tensor, gradient: &Tensor) -> Result<Vec<Tensor>> {
        let [x, weight] = inputs(all)?;
        let width = x.dim(1)?;
        let mut of_x = vec![0f32; x.elem_count()];
        let parts: Vec<Vec<f32>> = with_rows([x, weight, gradient], |[x, weight, gradient]| {
            gradient.has_shape_of(&x)?;
            let weight = weight.row(0);
            let blocks = of_x.par_chunks_mut(BLOCK * width).enumerate().map(|(block, of_x)| {
                let mut of_weight = vec![0f32; width];
                vectorized(
                    #[inline(always)]
                    || {
                        for (row, of_x) in of_x.chunks_exact_mut(width).enumerate() {
                            let row = block * BLOCK + row;
                            self.row_back([x.row(row), weight, gradient.row(row)], of_x, &mut of_weight);
                        }
                    },
                );
                of_weight
            });
            Ok(blocks.collect())
        })?;
        let mut of_weight = vec![0f32; width];
        for part in &parts {
            of_weight.iter_mut().zip(part).for_each(|(total, part)| *total += part);
        }
        Ok(vec![like(of_x, x)?, like(of_weight, weight)?])
    }
}
