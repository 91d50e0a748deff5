//! Causal attention within sequences of consecutive rows.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Result, Tensor, bail};
use goldfish_backends::local::math::{exp, inner};

use super::operation::Operation;
use super::rows::{Rows, inputs, like, matrix, with_rows};
use super::sequences::{Sequence, Task, covers, parts, scatter, tasks};
use super::tiles::{Block, LANES, Panels, TILE, Tiles, elements};

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
    keys: Panels,
    transposed_keys: Panels,
    values: Panels,
    transposed_values: Panels,
    /// Queries of one head, and the gradients of what it gave.
    queries: Tiles,
    grads: Tiles,
    /// The weights of a tile of queries, their slopes, and what becomes of them.
    weights: Tiles,
    slopes: Tiles,
    out: Tiles,
    of_keys: Panels,
    of_values: Panels,
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

    /// Gives the weights of a tile of queries from `position` on for some blocks of keys, which hold all that the queries see.
    #[inline(always)]
    fn weigh(
        &self,
        queries: [&[f32]; TILE],
        [position, window]: [usize; 2],
        keys: &Panels,
        weights: &mut Tiles,
    ) -> Range<usize> {
        let first_seen = |position: usize| (position + 1).saturating_sub(window);
        let blocks = first_seen(position) / LANES..(position + TILE).div_ceil(LANES);
        keys.multiply(queries, 0, blocks.clone(), weights.tile_mut(0));
        for position in position..position + TILE {
            let skipped = blocks.start * LANES;
            let seen = first_seen(position) - skipped..position + 1 - skipped;
            softmax_of(&mut weights.row_mut(position % TILE)[..blocks.len()], self.scale, seen);
        }
        blocks
    }

    #[inline(always)]
    fn forward(
        &self,
        (sequence, kv_head): &Task,
        [q, k, v]: [Rows<'_>; 3],
        scratch: &mut Scratch,
    ) -> Vec<f32> {
        let (dim, group, length) = (k.width / self.kv_heads, self.group(), sequence.len());
        let own = kv_head * dim..(kv_head + 1) * dim;
        let Scratch { transposed_keys, values, queries, weights, out: tile, .. } = scratch;
        let room = length.next_multiple_of(LANES);
        transposed_keys.pack_columns(parts(k, sequence, &own), [dim, room]);
        values.pack(parts(v, sequence, &own), [room, dim]);
        weights.clear(TILE, room);
        tile.clear(TILE, dim);
        let mut out = vec![0f32; length * group * dim];
        for member in 0..group {
            let head = kv_head * group + member;
            queries.pack(parts(q, sequence, &(head * dim..(head + 1) * dim)), [length, dim]);
            for position in (0..length).step_by(TILE) {
                let reach = [position, self.windows[head]];
                let own = elements(queries.tile(position), 0..dim);
                let blocks = self.weigh(own, reach, transposed_keys, weights);
                let weights = elements(weights.tile(0), 0..blocks.len() * LANES);
                values.multiply(weights, blocks.start * LANES, 0..values.panels(), tile.tile_mut(0));
                for row in position..length.min(position + TILE) {
                    let out = &mut out[(row * group + member) * dim..][..dim];
                    out.copy_from_slice(&tile.row(row % TILE).as_flattened()[..dim]);
                }
            }
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
        let room = length.next_multiple_of(LANES);
        scratch.keys.pack(parts(k, sequence, &own), [room, dim]);
        scratch.transposed_keys.pack_columns(parts(k, sequence, &own), [dim, room]);
        scratch.transposed_values.pack_columns(parts(v, sequence, &own), [dim, room]);
        scratch.weights.clear(TILE, room);
        scratch.slopes.clear(TILE, room);
        scratch.out.clear(TILE, dim);
        scratch.of_keys.clear(room, dim);
        scratch.of_values.clear(room, dim);
        let zeros = |width: usize| vec![0f32; length * width];
        let mut found = Gradients { queries: zeros(group * dim), keys: zeros(dim), values: zeros(dim) };
        for member in 0..group {
            let head = kv_head * group + member;
            let own = head * dim..(head + 1) * dim;
            scratch.queries.pack(parts(q, sequence, &own), [length, dim]);
            scratch.grads.pack(parts(grad, sequence, &own), [length, dim]);
            for position in (0..length).step_by(TILE) {
                self.tile_back([dim, position, self.windows[head]], scratch);
                for row in position..length.min(position + TILE) {
                    let out = &mut found.queries[(row * group + member) * dim..][..dim];
                    out.copy_from_slice(&scratch.out.row(row % TILE).as_flattened()[..dim]);
                }
            }
        }
        for row in 0..length {
            scratch.of_keys.copy_row(row, &mut found.keys[row * dim..][..dim]);
            scratch.of_values.copy_row(row, &mut found.values[row * dim..][..dim]);
        }
        found
    }

    /// With `w` the weights of a query and `g` their gradients, the scores have the gradients `w * (g - sum(w * g))`.
    #[inline(always)]
    fn tile_back(&self, [dim, position, window]: [usize; 3], scratch: &mut Scratch) {
        let Scratch { queries, grads, weights, slopes, .. } = scratch;
        let query = elements(queries.tile(position), 0..dim);
        let blocks = self.weigh(query, [position, window], &scratch.transposed_keys, weights);
        let grad = elements(grads.tile(position), 0..dim);
        scratch.transposed_values.multiply(grad, 0, blocks.clone(), slopes.tile_mut(0));
        for row in 0..TILE {
            let weights = weights.row(row)[..blocks.len()].as_flattened();
            let slopes = slopes.row_mut(row)[..blocks.len()].as_flattened_mut();
            let mean = inner(weights, slopes);
            for (slope, weight) in slopes.iter_mut().zip(weights) {
                *slope = self.scale * weight * (*slope - mean);
            }
        }
        let (first, count) = (blocks.start * LANES, blocks.len() * LANES);
        let [weights, slopes] = [&*weights, &*slopes].map(|tiles| elements(tiles.tile(0), 0..count));
        scratch.keys.multiply(slopes, first, 0..scratch.keys.panels(), scratch.out.tile_mut(0));
        // Rows after the last are 0, so that they add nothing.
        scratch.of_keys.add(slopes, first, queries.tile(position));
        scratch.of_values.add(weights, first, grads.tile(position));
    }
}

/// From scores to weights: the softmax of those that are seen, scaled, and 0 for the others.
#[inline(always)]
fn softmax_of(scores: &mut [Block], scale: f32, seen: Range<usize>) {
    let seen = seen.start as u32..seen.end as u32;
    let mut highest = [f32::NEG_INFINITY; LANES];
    for (number, block) in scores.iter_mut().enumerate() {
        for lane in 0..LANES {
            let at = (number * LANES + lane) as u32;
            let score = scale * block[lane];
            block[lane] = if seen.start <= at && at < seen.end { score } else { f32::NEG_INFINITY };
            highest[lane] = highest[lane].max(block[lane]);
        }
    }
    let highest = highest.into_iter().fold(f32::NEG_INFINITY, f32::max);
    let mut sums = [0f32; LANES];
    for block in scores.iter_mut() {
        for lane in 0..LANES {
            let score = block[lane];
            block[lane] = if score == f32::NEG_INFINITY { 0.0 } else { exp(score - highest) };
            sums[lane] += block[lane];
        }
    }
    let whole = 1.0 / sums.iter().sum::<f32>();
    for weight in scores.as_flattened_mut() {
        *weight *= whole;
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
