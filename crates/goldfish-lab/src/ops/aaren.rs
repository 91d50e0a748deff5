//! Attention of one learned query as a recurrence
//! ([Feng et al. 2024, "Attention as an RNN"](https://arxiv.org/abs/2405.13956), sections 3.1 and 3.3).

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};
use goldfish_backends::local::math::{exp, inner};

use super::operation::Operation;
use super::rows::{Rows, inputs, like, matrix, with_rows};
use super::sequences::{Sequence, Task, covers, scatter, tasks};

/// Attention of a query `[1, heads * head_dim]`, the same at all positions, over rows `[rows, 2 * heads * head_dim]` of keys and
/// values.
pub(crate) struct ScanSoftmax {
    pub(crate) sequences: Arc<[Sequence]>,
    pub(crate) heads: usize,
}

/// Gradients of one task: the query `[head_dim]`, keys and values `[rows, head_dim]`.
struct Gradients {
    query: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
}

/// What a position changes of the running softmax.
#[derive(Clone, Copy)]
struct Step {
    /// The weight of the position among all up to it.
    own: f32,
    /// The factor of the weights of all before it. Both sum to 1.
    before: f32,
}

impl ScanSoftmax {
    /// Keys and values of all heads.
    fn parts<'a>(&self, rows: Rows<'a>, query: Rows<'_>) -> Result<[Rows<'a>; 2]> {
        let width = query.width;
        if self.heads == 0 || !width.is_multiple_of(self.heads) || rows.width != 2 * width || query.count != 1
        {
            bail!("rows of {} for a query of {width} and {} heads", rows.width, self.heads);
        }
        covers(&self.sequences, rows.count)?;
        Ok([rows.columns(0..width), rows.columns(width..2 * width)])
    }

    /// The steps of a sequence: `m` is the largest score so far, `u` the sum of exponentials relative to it.
    #[inline(always)]
    fn steps(sequence: &Sequence, keys: Rows<'_>, query: &[f32], from: usize, steps: &mut Vec<Step>) {
        let scale = 1.0 / (query.len() as f32).sqrt();
        steps.clear();
        let (mut m, mut u) = (f32::NEG_INFINITY, 0f32);
        for row in sequence.clone() {
            let score = scale * inner(query, &keys.row(row)[from..from + query.len()]);
            let highest = m.max(score);
            // The first position has nothing before it.
            let before = if u == 0.0 { 0.0 } else { u * exp(m - highest) };
            let own = exp(score - highest);
            u = before + own;
            m = highest;
            steps.push(Step { own: own / u, before: before / u });
        }
    }

    #[inline(always)]
    fn outputs(&self, (sequence, head): &Task, [k, v, q]: [Rows<'_>; 3], steps: &mut Vec<Step>) -> Vec<f32> {
        let dim = q.width / self.heads;
        let from = head * dim;
        Self::steps(sequence, k, &q.row(0)[from..from + dim], from, steps);
        let mut out = vec![0f32; sequence.len() * dim];
        for (at, step) in steps.iter().enumerate() {
            let (done, rest) = out.split_at_mut(at * dim);
            let value = &v.row(sequence.start + at)[from..from + dim];
            match done.rchunks_exact(dim).next() {
                None => rest[..dim].copy_from_slice(value),
                Some(last) => {
                    for ((out, last), value) in rest[..dim].iter_mut().zip(last).zip(value) {
                        *out = step.own.mul_add(value - last, *last);
                    }
                }
            }
        }
        out
    }

    /// From the end: `P` sums the gradients of the outputs that hold a value, with the factors that it still has there, and
    /// `p` their products with the outputs.
    #[inline(always)]
    fn gradients(
        &self,
        (sequence, head): &Task,
        [k, v, q, out, gradient]: [Rows<'_>; 5],
        steps: &mut Vec<Step>,
    ) -> Gradients {
        let dim = q.width / self.heads;
        let own = head * dim..(head + 1) * dim;
        let query = &q.row(0)[own.clone()];
        Self::steps(sequence, k, query, own.start, steps);
        let scale = 1.0 / (dim as f32).sqrt();
        let zeros = |rows: usize| vec![0f32; rows * dim];
        let mut found =
            Gradients { query: zeros(1), keys: zeros(sequence.len()), values: zeros(sequence.len()) };
        let (mut sum, mut product, mut factor) = (zeros(1), 0f32, 0f32);
        for (at, step) in steps.iter().enumerate().rev() {
            let row = sequence.start + at;
            let of_out = &gradient.row(row)[own.clone()];
            for (sum, of_out) in sum.iter_mut().zip(of_out) {
                *sum = factor.mul_add(*sum, *of_out);
            }
            product = factor.mul_add(product, inner(of_out, &out.row(row)[own.clone()]));
            factor = step.before;
            let of_score = scale * step.own * (inner(&sum, &v.row(row)[own.clone()]) - product);
            let place = at * dim..(at + 1) * dim;
            for (of_value, sum) in found.values[place.clone()].iter_mut().zip(&sum) {
                *of_value = step.own * sum;
            }
            for (of_key, query) in found.keys[place].iter_mut().zip(query) {
                *of_key = of_score * query;
            }
            for (of_query, key) in found.query.iter_mut().zip(&k.row(row)[own.clone()]) {
                *of_query = of_score.mul_add(*key, *of_query);
            }
        }
        found
    }
}

impl Operation for ScanSoftmax {
    fn forward(&self, all: &[&Tensor]) -> Result<Tensor> {
        let [rows, query] = inputs(all)?;
        with_rows([rows, query], |[rows, query]| {
            let [k, v] = self.parts(rows, query)?;
            let done = tasks(
                &self.sequences,
                self.heads,
                #[inline(always)]
                |task, steps| self.outputs(task, [k, v, query], steps),
            );
            let mut out = vec![0f32; rows.count * query.width];
            let dim = query.width / self.heads;
            for ((sequence, head), values) in &done {
                scatter(sequence, values, head * dim..(head + 1) * dim, query.width, &mut out);
            }
            matrix(out, rows.count, query.width)
        })
    }

    fn backward(&self, all: &[&Tensor], output: &Tensor, gradient: &Tensor) -> Result<Vec<Tensor>> {
        let [rows, query] = inputs(all)?;
        let (mut of_rows, mut of_query) = (vec![0f32; rows.elem_count()], vec![0f32; query.elem_count()]);
        with_rows([rows, query, output, gradient], |[rows, query, out, gradient]| {
            let [k, v] = self.parts(rows, query)?;
            gradient.has_shape_of(&out)?;
            let done = tasks(
                &self.sequences,
                self.heads,
                #[inline(always)]
                |task, steps| self.gradients(task, [k, v, query, out, gradient], steps),
            );
            let dim = query.width / self.heads;
            for ((sequence, head), found) in &done {
                let own = head * dim..(head + 1) * dim;
                scatter(sequence, &found.keys, own.clone(), rows.width, &mut of_rows);
                let of_values = query.width + own.start..query.width + own.end;
                scatter(sequence, &found.values, of_values, rows.width, &mut of_rows);
                of_query[own].iter_mut().zip(&found.query).for_each(|(sum, part)| *sum += part);
            }
            Ok(())
        })?;
        Ok(vec![like(of_rows, rows)?, like(of_query, query)?])
    }
}
