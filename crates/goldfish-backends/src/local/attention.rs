//! Causal attention over packed rows.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, bail};
use rayon::prelude::*;

use super::math::{exp, sum, tanh, vectorized};
use super::ops::Rows;

/// Neighbouring rows of one sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The rows among those that are computed.
    pub rows: Range<usize>,
    /// Position of the first of them in its sequence.
    pub first: usize,
    /// Where keys and values of positions 0 to the last row's stand: rows computed together, or of a cache.
    pub path: Vec<u32>,
}

/// Attention of queries `[rows, heads * head_dim]` over keys and values `[rows, kv_heads * head_dim]`.
///
/// A query sees the positions up to its own along the path of its span, and sums in their order: what else is computed
/// together with it changes no bit.
pub(super) struct Attend {
    pub(super) spans: Arc<[Span]>,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) scale: f32,
    pub(super) softcap: Option<f32>,
    /// How many positions a query sees, its own included.
    pub(super) window: usize,
}

/// Queries that a task takes; it copies their keys first.
const QUERIES: usize = 64;

struct Task<'a> {
    span: &'a Span,
    /// Rows of the span, relative to its first.
    queries: Range<usize>,
    kv_head: usize,
}

/// Keys of one head, transposed so that a query meets many of them at once, and values.
#[derive(Default)]
struct Scratch {
    keys: Vec<f32>,
    values: Vec<f32>,
    scores: Vec<f32>,
}

impl Attend {
    fn first_seen(&self, position: usize) -> usize {
        (position + 1).saturating_sub(self.window)
    }

    #[inline(always)]
    fn run(&self, task: &Task<'_>, [q, k, v]: [Rows<'_>; 3], scratch: &mut Scratch) -> Vec<f32> {
        let dim = k.width / self.kv_heads;
        let group = self.heads / self.kv_heads;
        let first = task.span.first + task.queries.start;
        let end = task.span.first + task.queries.end;
        let seen = self.first_seen(first)..end;
        let length = seen.len();
        let path = &task.span.path[seen.clone()];
        scratch.keys.clear();
        scratch.keys.resize(length * dim, 0.0);
        scratch.values.clear();
        let own = task.kv_head * dim..(task.kv_head + 1) * dim;
        for (place, row) in path.iter().enumerate() {
            for (d, key) in k.row(*row as usize)[own.clone()].iter().enumerate() {
                scratch.keys[d * length + place] = *key;
            }
            scratch.values.extend_from_slice(&v.row(*row as usize)[own.clone()]);
        }
        let mut out = vec![0f32; task.queries.len() * group * dim];
        let mut outs = out.chunks_exact_mut(dim);
        for query in task.queries.clone() {
            let position = task.span.first + query;
            let visible = self.first_seen(position) - seen.start..position + 1 - seen.start;
            let row = q.row(task.span.rows.start + query);
            for head in task.kv_head * group..(task.kv_head + 1) * group {
                let Some(out) = outs.next() else { return out };
                let scores = &mut scratch.scores;
                scores.clear();
                scores.resize(visible.len(), 0.0);
                dot(&row[head * dim..(head + 1) * dim], &scratch.keys, length, visible.start, scores);
                self.soften(scores);
                let values = &scratch.values[visible.start * dim..visible.end * dim];
                mix(scores, values, out);
            }
        }
        out
    }

    /// Scores to weights that sum to 1.
    #[inline(always)]
    fn soften(&self, scores: &mut [f32]) {
        for score in scores.iter_mut() {
            *score *= self.scale;
        }
        if let Some(cap) = self.softcap {
            for score in scores.iter_mut() {
                *score = cap * tanh(*score / cap);
            }
        }
        let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for score in scores.iter_mut() {
            *score = exp(*score - highest);
        }
        let total = sum(scores, |weight| weight);
        for score in scores.iter_mut() {
            *score /= total;
        }
    }
}

/// Adds the products of a query with keys from `start` on to the scores.
#[inline(always)]
fn dot(query: &[f32], keys: &[f32], length: usize, start: usize, scores: &mut [f32]) {
    let count = scores.len();
    let lane = |d: usize| &keys[d * length + start..][..count];
    let mut d = 0;
    while d + 4 <= query.len() {
        let (a, b, c, e) = (lane(d), lane(d + 1), lane(d + 2), lane(d + 3));
        for j in 0..count {
            let s = query[d].mul_add(a[j], scores[j]);
            let s = query[d + 1].mul_add(b[j], s);
            let s = query[d + 2].mul_add(c[j], s);
            scores[j] = query[d + 3].mul_add(e[j], s);
        }
        d += 4;
    }
    for (d, query) in query.iter().enumerate().skip(d) {
        for (score, key) in scores.iter_mut().zip(lane(d)) {
            *score = query.mul_add(*key, *score);
        }
    }
}

/// Sums values by their weights.
#[inline(always)]
fn mix(weights: &[f32], values: &[f32], out: &mut [f32]) {
    let dim = out.len();
    let four = weights.chunks_exact(4);
    let done = weights.len() - four.remainder().len();
    for (w, rows) in four.zip(values.chunks_exact(4 * dim)) {
        let (a, rows) = rows.split_at(dim);
        let (b, rows) = rows.split_at(dim);
        let (c, e) = rows.split_at(dim);
        for d in 0..dim {
            let s = w[0].mul_add(a[d], out[d]);
            let s = w[1].mul_add(b[d], s);
            let s = w[2].mul_add(c[d], s);
            out[d] = w[3].mul_add(e[d], s);
        }
    }
    for (weight, row) in weights[done..].iter().zip(values[done * dim..].chunks_exact(dim)) {
        for (out, value) in out.iter_mut().zip(row) {
            *out = weight.mul_add(*value, *out);
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
        let [q, k, v] = [Rows::new(q, ql)?, Rows::new(k, kl)?, Rows::new(v, vl)?];
        let (heads, kv_heads) = (self.heads, self.kv_heads);
        if kv_heads == 0
            || heads % kv_heads != 0
            || q.width * kv_heads != k.width * heads
            || k.width != v.width
        {
            bail!("{heads} heads of {} and {kv_heads} of {} don't fit", q.width, k.width);
        }
        let group = q.width / kv_heads;
        let mut tasks = Vec::new();
        for span in self.spans.iter() {
            let length = span.rows.len();
            let fits = span.path.len() == span.first + length && span.rows.end <= q.count;
            if !fits || span.path.iter().any(|row| *row as usize >= k.count) {
                bail!("a span leaves the rows");
            }
            for start in (0..length).step_by(QUERIES) {
                let queries = start..(start + QUERIES).min(length);
                tasks.extend((0..kv_heads).map(|kv_head| Task { span, queries: queries.clone(), kv_head }));
            }
        }
        let done: Vec<Vec<f32>> = tasks
            .par_iter()
            .map_init(Scratch::default, |scratch, task| {
                vectorized(
                    #[inline(always)]
                    || self.run(task, [q, k, v], scratch),
                )
            })
            .collect();
        let mut out = vec![0f32; q.count * q.width];
        for (task, values) in tasks.iter().zip(&done) {
            let first = task.span.rows.start + task.queries.start;
            for (row, values) in values.chunks_exact(group).enumerate() {
                out[(first + row) * q.width + task.kv_head * group..][..group].copy_from_slice(values);
            }
        }
        Ok((CpuStorage::F32(out), Shape::from((q.count, q.width))))
    }
}
