//! Attention without softmax: keys and queries as features whose products are the weights, so that a matrix and a vector a head
//! hold all that was seen ([Katharopoulos et al. 2020](https://arxiv.org/abs/2006.16236), sections 3.2 to 3.4).

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};
use goldfish_backends::local::math::{elu_plus_one, inner, mix};

use super::operation::Operation;
use super::rows::{Rows, fill_rows, inputs, like, matrix, with_rows};
use super::sequences::{Sequence, Task, covers, scatter, tasks};

/// What the sum of the weights is raised by.
const EPSILON: f32 = 1e-6;

/// `elu(x) + 1` of the queries and keys in the first two thirds of each row.
pub(crate) struct EluFeatures;

impl Operation for EluFeatures {
    fn forward(&self, all: &[&Tensor]) -> Result<Tensor> {
        let [x] = inputs(all)?;
        let values = with_rows([x], |[x]| {
            Ok(fill_rows(
                x.count,
                x.width,
                #[inline(always)]
                |row, out| {
                    let mapped = x.width / 3 * 2;
                    for (out, x) in out[..mapped].iter_mut().zip(x.row(row)) {
                        *out = elu_plus_one(*x);
                    }
                    out[mapped..].copy_from_slice(&x.row(row)[mapped..]);
                },
            ))
        })?;
        like(values, x)
    }

    fn backward(&self, all: &[&Tensor], output: &Tensor, gradient: &Tensor) -> Result<Vec<Tensor>> {
        let [x] = inputs(all)?;
        let values = with_rows([output, gradient], |[features, gradient]| {
            gradient.has_shape_of(&features)?;
            Ok(fill_rows(
                features.count,
                features.width,
                #[inline(always)]
                |row, out| {
                    out.copy_from_slice(gradient.row(row));
                    let mapped = features.width / 3 * 2;
                    for (out, feature) in out[..mapped].iter_mut().zip(features.row(row)) {
                        // A feature below 1 is its own slope.
                        *out *= feature.min(1.0);
                    }
                },
            ))
        })?;
        Ok(vec![like(values, x)?])
    }
}

/// Linear attention over rows that hold the features of the queries of all heads, those of the keys, then the values
/// `[heads * head_dim]`: `o_t = S_t^T q_t / (z_t . q_t + 1e-6)` with `S_t` the sum of the outer products of keys and values so far,
/// and `z_t` the sum of the keys.
pub(crate) struct ScanLinear {
    pub(crate) sequences: Arc<[Sequence]>,
    pub(crate) heads: usize,
    /// Features of a head.
    pub(crate) features: usize,
}

/// The sums of a head: `[features, head_dim]` and `[features]`.
#[derive(Default)]
struct State {
    matrix: Vec<f32>,
    vector: Vec<f32>,
}

/// Gradients of one task, `[rows, features]` twice and `[rows, head_dim]`.
struct Gradients {
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl State {
    #[inline(always)]
    fn clear(&mut self, features: usize, dim: usize) {
        self.matrix.clear();
        self.matrix.resize(features * dim, 0.0);
        self.vector.clear();
        self.vector.resize(features, 0.0);
    }

    /// Adds the outer product of some factors with a row, and the factors times `weight` to the vector.
    #[inline(always)]
    fn add(&mut self, factors: &[f32], row: &[f32], weight: f32) {
        for (factor, line) in factors.iter().zip(self.matrix.chunks_exact_mut(row.len())) {
            for (sum, x) in line.iter_mut().zip(row) {
                *sum = factor.mul_add(*x, *sum);
            }
        }
        for (sum, factor) in self.vector.iter_mut().zip(factors) {
            *sum = factor.mul_add(weight, *sum);
        }
    }

    /// `matrix row + weight * vector`, `[features]`.
    #[inline(always)]
    fn apply(&self, row: &[f32], weight: f32, out: &mut [f32]) {
        let lines = self.matrix.chunks_exact(row.len()).zip(&self.vector);
        for (out, (line, sum)) in out.iter_mut().zip(lines) {
            *out = weight.mul_add(*sum, inner(line, row));
        }
    }
}

impl ScanLinear {
    /// Features of queries and of keys, and values.
    fn parts<'a>(&self, rows: Rows<'a>) -> Result<[Rows<'a>; 3]> {
        let own = self.heads * self.features;
        if own == 0 || rows.width <= 2 * own || !(rows.width - 2 * own).is_multiple_of(self.heads) {
            bail!("rows of {} for {} heads of {} features", rows.width, self.heads, self.features);
        }
        covers(&self.sequences, rows.count)?;
        Ok([0..own, own..2 * own, 2 * own..rows.width].map(|columns| rows.columns(columns)))
    }

    #[inline(always)]
    fn outputs(&self, (sequence, head): &Task, [q, k, v]: [Rows<'_>; 3], state: &mut State) -> Vec<f32> {
        let (f, dim) = (self.features, v.width / self.heads);
        let (features, own) = (head * f..(head + 1) * f, head * dim..(head + 1) * dim);
        state.clear(f, dim);
        let mut out = vec![0f32; sequence.len() * dim];
        for (row, out) in sequence.clone().zip(out.chunks_exact_mut(dim)) {
            state.add(&k.row(row)[features.clone()], &v.row(row)[own.clone()], 1.0);
            let query = &q.row(row)[features.clone()];
            mix(query, &state.matrix, out);
            let whole = 1.0 / (inner(query, &state.vector) + EPSILON);
            out.iter_mut().for_each(|out| *out *= whole);
        }
        out
    }

    /// With `n = g / (z . q + 1e-6)` and `d = -n . o` the query's gradient is `S n + d z`; from the end, with the sums `U` of
    /// the outer products of queries and `n` and `y` of the queries times `d`, the key's is `U v + y` and the value's `U^T k`.
    #[inline(always)]
    fn gradients(
        &self,
        (sequence, head): &Task,
        [q, k, v, out, gradient]: [Rows<'_>; 5],
        state: &mut State,
    ) -> Gradients {
        let (f, dim) = (self.features, v.width / self.heads);
        let (features, own) = (head * f..(head + 1) * f, head * dim..(head + 1) * dim);
        let zeros = |width: usize| vec![0f32; sequence.len() * width];
        let mut found = Gradients { queries: zeros(f), keys: zeros(f), values: zeros(dim) };
        let (mut numerators, mut denominators) = (zeros(dim), zeros(1));
        state.clear(f, dim);
        for (at, row) in sequence.clone().enumerate() {
            state.add(&k.row(row)[features.clone()], &v.row(row)[own.clone()], 1.0);
            let query = &q.row(row)[features.clone()];
            let whole = 1.0 / (inner(query, &state.vector) + EPSILON);
            let numerator = &mut numerators[at * dim..(at + 1) * dim];
            for (n, g) in numerator.iter_mut().zip(&gradient.row(row)[own.clone()]) {
                *n = whole * g;
            }
            denominators[at] = -inner(numerator, &out.row(row)[own.clone()]);
            state.apply(numerator, denominators[at], &mut found.queries[at * f..(at + 1) * f]);
        }
        state.clear(f, dim);
        for (at, row) in sequence.clone().enumerate().rev() {
            let numerator = &numerators[at * dim..(at + 1) * dim];
            state.add(&q.row(row)[features.clone()], numerator, denominators[at]);
            state.apply(&v.row(row)[own.clone()], 1.0, &mut found.keys[at * f..(at + 1) * f]);
            let key = &k.row(row)[features.clone()];
            mix(key, &state.matrix, &mut found.values[at * dim..(at + 1) * dim]);
        }
        found
    }
}

impl Operation for ScanLinear {
    fn forward(&self, all: &[&Tensor]) -> Result<Tensor> {
        let [rows] = inputs(all)?;
        with_rows([rows], |[rows]| {
            let parts @ [.., v] = self.parts(rows)?;
            let done = tasks(
                &self.sequences,
                self.heads,
                #[inline(always)]
                |task, state| self.outputs(task, parts, state),
            );
            let (mut out, dim) = (vec![0f32; v.count * v.width], v.width / self.heads);
            for ((sequence, head), values) in &done {
                scatter(sequence, values, head * dim..(head + 1) * dim, v.width, &mut out);
            }
            matrix(out, v.count, v.width)
        })
    }

    fn backward(&self, all: &[&Tensor], output: &Tensor, gradient: &Tensor) -> Result<Vec<Tensor>> {
        let [rows] = inputs(all)?;
        let mut of_rows = vec![0f32; rows.elem_count()];
        with_rows([rows, output, gradient], |[rows, out, gradient]| {
            let [q, k, v] = self.parts(rows)?;
            gradient.has_shape_of(&v)?;
            let done = tasks(
                &self.sequences,
                self.heads,
                #[inline(always)]
                |task, state| self.gradients(task, [q, k, v, out, gradient], state),
            );
            for ((sequence, head), found) in &done {
                let mut start = 0;
                for (part, values) in [(q, &found.queries), (k, &found.keys), (v, &found.values)] {
                    let own = part.width / self.heads;
                    let columns = start + head * own..start + (head + 1) * own;
                    scatter(sequence, values, columns, rows.width, &mut of_rows);
                    start += part.width;
                }
            }
            Ok(())
        })?;
        Ok(vec![like(of_rows, rows)?])
    }
}
