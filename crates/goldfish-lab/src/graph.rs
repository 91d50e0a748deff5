//! A decoder as a graph of differentiable operations.
//!
//! Its settings, and the names and shapes of its weights, are those that audits read ([`DecoderConfig`]); `tests` hold its logits
//! against the decoder that audits run.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::{Device, Result, Tensor, bail};
use goldfish_backends::local::{Activation, Biases, DecoderConfig, HeadNorm, NormKind, Positions, Wiring};

use crate::Batch;
use crate::ops::{Angles, Attend, Gate, Multiply, Normalize, Rotate, Sequence};

/// What all graphs of a decoder share.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) config: DecoderConfig,
    rotations: Vec<Arc<Angles>>,
}

impl Plan {
    /// `None` for decoders that have more to them than those that are trained here.
    pub(crate) fn new(config: DecoderConfig) -> Option<Self> {
        let Positions::Rotary(speeds) = &config.positions else { return None };
        let none = Biases { query_key_value: false, attention_out: false, mlp: false, head: false };
        let plain = config.wiring == Wiring::Before
            && config.norm == NormKind::Rms
            && config.head_norm == HeadNorm::None
            && config.activation == Activation::Silu
            && config.gated
            && config.biases == none
            && config.attention_softcap.is_none()
            && config.logit_softcap.is_none()
            && config.embedding_scale.is_none();
        let positions =
            if config.layers.iter().any(|l| l.rotary.is_some()) { config.context_length } else { 0 };
        let rotations = speeds.iter().map(|speeds| Arc::new(Angles::new(speeds, positions))).collect();
        plain.then_some(Self { config, rotations })
    }
}

/// A decoder with weights.
pub(crate) struct Graph {
    plan: Arc<Plan>,
    weights: HashMap<String, Tensor>,
}

/// The rows of a batch.
struct Rows {
    sequences: Arc<[Sequence]>,
    positions: Arc<[u32]>,
}

impl Graph {
    pub(crate) fn new(plan: &Arc<Plan>, weights: HashMap<String, Tensor>) -> Self {
        Self { plan: Arc::clone(plan), weights }
    }

    fn weight(&self, name: &str) -> Result<&Tensor> {
        match self.weights.get(name) {
            Some(weight) => Ok(weight),
            None => bail!("there is no weight {name}"),
        }
    }

    fn linear(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        x.apply_op2(self.weight(name)?, Multiply)
    }

    fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        x.apply_op2(self.weight(name)?, Normalize { epsilon: self.plan.config.norm_epsilon as f32 })
    }

    /// Hidden states behind the last norm, `[rows, hidden_size]`.
    pub(crate) fn hidden(&self, batch: &Batch) -> Result<Tensor> {
        let longest = self.plan.config.context_length;
        let mut sequences = Vec::with_capacity(batch.lengths.len());
        let mut end = 0;
        for length in &batch.lengths {
            if *length > longest {
                bail!("a sequence of {length} tokens, the longest can be {longest}");
            }
            sequences.push(end..end + length);
            end += length;
        }
        if end != batch.tokens.len() {
            bail!("sequences of {end} tokens in a batch of {}", batch.tokens.len());
        }
        let positions = batch.lengths.iter().flat_map(|length| (0..*length).map(|p| p as u32)).collect();
        let rows = Rows { sequences: sequences.into(), positions };
        let tokens = Tensor::new(batch.tokens.as_slice(), &Device::Cpu)?;
        let mut x = self.weight("model.embed_tokens.weight")?.index_select(&tokens, 0)?;
        for layer in 0..self.plan.config.layers.len() {
            x = self.layer(layer, &x, &rows)?;
        }
        self.norm(&x, "model.norm.weight")
    }

    /// Logits `[rows, vocab_size]` of hidden states.
    pub(crate) fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.linear(
            hidden,
            if self.plan.config.tied { "model.embed_tokens.weight" } else { "lm_head.weight" },
        )
    }

    fn layer(&self, index: usize, x: &Tensor, rows: &Rows) -> Result<Tensor> {
        let config = &self.plan.config;
        let name = |part: &str| format!("model.layers.{index}.{part}.weight");
        let before = self.norm(x, &name("input_layernorm"))?;
        let mut query = self.linear(&before, &name("self_attn.q_proj"))?;
        let mut key = self.linear(&before, &name("self_attn.k_proj"))?;
        let value = self.linear(&before, &name("self_attn.v_proj"))?;
        let layer = &config.layers[index];
        if let Some(angles) = layer.rotary.and_then(|rotation| self.plan.rotations.get(rotation)) {
            let rotate = || Rotate {
                angles: Arc::clone(angles),
                positions: Arc::clone(&rows.positions),
                head_dim: config.head_dim,
            };
            query = query.apply_op1(rotate())?;
            key = key.apply_op1(rotate())?;
        }
        let attend = Attend {
            sequences: Arc::clone(&rows.sequences),
            heads: config.heads,
            kv_heads: config.kv_heads,
            scale: layer.scale as f32,
            window: layer.window.unwrap_or(usize::MAX),
        };
        let attended = query.apply_op3(&key, &value, attend)?;
        let x = (x + self.linear(&attended, &name("self_attn.o_proj"))?)?;
        let before = self.norm(&x, &name("post_attention_layernorm"))?;
        let gate_up =
            Tensor::cat(&[self.weight(&name("mlp.gate_proj"))?, self.weight(&name("mlp.up_proj"))?], 0)?;
        let inner = before.apply_op2(&gate_up, Multiply)?.apply_op1(Gate)?;
        x + self.linear(&inner, &name("mlp.down_proj"))?
    }
}
