//! Causal attention within sequences of consecutive rows.

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};
use goldfish_backends::local::math::{dot, exp, inner, mix, sum};

use super::operation::Operation;
use super::rows::{Rows, inputs, like, matrix, with_rows};
use super::sequences::{Sequence, Task, covers, gather, scatter, tasks};

/// Attention of queries over keys and values: rows `[rows, (heads + 2 * kv_heads) * head_dim]` hold the queries of all heads, then
/// the keys, then the values. A query sees the rows of its sequence up to its own, as many as its head's window at most.
pub(crate) struct Attend {
    pub(crate) sequences: Arc<[Sequence]>,
    pub(crate) kv_heads: usize,
    pub(crate) scale: f32,
    /// One a head of queries.
    pub(crate) windows: Arc<[usize]>,
}

/// What a thread keeps from task to task.
#[derive(Default)]
struct Scratch {
    /// Keys and values of one head, `[rows, head_dim]`, and transposed: `[head_dim, rows]`.
    keys: Vec<f32>,
    transposed_keys: Vec<f32>,
    values: Vec<f32>,
    transposed_values: Vec<f32>,
    /// Queries of one head, and the gradient of what it gave.
    queries: Vec<f32>,
    grads: Vec<f32>,
    weights: Vec<f32>,
    slopes: Vec<f32>,
    /// Weights and their slopes, `[keys, queries]`.
    all_weights: Vec<f32>,
    all_slopes: Vec<f32>,
}

/// Gradients of one task: queries `[rows, heads of the group, head_dim]`, keys and values `[rows, head_dim]`.
struct Gradients {
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Attend {
    fn group(&self) -> usize {
        self.windows.len() / self.kv_heads
    }

    /// Queries, keys and values.
    fn parts<'a>(&self, all: Rows<'a>) -> Result<[Rows<'a>; 3]> {
        let (heads, kv_heads) = (self.windows.len(), self.kv_heads);
        if kv_heads == 0 || !heads.is_multiple_of(kv_heads) || !all.width.is_multiple_of(heads + 2 * kv_heads)
        {
            bail!("rows of {} for {heads} heads and {kv_heads} of keys", all.width);
        }
        covers(&self.sequences, all.count)?;
        let dim = all.width / (heads + 2 * kv_heads);
        let (own, shared) = (heads * dim, kv_heads * dim);
        Ok([0..own, own..own + shared, own + shared..all.width].map(|columns| all.columns(columns)))
    }

    /// Gives the weights of a query at `position`, and the first position that it sees.
    #[inline(always)]
    fn weigh(
        &self,
        query: &[f32],
        [position, window]: [usize; 2],
        keys: &[f32],
        weights: &mut Vec<f32>,
    ) -> usize {
        let start = (position + 1).saturating_sub(window);
        weights.clear();
        weights.resize(position + 1 - start, 0.0);
        dot(query, keys, start, weights);
        for weight in weights.iter_mut() {
            *weight *= self.scale;
        }
        let highest = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for weight in weights.iter_mut() {
            *weight = exp(*weight - highest);
        }
        let whole = 1.0 / sum(weights, |weight| weight);
        for weight in weights.iter_mut() {
            *weight *= whole;
        }
        start
    }

    #[inline(always)]
    fn forward(
        &self,
        (sequence, kv_head): &Task,
        [q, k, v]: [Rows<'_>; 3],
        scratch: &mut Scratch,
    ) -> Vec<f32> {
        let (dim, group) = (k.width / self.kv_heads, self.group());
        let own = kv_head * dim..(kv_head + 1) * dim;
        gather(k, sequence, own.clone(), &mut scratch.keys);
        transpose(&scratch.keys, dim, &mut scratch.transposed_keys);
        gather(v, sequence, own, &mut scratch.values);
        let mut out = vec![0f32; sequence.len() * group * dim];
        for (index, out) in out.chunks_exact_mut(dim).enumerate() {
            let (position, head) = (index / group, kv_head * group + index % group);
            let query = &q.row(sequence.start + position)[head * dim..(head + 1) * dim];
            let reach = [position, self.windows[head]];
            let start = self.weigh(query, reach, &scratch.transposed_keys, &mut scratch.weights);
            mix(&scratch.weights, &scratch.values[start * dim..(position + 1) * dim], out);
        }
        out
    }

    #[inline(always)]
    fn backward(
        &self,
        (sequence, kv_head): &Task,
        [q, k, v, grad]: [Rows<'_>; 4],
        scratch: &mut Scratch,
    ) -> Gradients {
        let (dim, group, length) = (k.width / self.kv_heads, self.group(), sequence.len());
        let own = kv_head * dim..(kv_head + 1) * dim;
        gather(k, sequence, own.clone(), &mut scratch.keys);
        transpose(&scratch.keys, dim, &mut scratch.transposed_keys);
        gather(v, sequence, own, &mut scratch.values);
        transpose(&scratch.values, dim, &mut scratch.transposed_values);
        let zeros = |width: usize| vec![0f32; length * width];
        let mut found = Gradients { queries: zeros(group * dim), keys: zeros(dim), values: zeros(dim) };
        for member in 0..group {
            let head = kv_head * group + member;
            gather(q, sequence, head * dim..(head + 1) * dim, &mut scratch.queries);
            gather(grad, sequence, head * dim..(head + 1) * dim, &mut scratch.grads);
            self.head_back([dim, member, self.windows[head]], scratch, &mut found);
        }
        found
    }

    /// With `w` the weights of a query and `g` their gradients, the scores have the gradients `w * (g - sum(w * g))`.
    #[inline(always)]
    fn head_back(&self, [dim, member, window]: [usize; 3], scratch: &mut Scratch, found: &mut Gradients) {
        let length = scratch.queries.len() / dim;
        // Only what a query sees is written, and only that is read.
        scratch.all_weights.resize(length * length, 0.0);
        scratch.all_slopes.resize(length * length, 0.0);
        for position in 0..length {
            let own = position * dim..(position + 1) * dim;
            let query = &scratch.queries[own.clone()];
            let reach = [position, window];
            let start = self.weigh(query, reach, &scratch.transposed_keys, &mut scratch.weights);
            scratch.slopes.clear();
            scratch.slopes.resize(scratch.weights.len(), 0.0);
            dot(&scratch.grads[own], &scratch.transposed_values, start, &mut scratch.slopes);
            let mean = inner(&scratch.weights, &scratch.slopes);
            for (slope, weight) in scratch.slopes.iter_mut().zip(&scratch.weights) {
                *slope = self.scale * weight * (*slope - mean);
            }
            let out = &mut found.queries[(position * self.group() + member) * dim..][..dim];
            mix(&scratch.slopes, &scratch.keys[start * dim..(position + 1) * dim], out);
            for (key, (weight, slope)) in scratch.weights.iter().zip(&scratch.slopes).enumerate() {
                scratch.all_weights[(start + key) * length + position] = *weight;
                scratch.all_slopes[(start + key) * length + position] = *slope;
            }
        }
        let rows = found.keys.chunks_exact_mut(dim).zip(found.values.chunks_exact_mut(dim));
        for (key, (of_key, of_value)) in rows.enumerate() {
            // The queries that see this key.
            let end = key.saturating_add(window).min(length);
            let weights = key * length + key..key * length + end;
            mix(&scratch.all_slopes[weights.clone()], &scratch.queries[key * dim..end * dim], of_key);
            mix(&scratch.all_weights[weights], &scratch.grads[key * dim..end * dim], of_value);
        }
    }
}

impl Operation for Attend {
    fn forward(&self, all: &[&Tensor]) -> Result<Tensor> {
        let [all] = inputs(all)?;
        with_rows([all], |[all]| {
            let rows @ [q, ..] = self.parts(all)?;
            let done = tasks(
                &self.sequences,
                self.kv_heads,
                #[inline(always)]
                |task, scratch: &mut Scratch| self.forward(task, rows, scratch),
            );
            let mut out = vec![0f32; q.count * q.width];
            let own = q.width / self.kv_heads;
            for ((sequence, head), values) in &done {
                scatter(sequence, values, head * own..(head + 1) * own, q.width, &mut out);
            }
            matrix(out, q.count, q.width)
        })
    }

    fn backward(&self, all: &[&Tensor], _: &Tensor, gradient: &Tensor) -> Result<Vec<Tensor>> {
        let [all] = inputs(all)?;
        let mut out = vec![0f32; all.elem_count()];
        with_rows([all, gradient], |[all, gradient]| {
            let [q, k, v] = self.parts(all)?;
            gradient.has_shape_of(&q)?;
            let done = tasks(
                &self.sequences,
                self.kv_heads,
                #[inline(always)]
                |task, scratch: &mut Scratch| self.backward(task, [q, k, v, gradient], scratch),
            );
            for ((sequence, head), found) in &done {
                let mut start = 0;
                for (part, values) in [(q, &found.queries), (k, &found.keys), (v, &found.values)] {
                    let own = part.width / self.kv_heads;
                    let columns = start + head * own..start + (head + 1) * own;
                    scatter(sequence, values, columns, all.width, &mut out);
                    start += part.width;
                }
            }
            Ok(())
        })?;
        Ok(vec![like(out, all)?])
    }
}

/// `[rows, dim]` to `[dim, rows]`.
#[inline(always)]
fn transpose(values: &[f32], dim: usize, out: &mut Vec<f32>) {
    let length = values.len() / dim;
    out.clear();
    out.resize(values.len(), 0.0);
    for (index, row) in values.chunks_exact(dim).enumerate() {
        for (d, value) in row.iter().enumerate() {
            out[d * length + index] = *value;
        }
    }
}
