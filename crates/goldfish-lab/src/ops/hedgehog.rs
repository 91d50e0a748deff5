//! Learned features for linear attention
//! ([Zhang et al. 2024, "The Hedgehog & the Porcupine"](https://arxiv.org/abs/2402.04347), section 4.1).

use std::ops::Range;

use candle_core::{Result, Tensor, bail};
use goldfish_backends::local::math::{inner, softmax, vectorized};
use rayon::prelude::*;

use super::operation::Operation;
use super::rows::{Rows, inputs, like, matrix, with_rows};
use super::sequences::parts;
use super::tiles::{Panels, TILE, Tiles, elements};

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

    /// The matrices of all heads, those for queries first, or their transposes.
    fn matrices(&self, weights: [Rows<'_>; 2], dim: usize, transposed: bool) -> Vec<Panels> {
        let matrix = |number: usize| {
            let weight = weights[number / self.heads];
            let rows = (0..dim).map(move |d| weight.row(number % self.heads * dim + d));
            let mut panels = Panels::default();
            match transposed {
                true => panels.pack_columns(rows, [dim, dim]),
                false => panels.pack(rows, [dim, dim]),
            }
            panels
        };
        (0..2 * self.heads).map(matrix).collect()
    }

    /// The features of a row of a head's products: `[2 * head_dim]`.
    #[inline(always)]
    fn features(products: &[f32], out: &mut [f32]) {
        let (positive, negative) = out.split_at_mut(products.len());
        positive.copy_from_slice(products);
        for (negative, product) in negative.iter_mut().zip(products) {
            *negative = -product;
        }
        softmax(positive);
        softmax(negative);
    }

    /// The gradients of a row of a head's products.
    #[inline(always)]
    fn slopes(features: &[f32], gradient: &[f32], slopes: &mut [f32]) {
        let dim = slopes.len();
        let ((positive, negative), (of_positive, of_negative)) =
            (features.split_at(dim), gradient.split_at(dim));
        let (negative, of_negative) = (&negative[..dim], &of_negative[..dim]);
        let means = [inner(positive, of_positive), inner(negative, of_negative)];
        for (d, slope) in slopes.iter_mut().enumerate() {
            *slope = positive[d] * (of_positive[d] - means[0]) - negative[d] * (of_negative[d] - means[1]);
        }
    }
}

impl Operation for SoftmaxFeatures {
    fn forward(&self, all: &[&Tensor]) -> Result<Tensor> {
        let [x, queries, keys] = inputs(all)?;
        with_rows([x, queries, keys], |[x, queries, keys]| {
            let dim = self.head_dim(x, [queries, keys])?;
            let own = self.heads * dim;
            let matrices = self.matrices([queries, keys], dim, true);
            let mut values = vec![0f32; x.count * 5 * own];
            values.par_chunks_mut(BLOCK * 5 * own).enumerate().for_each(|(block, out)| {
                let rows = block * BLOCK..x.count.min((block + 1) * BLOCK);
                let (mut inputs, mut products) = (Tiles::default(), Tiles::default());
                products.clear(TILE, dim);
                vectorized(
                    #[inline(always)]
                    || {
                        for (number, matrix) in matrices.iter().enumerate() {
                            let columns = number * dim..(number + 1) * dim;
                            inputs.pack(parts(x, &rows, &columns), [rows.len(), dim]);
                            for first in (0..rows.len()).step_by(TILE) {
                                let inputs = elements(inputs.tile(first), 0..dim);
                                matrix.multiply(inputs, 0, 0..matrix.panels(), products.tile_mut(0));
                                for row in first..rows.len().min(first + TILE) {
                                    let products = &products.row(row % TILE).as_flattened()[..dim];
                                    let out = &mut out[row * 5 * own + 2 * columns.start..][..2 * dim];
                                    Self::features(products, out);
                                }
                            }
                        }
                        for (row, out) in rows.clone().zip(out.chunks_exact_mut(5 * own)) {
                            out[4 * own..].copy_from_slice(&x.row(row)[2 * own..]);
                        }
                    },
                );
            });
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
                let matrices = self.matrices([queries, keys], dim, false);
                let blocks = of_x.par_chunks_mut(BLOCK * width).enumerate().map(|(block, of_x)| {
                    let rows = block * BLOCK..x.count.min((block + 1) * BLOCK);
                    let mut of_weights = vec![0f32; 2 * count];
                    let mut scratch = Scratch::default();
                    vectorized(
                        #[inline(always)]
                        || {
                            for (row, of_x) in rows.clone().zip(of_x.chunks_exact_mut(width)) {
                                of_x[2 * own..].copy_from_slice(&gradient.row(row)[4 * own..]);
                            }
                            for (number, matrix) in matrices.iter().enumerate() {
                                let of_weight = &mut of_weights[number * dim * dim..][..dim * dim];
                                let place = (&rows, number * dim);
                                scratch.head_back(place, matrix, [x, output, gradient], of_x, of_weight);
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

/// What the gradients of a block of rows need.
#[derive(Default)]
struct Scratch {
    inputs: Tiles,
    slopes: Tiles,
    of_inputs: Tiles,
    of_matrix: Panels,
}

impl Scratch {
    /// Writes the gradients of one head's queries or keys, which begin at a column of `x`, and of their matrix.
    #[inline(always)]
    fn head_back(
        &mut self,
        (rows, column): (&Range<usize>, usize),
        matrix: &Panels,
        [x, features, gradient]: [Rows<'_>; 3],
        of_x: &mut [f32],
        of_weight: &mut [f32],
    ) {
        let (width, dim) = (x.width, of_weight.len().isqrt());
        let Self { inputs, slopes, of_inputs, of_matrix } = self;
        inputs.pack(parts(x, rows, &(column..column + dim)), [rows.len(), dim]);
        slopes.clear(rows.len(), dim);
        of_inputs.clear(TILE, dim);
        of_matrix.clear(dim, dim);
        for (index, row) in rows.clone().enumerate() {
            let own = 2 * column..2 * (column + dim);
            let slopes = &mut slopes.row_mut(index).as_flattened_mut()[..dim];
            SoftmaxFeatures::slopes(&features.row(row)[own.clone()], &gradient.row(row)[own], slopes);
        }
        for first in (0..rows.len()).step_by(TILE) {
            let slopes = elements(slopes.tile(first), 0..dim);
            matrix.multiply(slopes, 0, 0..matrix.panels(), of_inputs.tile_mut(0));
            for row in first..rows.len().min(first + TILE) {
                let out = &mut of_x[row * width + column..][..dim];
                out.copy_from_slice(&of_inputs.row(row % TILE).as_flattened()[..dim]);
            }
            of_matrix.add(slopes, 0, inputs.tile(first));
        }
        for (row, out) in of_weight.chunks_exact_mut(dim).enumerate() {
            of_matrix.copy_row(row, out);
        }
    }
}
