//! One decoder for all families.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Device, Result, Tensor, bail};
use rayon::prelude::*;

use super::attention::{Attend, Piece, Scratch, Span, blocks};
use super::block::{BLOCK, few, normalized};
use super::config::{DecoderConfig, LayerAttention, Positions};
use super::latent;
use super::layer::Mix;
use super::ops::{Rows, rotate};
use super::precision::add_rows;
use super::rope::{Angles, Rotary};
use super::vocabulary::Vocabulary;
use super::weights::{GetTensor, LayerWeights, Weights};

/// Rows to compute: tokens of any number of sequences one after the other, without padding.
///
/// Sequences with a common prefix can share rows: a [`Span`] gives the rows of all positions before its own.
#[derive(Debug, Clone)]
pub struct Pass {
    /// The token of each row.
    pub tokens: Vec<u32>,
    /// The position of each row in its sequence.
    pub positions: Arc<[u32]>,
    /// All rows in order, by sequence.
    pub spans: Arc<[Span]>,
}

/// Keys and values of earlier rows.
#[derive(Debug)]
pub struct Cache {
    /// Keys and values of each layer, `[capacity, kv_heads * head_dim]` and `[capacity, kv_heads * value_dim]`.
    layers: Vec<(Vec<f32>, Vec<f32>)>,
    rows: usize,
    row_bytes: usize,
}

impl Cache {
    /// Room for so many rows.
    ///
    /// # Errors
    ///
    /// If there is no memory for it.
    pub fn new(config: &DecoderConfig, capacity: usize) -> Result<Self> {
        let empty = |width: usize| -> Result<Vec<f32>> {
            let size = capacity.saturating_mul(config.kv_heads * width);
            let mut values = Vec::new();
            values.try_reserve_exact(size).map_err(candle_core::Error::wrap)?;
            values.resize(size, 0.0);
            Ok(values)
        };
        let layer = |_| Ok((empty(config.head_dim)?, empty(config.value_dim)?));
        let layers = config.layers.iter().map(layer).collect::<Result<_>>()?;
        Ok(Self { layers, rows: 0, row_bytes: config.cache_row_bytes() })
    }

    /// Rows in it; the next pass is appended there.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of the keys and values in it.
    pub fn bytes(&self) -> usize {
        self.rows * self.row_bytes
    }
}

/// A decoder with its weights.
#[derive(Debug)]
pub struct Decoder {
    config: DecoderConfig,
    weights: Weights,
    rotations: Vec<Rotary>,
}

impl Decoder {
    /// A decoder with weights that `get` returns by name and shape.
    ///
    /// # Errors
    ///
    /// Those of `get`.
    pub fn new<E: From<candle_core::Error>>(
        config: DecoderConfig,
        get: &mut GetTensor<'_, E>,
    ) -> std::result::Result<Self, E> {
        let weights = Weights::load(&config, get)?;
        let rotations = match &config.positions {
            Positions::None | Positions::Learned | Positions::Alibi(_) => Vec::new(),
            Positions::Rotary(speeds) => speeds.iter().cloned().map(Rotary::new).collect(),
        };
        Ok(Self { config, weights, rotations })
    }

    /// Its structure.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Bytes of all matrices and their biases in memory: 4 for each weight that was given in `f32`, 2 for each in `bf16` or `f16`, and of
    /// linear layers as many for the outputs that are missing to a multiple of 64.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        self.weights.bytes()
    }

    pub(super) fn vocabulary(&self) -> &Vocabulary {
        &self.weights.vocabulary
    }

    pub(super) fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Hidden states after the last norm, `[rows, hidden_size]`.
    ///
    /// The paths of the spans lead to rows of this pass, or with a cache to rows of the cache, to which those of this pass are appended.
    ///
    /// # Errors
    ///
    /// If a token, a position or a path is out of range, or a cache is full.
    pub fn hidden(&self, pass: &Pass, cache: Option<&mut Cache>) -> Result<Tensor> {
        let rows: Vec<u32> = (0..pass.tokens.len() as u32).collect();
        Tensor::from_vec(
            self.states(pass, cache, &rows)?,
            (rows.len(), self.config.hidden_size),
            &Device::Cpu,
        )
    }

    /// Logits `[rows, vocab_size]` of hidden states.
    ///
    /// # Errors
    ///
    /// If they have another width than the model.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.weights.vocabulary.logits(hidden)
    }

    /// Hidden states of some rows, which ascend, `[wanted, hidden_size]`. All rows go into the cache.
    pub(super) fn states(
        &self,
        pass: &Pass,
        mut cache: Option<&mut Cache>,
        wanted: &[u32],
    ) -> Result<Vec<f32>> {
        let rows = pass.tokens.len();
        self.check(pass, cache.as_deref(), wanted)?;
        let mut x = self.embed(&pass.tokens)?;
        if let Some(table) = &self.weights.positions {
            add_rows(table, &pass.positions, self.config.hidden_size, &mut x)?;
        }
        let all = blocks(&pass.spans, std::slice::from_ref(&(0..rows)), BLOCK);
        // The last layer is computed for these rows alone.
        let last = blocks(&pass.spans, &ranges(wanted), BLOCK);
        let count = self.config.layers.len();
        for (index, (layer, weights)) in self.config.layers.iter().zip(&self.weights.layers).enumerate() {
            let positions = pass.positions.iter().max().map_or(0, |last| *last as usize + 1);
            let angles = self.angles(layer, positions);
            let joined =
                self.project(weights, &x, angles.as_deref().map(|angles| (angles, &*pass.positions)));
            let [own, shared, seen] = self.widths();
            let width = own + shared + seen;
            let here = |first, columns| Rows::new(&joined, width, first, columns);
            let (mut keys, mut values) = (here(own, shared), here(own + shared, seen));
            if let Some(cache) = &mut cache {
                let (kept_keys, kept_values) = &mut cache.layers[index];
                for (row, from) in (cache.rows..).zip(0..rows) {
                    kept_keys[row * shared..][..shared].copy_from_slice(keys.row(from));
                    kept_values[row * seen..][..seen].copy_from_slice(values.row(from));
                }
                keys = Rows::new(kept_keys, shared, 0, shared);
                values = Rows::new(kept_values, seen, 0, seen);
            }
            let attend = Attend {
                spans: &pass.spans,
                queries: here(0, own),
                keys,
                values,
                heads: self.config.heads,
                kv_heads: self.config.kv_heads,
                head_dim: self.config.head_dim,
                value_dim: self.config.value_dim,
                scale: layer.scale as f32,
                softcap: self.config.attention_softcap.map(|cap| cap as f32),
                window: layer.window.unwrap_or(usize::MAX),
                growing_windows: layer.growing_windows,
                chunk: layer.chunk.unwrap_or(usize::MAX),
                temperature: layer.temperature,
                alibi: match &self.config.positions {
                    Positions::Alibi(alibi) => Some(alibi),
                    _ => None,
                },
                sinks: weights.sinks.as_deref(),
            };
            let see =
                |piece: &Piece, out: &mut [f32], scratch: &mut Scratch| attend.piece(piece, out, scratch);
            let mix = Mix { config: &self.config, weights, x: &x, see: &see };
            x = mix.blocks(if index + 1 == count { &last } else { &all });
        }
        if let Some(cache) = cache {
            cache.rows += rows;
        }
        self.weights.finish(&mut x);
        Ok(x)
    }

    /// Whether a pass can be computed.
    fn check(&self, pass: &Pass, cache: Option<&Cache>, wanted: &[u32]) -> Result<()> {
        let rows = pass.tokens.len();
        self.weights.vocabulary.check(&pass.tokens)?;
        if let Some(context) = self.config.longest()
            && let Some(position) = pass.positions.iter().find(|position| **position as usize >= context)
        {
            bail!("position {position} is beyond the context of {context} tokens");
        }
        let before = cache.map_or(0, |cache| cache.rows);
        let [_, shared, _] = self.widths();
        if cache.is_some_and(|cache| {
            cache.layers.len() != self.config.layers.len()
                || cache.layers.iter().any(|(keys, _)| keys.len() < (before + rows) * shared)
        }) {
            bail!("the cache has no room for {rows} more rows");
        }
        let mut end = 0;
        for span in pass.spans.iter() {
            let fits = span.rows.start == end && span.path.len() == span.first + span.rows.len();
            if !fits || span.path.iter().any(|row| *row as usize >= before + rows) {
                bail!("a span leaves the rows");
            }
            end = span.rows.end;
        }
        let ascending = wanted.is_sorted_by(|a, b| a < b);
        if end != rows
            || pass.positions.len() != rows
            || !ascending
            || wanted.last().is_some_and(|row| *row as usize >= rows)
        {
            bail!("{rows} rows don't fit their spans and positions");
        }
        Ok(())
    }

    /// Elements of all queries, all keys and all values of a row.
    pub(super) fn widths(&self) -> [usize; 3] {
        let DecoderConfig { heads, kv_heads, head_dim, value_dim, .. } = self.config;
        [heads * head_dim, kv_heads * head_dim, kv_heads * value_dim]
    }

    /// Embeddings of tokens, without positions.
    pub(super) fn embed(&self, tokens: &[u32]) -> Result<Vec<f32>> {
        let mut x = vec![0f32; tokens.len() * self.config.hidden_size];
        self.weights.vocabulary.embed(tokens, &mut x)?;
        if let Some(scale) = self.config.embedding_scale {
            x.iter_mut().for_each(|x| *x *= scale as f32);
        }
        if let Some(norm) = &self.weights.embedding_norm {
            norm.apply(&mut x);
        }
        Ok(x)
    }

    /// The angles of so many positions, if a layer rotates.
    pub(super) fn angles(&self, layer: &LayerAttention, positions: usize) -> Option<Arc<Angles>> {
        Some(self.rotations.get(layer.rotary?)?.angles(positions))
    }

    /// Queries, keys and values of all rows, normalized, one row after the other; rotated by positions if some are given.
    pub(super) fn project(
        &self,
        weights: &LayerWeights,
        x: &[f32],
        rotation: Option<(&Angles, &[u32])>,
    ) -> Vec<f32> {
        let [own, shared, seen] = self.widths();
        let (hidden, width) = (self.config.hidden_size, own + shared + seen);
        let rows = x.len() / hidden;
        let mut joined = vec![0f32; rows * width];
        let blocks = joined.par_chunks_mut(BLOCK * width).zip(x.par_chunks(BLOCK * hidden)).enumerate();
        let few = few(rows);
        blocks.for_each_init(
            Default::default,
            |(normed, scratch): &mut (_, latent::Scratch), (block, (joined, x))| {
                let x = match &weights.before_attention {
                    Some(norm) => normalized(norm, x, normed),
                    None => x,
                };
                weights.projection.apply(x, few, joined, scratch);
                for (row, joined) in joined.chunks_exact_mut(width).enumerate() {
                    if let Some((query_norm, key_norm)) = &weights.query_key_norms {
                        query_norm.apply(&mut joined[..own]);
                        key_norm.apply(&mut joined[own..own + shared]);
                    }
                    if let Some(clip) = self.config.clip {
                        let clip = clip as f32;
                        joined.iter_mut().for_each(|value| *value = value.clamp(-clip, clip));
                    }
                    if let Some((angles, positions)) = rotation {
                        let position = positions[block * BLOCK + row] as usize;
                        rotate(&mut joined[..own + shared], self.config.head_dim, angles, position);
                    }
                }
            },
        );
        joined
    }
}

/// Ascending numbers as ranges.
fn ranges(rows: &[u32]) -> Vec<Range<usize>> {
    rows.chunk_by(|a, b| a + 1 == *b).map(|run| run[0] as usize..run[0] as usize + run.len()).collect()
}
