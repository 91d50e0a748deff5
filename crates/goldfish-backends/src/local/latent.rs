//! Queries, keys and values of a hidden state: by one product, or through latents of low rank.

use super::block::product;
use super::ops::Norm;
use super::product::Linear;

/// How they are computed.
#[derive(Debug)]
pub(super) enum Projection {
    /// Outputs: queries of all heads, keys, values.
    Joined(Linear),
    Latent(Box<Latent>),
}

/// Multi-head latent attention ([DeepSeek-AI 2024](https://arxiv.org/abs/2405.04434), section 2.1): keys and values of all heads are products of one
/// latent, but for the part of keys that rotates, which all heads share; perhaps queries have a latent too.
#[derive(Debug)]
pub(super) struct Latent {
    /// To the latent of queries, and its norm.
    pub(super) query_latent: Option<(Linear, Norm)>,
    /// Outputs, of each head: the part that doesn't rotate, the one that does.
    pub(super) queries: Linear,
    /// Outputs: the latent, the part of keys that rotates.
    pub(super) latent: Linear,
    /// Of the latent.
    pub(super) norm: Norm,
    /// Outputs, of each head: the part of its key that doesn't rotate, its value.
    pub(super) keys_values: Linear,
    pub(super) heads: usize,
    /// Elements of a head's key that rotate; they come first in the rows that are written.
    pub(super) rotated: usize,
    pub(super) head_dim: usize,
    pub(super) value_dim: usize,
}

/// Buffers of a thread.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    query_latent: Vec<f32>,
    queries: Vec<f32>,
    latent: Vec<f32>,
    normed: Vec<f32>,
    keys_values: Vec<f32>,
}

impl Projection {
    /// Writes queries, keys and values of a block of rows, `few` as in [`product`].
    pub(super) fn apply(&self, x: &[f32], few: bool, out: &mut [f32], scratch: &mut Scratch) {
        match self {
            Self::Joined(linear) => product(linear, x, out, few),
            Self::Latent(latent) => latent.apply(x, few, out, scratch),
        }
    }

    /// Bytes of the weights.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Joined(linear) => linear.bytes(),
            Self::Latent(latent) => {
                let of_queries = latent.query_latent.as_ref().map_or(0, |(linear, _)| linear.bytes());
                let others = [&latent.queries, &latent.latent, &latent.keys_values];
                of_queries + others.into_iter().map(Linear::bytes).sum::<usize>()
            }
        }
    }
}

impl Latent {
    fn apply(&self, x: &[f32], few: bool, out: &mut [f32], scratch: &mut Scratch) {
        let rows = x.len() / self.latent.inputs();
        let queries = match &self.query_latent {
            None => x,
            Some((linear, norm)) => {
                multiply(linear, x, few, rows, &mut scratch.query_latent);
                norm.apply(&mut scratch.query_latent);
                &scratch.query_latent
            }
        };
        multiply(&self.queries, queries, few, rows, &mut scratch.queries);
        multiply(&self.latent, x, few, rows, &mut scratch.latent);
        let rank = self.norm.width;
        scratch.normed.clear();
        for row in scratch.latent.chunks_exact(rank + self.rotated) {
            scratch.normed.extend_from_slice(&row[..rank]);
        }
        self.norm.apply(&mut scratch.normed);
        multiply(&self.keys_values, &scratch.normed, few, rows, &mut scratch.keys_values);
        let width = out.len() / rows;
        for (row, out) in out.chunks_exact_mut(width).enumerate() {
            let of = |values: &'_ [f32]| values.len() / rows * row..values.len() / rows * (row + 1);
            self.row(
                &scratch.queries[of(&scratch.queries)],
                &scratch.latent[of(&scratch.latent)][rank..],
                &scratch.keys_values[of(&scratch.keys_values)],
                out,
            );
        }
    }

    /// Writes one row: queries of all heads, keys, values.
    fn row(&self, queries: &[f32], rotated: &[f32], keys_values: &[f32], out: &mut [f32]) {
        let (dim, plain) = (self.head_dim, self.head_dim - self.rotated);
        let (own, rest) = out.split_at_mut(self.heads * dim);
        let (keys, values) = rest.split_at_mut(self.heads * dim);
        for (query, own) in queries.chunks_exact(dim).zip(own.chunks_exact_mut(dim)) {
            own[..self.rotated].copy_from_slice(&query[plain..]);
            own[self.rotated..].copy_from_slice(&query[..plain]);
        }
        let heads = keys.chunks_exact_mut(dim).zip(values.chunks_exact_mut(self.value_dim));
        for (stored, (key, value)) in keys_values.chunks_exact(plain + self.value_dim).zip(heads) {
            key[..self.rotated].copy_from_slice(rotated);
            key[self.rotated..].copy_from_slice(&stored[..plain]);
            value.copy_from_slice(&stored[plain..]);
        }
    }
}

fn multiply(linear: &Linear, x: &[f32], few: bool, rows: usize, out: &mut Vec<f32>) {
    out.resize(rows * linear.outputs(), 0.0);
    product(linear, x, out, few);
}
