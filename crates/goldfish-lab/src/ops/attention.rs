//! Causal attention within sequences of consecutive rows.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use goldfish_backends::local::math::{dot, exp, mix, sum, vectorized};
use rayon::prelude::*;

use super::rows::{Rows, matrix, sum_products, with_rows};

/// The rows of a sequence.
pub(crate) type Sequence = Range<usize>;

/// Attention of queries `[rows, heads * head_dim]` over keys and values `[rows, kv_heads * head_dim]`: a query sees the rows of its
/// sequence up to its own, `window` at most.
pub(crate) struct Attend {
    pub(crate) sequences: Arc<[Sequence]>,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) scale: f32,
    pub(crate) window: usize,
}

/// One sequence and one head of keys.
type Task = (Sequence, usize);

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
        self.heads / self.kv_heads
    }

    fn check(&self, [q, k, v]: [Rows<'_>; 3]) -> Result<()> {
        let (heads, kv_heads) = (self.heads, self.kv_heads);
        if kv_heads == 0 || heads % kv_heads != 0 || q.width * kv_heads != k.width * heads {
            bail!("{heads} heads of {} and {kv_heads} of {} don't fit", q.width, k.width);
        }
        v.has_shape_of(&k)?;
        // Every row is in exactly one sequence.
        let ends = self.sequences.iter().try_fold(0, |end, next| (next.start == end).then_some(next.end));
        if ends != Some(q.count) || k.count != q.count {
            bail!("the sequences don't cover {} rows", q.count);
        }
        Ok(())
    }

    /// Calls `work` for each sequence and head of keys.
    fn tasks<R: Send>(&self, work: impl Fn(&Task, &mut Scratch) -> R + Sync) -> Vec<(Task, R)> {
        let tasks: Vec<Task> = self
            .sequences
            .iter()
            .flat_map(|sequence| (0..self.kv_heads).map(move |head| (sequence.clone(), head)))
            .collect();
        let done = tasks.into_par_iter().map_init(Scratch::default, |scratch, task| {
            let result = vectorized(
                #[inline(always)]
                || work(&task, scratch),
            );
            (task, result)
        });
        done.collect()
    }

    /// Gives the weights of a query at `position`, and the first position that it sees.
    #[inline(always)]
    fn weigh(&self, query: &[f32], position: usize, keys: &[f32], weights: &mut Vec<f32>) -> usize {
        let start = (position + 1).saturating_sub(self.window);
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
            let start = self.weigh(query, position, &scratch.transposed_keys, &mut scratch.weights);
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
            self.head_back(dim, member, scratch, &mut found);
        }
        found
    }

    /// With `w` the weights of a query and `g` their gradients, the scores have the gradients `w * (g - sum(w * g))`.
    #[inline(always)]
    fn head_back(&self, dim: usize, member: usize, scratch: &mut Scratch, found: &mut Gradients) {
        let length = scratch.queries.len() / dim;
        // Only what a query sees is written, and only that is read.
        scratch.all_weights.resize(length * length, 0.0);
        scratch.all_slopes.resize(length * length, 0.0);
        for position in 0..length {
            let own = position * dim..(position + 1) * dim;
            let query = &scratch.queries[own.clone()];
            let start = self.weigh(query, position, &scratch.transposed_keys, &mut scratch.weights);
            scratch.slopes.clear();
            scratch.slopes.resize(scratch.weights.len(), 0.0);
            dot(&scratch.grads[own], &scratch.transposed_values, start, &mut scratch.slopes);
            let mean = sum_products(&scratch.weights, &scratch.slopes);
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
            let end = key.saturating_add(self.window).min(length);
            let weights = key * length + key..key * length + end;
            mix(&scratch.all_slopes[weights.clone()], &scratch.queries[key * dim..end * dim], of_key);
            mix(&scratch.all_weights[weights], &scratch.grads[key * dim..end * dim], of_value);
        }
    }
}

impl CustomOp3 for Attend {
    fn name(&self) -> &'static str {
        "attend"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        ql: &Layout,
        k: &CpuStorage,
        kl: &Layout,
        v: &CpuStorage,
        vl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let rows @ [q, k, v] = [Rows::new(q, ql)?, Rows::new(k, kl)?, Rows::new(v, vl)?];
        self.check([q, k, v])?;
        let done = self.tasks(
            #[inline(always)]
            |task, scratch| self.forward(task, rows, scratch),
        );
        let mut out = vec![0f32; q.count * q.width];
        for (task, values) in &done {
            scatter(task, values, q.width / self.kv_heads, q.width, &mut out);
        }
        Ok(matrix(out, q.count, q.width))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let mut made = [q, k, v].map(|tensor| vec![0f32; tensor.elem_count()]);
        with_rows([q, k, v, grad], |rows @ [q, k, _, grad]| {
            grad.has_shape_of(&q)?;
            let done = self.tasks(
                #[inline(always)]
                |task, scratch| self.backward(task, rows, scratch),
            );
            let [of_q, of_k, of_v] = &mut made;
            for (task, found) in &done {
                scatter(task, &found.queries, q.width / self.kv_heads, q.width, of_q);
                scatter(task, &found.keys, k.width / self.kv_heads, k.width, of_k);
                scatter(task, &found.values, k.width / self.kv_heads, k.width, of_v);
            }
            Ok(())
        })?;
        let [of_q, of_k, of_v] = made;
        let tensor = |values, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device()).map(Some);
        Ok((tensor(of_q, q)?, tensor(of_k, k)?, tensor(of_v, v)?))
    }
}

/// Copies some columns of a sequence's rows.
#[inline(always)]
fn gather(rows: Rows<'_>, sequence: &Sequence, columns: Range<usize>, out: &mut Vec<f32>) {
    out.clear();
    for row in sequence.clone() {
        out.extend_from_slice(&rows.row(row)[columns.clone()]);
    }
}

/// Puts a task's rows of `own` elements into their columns.
fn scatter((sequence, head): &Task, values: &[f32], own: usize, width: usize, out: &mut [f32]) {
    for (row, values) in sequence.clone().zip(values.chunks_exact(own)) {
        out[row * width + head * own..][..own].copy_from_slice(values);
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
