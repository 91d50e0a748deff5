//! Attention whose weights are products of features of queries and keys: a sum over the past, of constant size.
//!
//! With features `f`: `S += f(k) v^T`, `z += f(k)`, and a query sees `f(q) S / (f(q) z + 1e-6)`.

use std::fmt::Debug;

use candle_core::{Result, Tensor};

use super::block::whole_product;
use super::config::MAX_WIDTH;
use super::error::CheckpointError;
use super::family::head_dim;
use super::math::{inner, mix, vectorized};
use super::mixer::{Mixer, Reading, each_sequence};
use super::precision::joined;
use super::product::Linear;
use super::settings::Settings;

/// Added to the sum of weights.
const EPSILON: f32 = 1e-6;

/// Sizes of heads of attention.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heads {
    pub(super) count: usize,
    pub(super) dim: usize,
}

impl Heads {
    /// Reads `num_attention_heads`, which divide the hidden size.
    pub(super) fn of(settings: &Settings, hidden: usize) -> std::result::Result<Self, CheckpointError> {
        let key = "num_attention_heads";
        let count = settings.needed_count(key, MAX_WIDTH)?;
        Ok(Self { count, dim: head_dim(settings, key, hidden, count)? })
    }

    /// Width of all heads.
    pub(super) fn width(&self) -> usize {
        self.count * self.dim
    }

    /// Names and shapes of the projections.
    pub(super) fn projections(&self) -> Vec<(&'static str, Vec<usize>)> {
        let names = [
            "self_attn.q_proj.weight",
            "self_attn.k_proj.weight",
            "self_attn.v_proj.weight",
            "self_attn.o_proj.weight",
        ];
        names.into_iter().map(|name| (name, vec![self.width(); 2])).collect()
    }
}

/// Features of queries and keys.
pub(super) trait Features: Debug + Send + Sync {
    /// Features of a head.
    fn count(&self) -> usize;

    /// Writes the features of a query (0) or key (1) of a head.
    fn of(&self, which: usize, head: usize, x: &[f32], features: &mut [f32]);
}

/// Attention with features.
#[derive(Debug)]
pub(super) struct FeatureAttention<F> {
    heads: Heads,
    query_key_value: Linear,
    out: Linear,
    features: F,
}

impl<F: Features> FeatureAttention<F> {
    /// With the tensors of [`Heads::projections`].
    pub(super) fn new(heads: Heads, tensors: &[Tensor], features: F) -> Result<Self> {
        let query_key_value = Linear::new(&joined(&tensors[..3])?.t()?, None)?;
        Ok(Self { heads, query_key_value, out: Linear::new(&tensors[3].t()?, None)?, features })
    }

    /// Reads one token: queries, keys and values of all heads.
    #[inline(always)]
    fn read(&self, row: &[f32], state: &mut [f32], scratch: &mut Vec<f32>, out: &mut [f32]) {
        let (dim, count, width) = (self.heads.dim, self.features.count(), self.heads.width());
        scratch.resize(2 * count, 0.0);
        let (of_query, of_key) = scratch.split_at_mut(count);
        let states = state.chunks_exact_mut(count * (dim + 1));
        for (head, (state, out)) in states.zip(out.chunks_exact_mut(dim)).enumerate() {
            let part = |which: usize| &row[which * width + head * dim..][..dim];
            self.features.of(0, head, part(0), of_query);
            self.features.of(1, head, part(1), of_key);
            let (sums, normalizer) = state.split_at_mut(count * dim);
            for (sums, feature) in sums.chunks_exact_mut(dim).zip(of_key.iter()) {
                for (sum, value) in sums.iter_mut().zip(part(2)) {
                    *sum = feature.mul_add(*value, *sum);
                }
            }
            for (sum, feature) in normalizer.iter_mut().zip(of_key.iter()) {
                *sum += feature;
            }
            out.fill(0.0);
            mix(of_query, sums, out);
            let total = inner(of_query, normalizer) + EPSILON;
            out.iter_mut().for_each(|out| *out /= total);
        }
    }
}

impl<F: Features> Mixer for FeatureAttention<F> {
    fn state_size(&self) -> usize {
        self.heads.count * self.features.count() * (self.heads.dim + 1)
    }

    fn mix(&self, x: &[f32], sequences: &mut [Reading<'_>]) -> Vec<f32> {
        let width = self.heads.width();
        let joined = whole_product(&self.query_key_value, x);
        let mut seen = vec![0f32; joined.len() / 3];
        each_sequence(sequences, &mut seen, width, Vec::new, |scratch, sequence, out| {
            let rows = joined[3 * width * sequence.rows.start..].chunks_exact(3 * width);
            vectorized(
                #[inline(always)]
                || {
                    for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
                        self.read(row, sequence.state, scratch, out);
                    }
                },
            );
        });
        whole_product(&self.out, &seen)
    }
}
