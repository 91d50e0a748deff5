//! Learned features for linear attention
//! ([Zhang et al. 2024, "The Hedgehog & the Porcupine"](https://arxiv.org/abs/2402.04347), section 4.1).

use candle_core::{Result, Tensor, bail};
use goldfish_backends::local::math::{inner, mix, softmax, vectorized};
use rayon::prelude::*;

use super::operation::Operation;
use super::rows::{Rows, fill_rows, inputs, like, matrix, with_rows};

/// The features `[softmax(W x), softmax(-W x)]` of each head's query and key, with a matrix `W` `[head_dim, head_dim]` a head for
/// queries and another for keys. Rows `[rows, 3 * heads * head_dim]` of queries, keys and values become rows of features, twice as
/// wide, and the same values.
pub(crate) struct SoftmaxFeatures {
    pub(crate) heads: usize,
}

/// Rows whose part of the matrices' gradients is summed by one thread.
const BLOCK: usize = 64;

impl SoftmaxFeatures {
    /// The size of a head.
    fn head_dim(&self, x: Rows<'_>, weights: [Rows<'_>; 2]) -> Result<usize> {
        let dim = weights[0].width;
        if x.width != 3 * self.heads * dim {
            bail!("rows of {} for {} heads of {dim}", x.width, self.heads);
        }
        weights.iter().try_for_each(|weight| weight.has_shape(self.heads * dim, dim))?;
        Ok(dim)
    }

    /// Features of one head: `[2 * head_dim]`.
    #[inline(always)]
    fn features(x: &[f32], weight: Rows<'_>, head: usize, out: &mut [f32]) {
        let dim = x.len();
        let (positive, negative) = out.split_at_mut(dim);
        for (d, out) in positive.iter_mut().enumerate() {
            *out = inner(weight.row(head * dim + d), x);
        }
        for (negative, positive) in negative.iter_mut().zip(&*positive) {
            *negative = -positive;
        }
        softmax(positive);
        softmax(negative);
    }

    /// Adds the gradient of one head's matrix, and writes that of its query or key.
    #[inline(always)]
    fn features_back(
        [x, features, gradient]: [&[f32]; 3],
        weight: Rows<'_>,
        head: usize,
        [of_x, of_weight]: [&mut [f32]; 2],
        slopes: &mut Vec<f32>,
    ) {
        let dim = x.len();
        let halves = |values| -> (&[f32], &[f32]) { <[f32]>::split_at(values, dim) };
        let ((positive, negative), (of_positive, of_negative)) = (halves(features), halves(gradient));
        let means = [inner(positive, of_positive), inner(negative, of_negative)];
        slopes.clear();
        slopes.extend(
            (0..dim).map(|d| {
                positive[d] * (of_positive[d] - means[0]) - negative[d] * (of_negative[d] - means[1])
            }),
        );
        for (d, slope) in slopes.iter().enumerate() {
            mix(&[*slope], weight.row(head * dim + d), of_x);
            mix(&[*slope], x, &mut of_weight[(head * dim + d) * dim..][..dim]);
        }
    }
}

impl Operation for SoftmaxFeatures {
    fn forward(&self, all: &[&Tensor]) -> Result<Tensor> {
        let [x, queries, keys] = inputs(all)?;
        with_rows([x, queries, keys], |[x, queries, keys]| {
            let dim = self.head_dim(x, [queries, keys])?;
            let own = self.heads * dim;
            let values = fill_rows(
                x.count,
                5 * own,
                #[inline(always)]
                |row, out| {
                    let (features, out_values) = out.split_at_mut(4 * own);
                    out_values.copy_from_slice(&x.row(row)[2 * own..]);
                    let parts = x.row(row).chunks_exact(dim).zip(features.chunks_exact_mut(2 * dim));
                    for (number, (x, out)) in parts.enumerate() {
                        let weight = if number < self.heads { queries } else { keys };
                        Self::features(x, weight, number % self.heads, out);
                    }
                },
            );
            matrix(values, x.count, 5 * own)
        })
    }

    fn backward(&self, all: &[&Tensor], output: &Tensor, gradient: &Tensor) -> Result<Vec<Tensor>> {
        let [x, queries, keys] = inputs(all)?;
        let width = x.dim(1)?;
        let mut of_x = vec![0f32; x.elem_count()];
        let count = queries.elem_count();
        let parts: Vec<Vec<f32>> =
            with_rows([x, queries, keys, output, gradient], |[x, queries, keys, output, gradient]| {
                let dim = self.head_dim(x, [queries, keys])?;
                gradient.has_shape_of(&output)?;
                let own = self.heads * dim;
                let blocks = of_x.par_chunks_mut(BLOCK * width).enumerate().map(|(block, of_x)| {
                    let (mut of_weights, mut slopes) = (vec![0f32; 2 * count], Vec::new());
                    vectorized(
                        #[inline(always)]
                        || {
                            for (at, of_x) in of_x.chunks_exact_mut(width).enumerate() {
                                let row = block * BLOCK + at;
                                let (of_mapped, of_values) = of_x.split_at_mut(2 * own);
                                of_values.copy_from_slice(&gradient.row(row)[4 * own..]);
                                for (number, of_x) in of_mapped.chunks_exact_mut(dim).enumerate() {
                                    let features = 2 * number * dim..2 * (number + 1) * dim;
                                    let known = [
                                        &x.row(row)[number * dim..(number + 1) * dim],
                                        &output.row(row)[features.clone()],
                                        &gradient.row(row)[features],
                                    ];
                                    let (of_queries, of_keys) = of_weights.split_at_mut(count);
                                    let (weight, of_weight) = match number < self.heads {
                                        true => (queries, of_queries),
                                        false => (keys, of_keys),
                                    };
                                    let head = number % self.heads;
                                    Self::features_back(known, weight, head, [of_x, of_weight], &mut slopes);
                                }
                            }
                        },
                    );
                    of_weights
                });
                Ok(blocks.collect())
            })?;
        let mut of_weights = vec![0f32; 2 * count];
        for part in &parts {
            of_weights.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        let of_keys = of_weights.split_off(count);
        Ok(vec![like(of_x, x)?, like(of_weights, queries)?, like(of_keys, keys)?])
    }
}
