//! Attention and what follows it in a layer, in blocks of rows.

use rayon::prelude::*;

use super::attention::{self, Piece};
use super::block::{few, product};
use super::config::{BlockLayout, DecoderConfig};
use super::feed_forward::FeedForward;
use super::mlp;
use super::ops::{Norm, add};
use super::weights::LayerWeights;

/// Attention and MLP of a layer over hidden states `x`, once queries, keys and values are computed.
pub(super) struct Mix<'a> {
    pub(super) config: &'a DecoderConfig,
    pub(super) weights: &'a LayerWeights,
    pub(super) x: &'a [f32],
    /// Writes what the rows of a piece see, `[rows, heads * value_dim]`.
    pub(super) see: &'a (dyn Fn(&Piece, &mut [f32], &mut attention::Scratch) + Sync),
}

impl Mix<'_> {
    /// The hidden states after the layer, of the blocks' rows alone.
    pub(super) fn blocks(&self, blocks: &[Vec<Piece>]) -> Vec<f32> {
        let hidden = self.config.hidden_size;
        let count = |block: &Vec<Piece>| block.iter().map(|piece| piece.rows.len()).sum::<usize>();
        let rows = blocks.iter().map(count).sum();
        let mut mixed = vec![0f32; rows * hidden];
        let mut remaining = mixed.as_mut_slice();
        let mut tasks = Vec::with_capacity(blocks.len());
        for block in blocks {
            let (own, rest) = remaining.split_at_mut(count(block) * hidden);
            tasks.push((block, own));
            remaining = rest;
        }
        let few = few(rows);
        let tasks = tasks.into_par_iter();
        let after = self.weights.after_mlp.as_ref();
        match &self.weights.feed_forward {
            FeedForward::Mlp(mlp) => tasks.for_each_init(Scratch::default, |scratch, (block, out)| {
                self.attend(block, few, out, scratch);
                mlp.apply(&scratch.input, few, &mut scratch.made, &mut scratch.mlp);
                self.add(after, &mut scratch.made, out);
            }),
            FeedForward::Experts(experts) => {
                let inputs = tasks.map_init(Scratch::default, |scratch, (block, out)| {
                    self.attend(block, few, out, scratch);
                    scratch.input.clone()
                });
                let mut made = experts.apply(&inputs.collect::<Vec<_>>().concat());
                self.add(after, &mut made, &mut mixed);
            }
        }
        mixed
    }

    /// Writes the hidden states after attention to `out`, and those that the MLP reads to the scratch.
    fn attend(&self, block: &[Piece], few: bool, out: &mut [f32], scratch: &mut Scratch) {
        let Self { config, weights, x, see } = self;
        let (hidden, own) = (config.hidden_size, weights.attention_out.inputs());
        let rows = out.len() / hidden;
        let Scratch { attention, seen, attended, input, .. } = scratch;
        seen.resize(rows * own, 0.0);
        let mut done = 0;
        for piece in block {
            let count = piece.rows.len();
            out[done * hidden..][..count * hidden]
                .copy_from_slice(&x[piece.rows.start * hidden..][..count * hidden]);
            see(piece, &mut seen[done * own..][..count * own], attention);
            done += count;
        }
        attended.resize(rows * hidden, 0.0);
        product(&weights.attention_out, seen, attended, few);
        let parallel = matches!(config.layout, BlockLayout::Parallel | BlockLayout::ParallelSharedNorm);
        if !parallel {
            self.add(weights.after_attention.as_ref(), attended, out);
        }
        input.clear();
        input.extend_from_slice(out);
        let before = match config.layout {
            BlockLayout::ParallelSharedNorm => &weights.before_attention,
            _ => &weights.before_mlp,
        };
        if let Some(norm) = before {
            norm.apply(input);
        }
        if parallel {
            self.add(weights.after_attention.as_ref(), attended, out);
        }
    }

    /// Adds what attention or MLP made to the hidden states, with the norm after it.
    fn add(&self, norm: Option<&Norm>, made: &mut [f32], out: &mut [f32]) {
        let of_sum = self.config.layout == BlockLayout::SumNorm;
        if let Some(norm) = norm.filter(|_| !of_sum) {
            norm.apply(made);
        }
        if let Some(scale) = self.config.residual_scale {
            made.iter_mut().for_each(|value| *value *= scale as f32);
        }
        add(out, made);
        if let Some(norm) = norm.filter(|_| of_sum) {
            norm.apply(out);
        }
    }
}

/// Buffers of a thread for a block of rows.
#[derive(Debug, Default)]
struct Scratch {
    attention: attention::Scratch,
    seen: Vec<f32>,
    attended: Vec<f32>,
    input: Vec<f32>,
    mlp: mlp::Scratch,
    made: Vec<f32>,
}
