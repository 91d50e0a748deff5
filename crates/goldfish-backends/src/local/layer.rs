//! Attention and MLP of a layer, in blocks of rows.

use rayon::prelude::*;

use super::attention::{self, Piece};
use super::block::{few, normalized, product};
use super::config::{BlockLayout, DecoderConfig};
use super::ops::{activate, add};
use super::weights::LayerWeights;

/// Attention and MLP of a layer over hidden states `x`, once queries, keys and values are computed.
pub(super) struct Mix<'a> {
    pub(super) config: &'a DecoderConfig,
    pub(super) weights: &'a LayerWeights,
    pub(super) x: &'a [f32],
    /// Writes what the rows of a piece see, `[rows, heads * head_dim]`.
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
        tasks.into_par_iter().for_each_init(Scratch::default, |scratch, (block, out)| {
            self.block(block, few, out, scratch);
        });
        mixed
    }

    fn block(&self, block: &[Piece], few: bool, out: &mut [f32], scratch: &mut Scratch) {
        let Self { config, weights, x, see } = self;
        let (hidden, own) = (config.hidden_size, config.heads * config.head_dim);
        let rows = out.len() / hidden;
        let Scratch { attention, seen, attended, normed, up, activated, mlp } = scratch;
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
        if let Some(norm) = &weights.after_attention {
            norm.apply(attended);
        }
        let parallel = matches!(config.layout, BlockLayout::Parallel | BlockLayout::ParallelSharedNorm);
        if !parallel {
            add(out, attended);
        }
        let before = match config.layout {
            BlockLayout::ParallelSharedNorm => &weights.before_attention,
            _ => &weights.before_mlp,
        };
        let input = before.as_ref().map_or(&*out, |norm| normalized(norm, out, normed));
        let width = weights.up.outputs();
        up.resize(rows * width, 0.0);
        product(&weights.up, input, up, few);
        activated.resize(rows * weights.down.inputs(), 0.0);
        activate(config.activation, config.gated, width, up, activated);
        mlp.resize(rows * hidden, 0.0);
        product(&weights.down, activated, mlp, few);
        if let Some(norm) = &weights.after_mlp {
            norm.apply(mlp);
        }
        if parallel {
            add(out, attended);
        }
        add(out, mlp);
    }
}

/// Buffers of a thread for a block of rows.
#[derive(Debug, Default)]
struct Scratch {
    attention: attention::Scratch,
    seen: Vec<f32>,
    attended: Vec<f32>,
    normed: Vec<f32>,
    up: Vec<f32>,
    activated: Vec<f32>,
    mlp: Vec<f32>,
}
