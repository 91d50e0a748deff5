//! One decoder for all families.

use std::sync::Arc;

use candle_core::{D, DType, Device, Result, Tensor};

use super::attention::{Attend, Span};
use super::config::{DecoderConfig, LayerAttention, NormKind, Positions, Wiring};
use super::ops::{Activate, Normalize, Rotate};
use super::rope::Rotary;
use super::weights::{GetTensor, LayerWeights, Weights};

/// Rows to compute: tokens of any number of sequences side by side, without padding.
///
/// Sequences that begin alike can share rows: a [`Span`] names the rows of all positions before its own.
#[derive(Debug, Clone)]
pub struct Pass {
    /// The token of each row.
    pub tokens: Vec<u32>,
    /// The position of each row in its sequence.
    pub positions: Arc<[u32]>,
    /// All rows in order, by sequence.
    pub spans: Arc<[Span]>,
}

/// Keys and values of rows computed before.
#[derive(Debug)]
pub struct Cache {
    layers: Vec<(Tensor, Tensor)>,
    rows: usize,
}

impl Cache {
    /// Room for so many rows.
    ///
    /// # Errors
    ///
    /// If there is no memory for it.
    pub fn new(config: &DecoderConfig, capacity: usize) -> Result<Self> {
        let empty = || Tensor::zeros((capacity, config.kv_heads * config.head_dim), DType::F32, &Device::Cpu);
        let layers = config.layers.iter().map(|_| Ok((empty()?, empty()?))).collect::<Result<_>>()?;
        Ok(Self { layers, rows: 0 })
    }

    /// Rows in it; the next pass is appended there.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

/// A decoder with its weights.
#[derive(Debug)]
pub struct Decoder {
    config: DecoderConfig,
    weights: Weights,
    rotations: Vec<Rotary>,
}

/// A linear layer: rows times `weight`, plus `bias`.
#[derive(Debug)]
pub(super) struct Linear {
    /// `[inputs, outputs]`, in memory in either order.
    pub(super) weight: Tensor,
    pub(super) bias: Option<Tensor>,
}

impl Linear {
    /// `[rows, inputs]` to `[rows, outputs]`.
    ///
    /// The product of few rows is summed in another order than that of many, and that of many always in the same one. So there are
    /// always enough of them, and a row has the same bits whatever stands beside it.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (rows, inputs) = x.dims2()?;
        let outputs = self.weight.dim(1)?;
        let enough = (256 / outputs + 1).max(if outputs <= 64 { 65 } else { 2 });
        let product = if rows < enough {
            let padding = Tensor::zeros((enough - rows, inputs), DType::F32, x.device())?;
            Tensor::cat(&[x, &padding], 0)?.matmul(&self.weight)?.narrow(0, 0, rows)?
        } else {
            x.matmul(&self.weight)?
        };
        match &self.bias {
            Some(bias) => product.broadcast_add(bias),
            None => Ok(product),
        }
    }
}

/// A norm of rows, or of groups within them.
#[derive(Debug)]
pub(super) struct Norm {
    pub(super) weight: Tensor,
    pub(super) bias: Option<Tensor>,
}

impl Decoder {
    /// A decoder with weights that `get` knows by name and shape.
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
            Positions::Learned => Vec::new(),
            Positions::Rotary(speeds) => speeds.iter().cloned().map(Rotary::new).collect(),
        };
        Ok(Self { config, weights, rotations })
    }

    /// What it is built like.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Hidden states behind the last norm, `[rows, hidden_size]`.
    ///
    /// The paths of the spans lead to rows of this pass, or with a cache to rows of the cache, to which those of this pass are appended.
    ///
    /// # Errors
    ///
    /// If a token, a position or a path is none of the model's, or a cache has no room.
    pub fn hidden(&self, pass: &Pass, mut cache: Option<&mut Cache>) -> Result<Tensor> {
        let tokens = Tensor::new(pass.tokens.as_slice(), &Device::Cpu)?;
        let mut x = self.weights.embeddings.index_select(&tokens, 0)?;
        if let Some(scale) = self.config.embedding_scale {
            x = (x * scale)?;
        }
        if let Some(table) = &self.weights.positions {
            x = (x + table.index_select(&Tensor::new(&*pass.positions, &Device::Cpu)?, 0)?)?;
        }
        for (index, (layer, weights)) in self.config.layers.iter().zip(&self.weights.layers).enumerate() {
            let kept = cache.as_mut().and_then(|cache| Some((cache.rows, cache.layers.get_mut(index)?)));
            x = self.layer(layer, weights, &x, pass, kept)?;
        }
        if let Some(cache) = cache {
            cache.rows += pass.tokens.len();
        }
        self.norm(&self.weights.final_norm, &x)
    }

    /// Logits `[rows, vocab_size]` of hidden states.
    ///
    /// # Errors
    ///
    /// If their width is not the model's.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        let logits = self.weights.head.forward(hidden)?;
        match self.config.logit_softcap {
            Some(cap) => (logits / cap)?.tanh()? * cap,
            None => Ok(logits),
        }
    }

    fn layer(
        &self,
        layer: &LayerAttention,
        weights: &LayerWeights,
        x: &Tensor,
        pass: &Pass,
        kept: Option<(usize, &mut (Tensor, Tensor))>,
    ) -> Result<Tensor> {
        let optional = |norm: &Option<Norm>, x: &Tensor| match norm {
            Some(norm) => self.norm(norm, x),
            None => Ok(x.clone()),
        };
        let before = optional(&weights.before_attention, x)?;
        let attended = self.attention(layer, weights, &before, pass, kept)?;
        let attended = optional(&weights.after_attention, &attended)?;
        match self.config.wiring {
            Wiring::Before | Wiring::After | Wiring::Around => {
                let x = (x + attended)?;
                let mlp = self.mlp(weights, &optional(&weights.before_mlp, &x)?)?;
                x + optional(&weights.after_mlp, &mlp)?
            }
            Wiring::Parallel => (x + attended)? + self.mlp(weights, &optional(&weights.before_mlp, x)?)?,
            Wiring::ParallelOneNorm => (x + attended)? + self.mlp(weights, &before)?,
        }
    }

    fn attention(
        &self,
        layer: &LayerAttention,
        weights: &LayerWeights,
        x: &Tensor,
        pass: &Pass,
        kept: Option<(usize, &mut (Tensor, Tensor))>,
    ) -> Result<Tensor> {
        let config = &self.config;
        let (own, shared) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        let joined = weights.query_key_value.forward(x)?;
        let mut query = joined.narrow(D::Minus1, 0, own)?;
        let mut key = joined.narrow(D::Minus1, own, shared)?;
        let mut value = joined.narrow(D::Minus1, own + shared, shared)?;
        if let Some((query_norm, key_norm)) = &weights.head_norms {
            query = self.norm(query_norm, &query)?;
            key = self.norm(key_norm, &key)?;
        }
        if let Some(rotary) = layer.rotary.and_then(|rotary| self.rotations.get(rotary)) {
            let positions = pass.positions.iter().max().map_or(0, |last| *last as usize + 1);
            let rotate = Rotate {
                angles: rotary.angles(positions),
                positions: Arc::clone(&pass.positions),
                head_dim: config.head_dim,
            };
            query = query.apply_op1_no_bwd(&rotate)?;
            key = key.apply_op1_no_bwd(&rotate)?;
        }
        if let Some((rows, (keys, values))) = kept {
            keys.slice_set(&key.contiguous()?, 0, rows)?;
            values.slice_set(&value.contiguous()?, 0, rows)?;
            let filled = rows + pass.tokens.len();
            (key, value) = (keys.narrow(0, 0, filled)?, values.narrow(0, 0, filled)?);
        }
        let attend = Attend {
            spans: Arc::clone(&pass.spans),
            heads: config.heads,
            kv_heads: config.kv_heads,
            scale: layer.scale as f32,
            softcap: config.attention_softcap.map(|cap| cap as f32),
            window: layer.window.unwrap_or(usize::MAX),
        };
        weights.attention_out.forward(&query.apply_op3_no_bwd(&key, &value, &attend)?)
    }

    fn mlp(&self, weights: &LayerWeights, x: &Tensor) -> Result<Tensor> {
        let activate = Activate { activation: self.config.activation, gated: self.config.gated };
        weights.down.forward(&weights.up.forward(x)?.apply_op1_no_bwd(&activate)?)
    }

    fn norm(&self, norm: &Norm, x: &Tensor) -> Result<Tensor> {
        let op = Normalize {
            epsilon: self.config.norm_epsilon as f32,
            centred: self.config.norm == NormKind::Layer,
            width: norm.weight.elem_count(),
        };
        match &norm.bias {
            Some(bias) => x.apply_op3_no_bwd(&norm.weight, bias, &op),
            None => x.apply_op2_no_bwd(&norm.weight, &op),
        }
    }
}
