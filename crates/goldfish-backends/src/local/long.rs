//! A decoder that reads sequences of any length, with a [memory of blocks](super::block_memory).

use candle_core::{Result, bail};
use goldfish_audit::backend::BlockMemory;
use rayon::prelude::*;

use super::attention::{Piece, Scratch as AttentionScratch, Span, blocks};
use super::block::BLOCK;
use super::block_memory::{LayerMemory, Reader, Scratch, most_recent};
use super::config::{DecoderConfig, LayerAttention, Positions};
use super::decoder::Decoder;
use super::error::CheckpointError;
use super::layer::Mix;
use super::math::vectorized;
use super::rope::Angles;
use super::vocabulary::Vocabulary;
use super::walk::Stateful;

/// A decoder, and what each token attends to.
#[derive(Debug)]
pub(super) struct LongDecoder {
    decoder: Decoder,
    memory: BlockMemory,
}

/// What all layers keep of a sequence.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    layers: Vec<LayerMemory>,
}

impl LongDecoder {
    /// Fails for a decoder that encodes positions in another way than by rotation, or whose attention is limited already; errors call it `name`.
    pub(super) fn new(
        decoder: Decoder,
        memory: BlockMemory,
        name: &str,
    ) -> std::result::Result<Self, CheckpointError> {
        let refuse =
            |reason: &str| Err(CheckpointError::NoMemory { name: name.into(), reason: reason.into() });
        if memory.window == 0 || memory.block_tokens == 0 {
            return refuse("a window and a block have at least one token");
        }
        if let Some(reason) = unsuited(decoder.config()) {
            return refuse(reason);
        }
        let rotates = decoder.config().layers.iter().any(|layer| layer.rotary.is_some());
        let context = decoder.config().context_length;
        if rotates && memory.window as usize > context {
            return Err(CheckpointError::WindowTooLong {
                name: name.into(),
                window: memory.window,
                context: context as u64,
            });
        }
        Ok(Self { decoder, memory })
    }

    /// Bytes that sequences of this length keep at most, with what is copied where they part.
    pub(super) fn state_bytes(&self, length: usize) -> usize {
        let row = self.decoder.config().cache_row_bytes();
        // Keys and values twice, once with spare room, and rotated keys.
        let recent = length.min(most_recent(&self.memory)).saturating_mul(5);
        let first = length.min(self.memory.init as usize);
        length.saturating_add(2 * first).saturating_add(2 * recent).saturating_mul(row)
    }

    fn reader<'a>(&self, layer: &LayerAttention, angles: Option<&'a Angles>) -> Reader<'a> {
        let config = self.decoder.config();
        Reader {
            memory: self.memory,
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            scale: layer.scale as f32,
            softcap: config.attention_softcap.map(|cap| cap as f32),
            angles,
        }
    }
}

/// Why a decoder can't attend to a memory of blocks.
pub(super) fn unsuited(config: &DecoderConfig) -> Option<&'static str> {
    if config.positions == Positions::Learned {
        return Some("its positions are a table of embeddings, which ends with its context");
    }
    if matches!(config.positions, Positions::Alibi(_)) {
        return Some("its scores fall with the distance of keys");
    }
    if config.value_dim != config.head_dim {
        return Some("its values have another width than its keys");
    }
    if config.tensors.sinks.is_some() {
        return Some("its heads have sinks");
    }
    if config.layers.iter().any(|layer| layer.chunk.is_some() || layer.temperature.is_some()) {
        return Some("its attention depends on positions besides their rotation");
    }
    if config.layers.iter().any(|layer| layer.window.is_some()) {
        return Some("its layers have sliding windows of their own");
    }
    if config.layers.iter().any(|layer| layer.growing_windows > 0) {
        return Some("some of its heads have windows of their own");
    }
    None
}

impl Stateful for LongDecoder {
    type State = Memory;

    fn beginning(&self) -> Memory {
        let layers = self.decoder.config().layers.iter();
        Memory { layers: layers.map(|layer| LayerMemory::new(&self.reader(layer, None))).collect() }
    }

    fn vocabulary(&self) -> &Vocabulary {
        self.decoder.vocabulary()
    }

    fn advance(&self, states: &mut [&mut Memory], counts: &[usize], tokens: &[u32]) -> Result<Vec<f32>> {
        let (config, weights) = (self.decoder.config(), self.decoder.weights());
        weights.vocabulary.check(tokens)?;
        let fits = states.len() == counts.len()
            && counts.iter().sum::<usize>() == tokens.len()
            && states.iter().all(|state| state.layers.len() == config.layers.len());
        if !fits {
            bail!("{} states don't fit {} tokens", states.len(), tokens.len());
        }
        let mut x = self.decoder.embed(tokens)?;
        let rows = 0..tokens.len();
        let span = Span { rows: rows.clone(), first: 0, path: Vec::new() };
        let all = blocks(&[span], std::slice::from_ref(&rows), BLOCK);
        let lengths = states
            .iter()
            .zip(counts)
            .filter_map(|(state, count)| Some(state.layers.first()?.length() + count));
        let farthest = lengths.max().unwrap_or(0).min(most_recent(&self.memory));
        let [own, shared, _] = self.decoder.widths();
        for (index, (layer, weights)) in config.layers.iter().zip(&weights.layers).enumerate() {
            let angles = self.decoder.angles(layer, farthest);
            let reader = self.reader(layer, angles.as_deref());
            let joined = self.decoder.project(weights, &x, None);
            let mut seen = vec![0f32; tokens.len() * own];
            let mut tasks = Vec::with_capacity(states.len());
            let (mut ins, mut outs) = (joined.as_slice(), seen.as_mut_slice());
            for (state, count) in states.iter_mut().zip(counts) {
                let (rows, more) = ins.split_at(count * (own + 2 * shared));
                let (out, rest) = outs.split_at_mut(count * own);
                tasks.push((&mut state.layers[index], rows, out));
                (ins, outs) = (more, rest);
            }
            tasks.into_par_iter().for_each_init(Scratch::default, |scratch, (memory, rows, out)| {
                let rows = rows.chunks_exact(own + 2 * shared);
                vectorized(
                    #[inline(always)]
                    || {
                        for (row, out) in rows.zip(out.chunks_exact_mut(own)) {
                            memory.read(&reader, row, out, scratch);
                        }
                    },
                );
            });
            let see = |piece: &Piece, out: &mut [f32], _: &mut AttentionScratch| {
                out.copy_from_slice(&seen[piece.rows.start * own..piece.rows.end * own]);
            };
            x = Mix { config, weights, x: &x, see: &see }.blocks(&all);
        }
        weights.finish(&mut x);
        Ok(x)
    }
}
