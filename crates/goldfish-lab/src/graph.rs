//! A decoder as operations with gradients.
//!
//! Its settings, and the names and shapes of its weights, are those that audits read ([`DecoderConfig`]); tests compare its
//! logits with the decoder that audits run, and its gradients with those of candle's graph.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::{CustomOp1, CustomOp2, CustomOp3, Result, Tensor, bail};
use goldfish_backends::local::{Activation, Biases, BlockLayout, DecoderConfig, NormKind, Positions, QkNorm};

use crate::architecture::{Batch, Targets};
use crate::ops::{Add, Angles, Attend, CrossEntropy, Gate, Multiply, Normalize, Rotate, Select, Sequence};

/// What all graphs of a decoder have in common.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) config: DecoderConfig,
    rotations: Vec<Arc<Angles>>,
}

impl Plan {
    /// `None` for decoders with parts that have no gradients here.
    pub(crate) fn new(config: DecoderConfig) -> Option<Self> {
        let Positions::Rotary(speeds) = &config.positions else { return None };
        let none = Biases { query_key_value: false, attention_out: false, mlp: false, head: false };
        let plain = config.layout == BlockLayout::PreNorm
            && config.norm == NormKind::Rms
            && config.qk_norm == QkNorm::None
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

const EMBEDDINGS: &str = "model.embed_tokens.weight";
const FINAL_NORM: &str = "model.norm.weight";
const QUERY_KEY_VALUE: [&str; 3] = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"];
const GATE_UP: [&str; 2] = ["mlp.gate_proj", "mlp.up_proj"];

/// A decoder with weights.
pub(crate) struct Graph {
    plan: Arc<Plan>,
    weights: HashMap<String, Tensor>,
}

/// The rows of a batch.
struct Rows {
    tokens: Arc<[u32]>,
    sequences: Arc<[Sequence]>,
    positions: Arc<[u32]>,
}

/// Intermediate results of a layer, for its gradients.
struct Activations {
    x: Tensor,
    before: Tensor,
    query_key_value: Tensor,
    rotated: [Tensor; 3],
    attended: Tensor,
    middle: Tensor,
    between: Tensor,
    gate_up: Tensor,
    joined: Tensor,
    inner: Tensor,
}

/// Gradients by the names of the weights.
struct Gradients<'a> {
    graph: &'a Graph,
    found: HashMap<String, Tensor>,
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

    /// The weights of linear layers with one input, joined.
    fn joined<const N: usize>(&self, layer: usize, parts: [&str; N]) -> Result<Tensor> {
        let weights = parts.iter().map(|part| self.weight(&name(layer, part)));
        Tensor::cat(&weights.collect::<Result<Vec<_>>>()?, 0)
    }

    fn head(&self) -> &'static str {
        if self.plan.config.tied { EMBEDDINGS } else { "lm_head.weight" }
    }

    fn norm(&self) -> Normalize {
        Normalize { epsilon: self.plan.config.norm_epsilon as f32 }
    }

    fn rows(&self, batch: &Batch) -> Result<Rows> {
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
        Ok(Rows { tokens: batch.tokens.as_slice().into(), sequences: sequences.into(), positions })
    }

    /// Hidden states after the last norm, `[rows, hidden_size]`.
    pub(crate) fn hidden(&self, batch: &Batch) -> Result<Tensor> {
        let rows = self.rows(batch)?;
        let mut x = self.weight(EMBEDDINGS)?.apply_op1(Select(Arc::clone(&rows.tokens)))?;
        for layer in 0..self.plan.config.layers.len() {
            (x, _) = self.layer(layer, x, &rows)?;
        }
        x.apply_op2(self.weight(FINAL_NORM)?, self.norm())
    }

    /// Logits `[rows, vocab_size]` of hidden states.
    pub(crate) fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        hidden.apply_op2(self.weight(self.head())?, Multiply)
    }

    fn rotation(&self, layer: usize, rows: &Rows) -> Option<Rotate> {
        let config = &self.plan.config;
        let angles = self.plan.rotations.get(config.layers[layer].rotary?)?;
        let (angles, positions) = (Arc::clone(angles), Arc::clone(&rows.positions));
        Some(Rotate { angles, positions, head_dim: config.head_dim })
    }

    fn attend(&self, layer: usize, rows: &Rows) -> Attend {
        let config = &self.plan.config;
        let layer = &config.layers[layer];
        Attend {
            sequences: Arc::clone(&rows.sequences),
            heads: config.heads,
            kv_heads: config.kv_heads,
            scale: layer.scale as f32,
            window: layer.window.unwrap_or(usize::MAX),
        }
    }

    fn layer(&self, layer: usize, x: Tensor, rows: &Rows) -> Result<(Tensor, Activations)> {
        let config = &self.plan.config;
        let weight = |part| self.weight(&name(layer, part));
        let (own, shared) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        let before = x.apply_op2(weight("input_layernorm")?, self.norm())?;
        let query_key_value = self.joined(layer, QUERY_KEY_VALUE)?;
        let all = before.apply_op2(&query_key_value, Multiply)?;
        let (mut query, mut key) = (all.narrow(1, 0, own)?, all.narrow(1, own, shared)?);
        let value = all.narrow(1, own + shared, shared)?;
        if let Some(rotation) = self.rotation(layer, rows) {
            query = query.apply_op1(rotation.clone())?;
            key = key.apply_op1(rotation)?;
        }
        let attended = query.apply_op3(&key, &value, self.attend(layer, rows))?;
        let middle = x.apply_op2(&attended.apply_op2(weight("self_attn.o_proj")?, Multiply)?, Add)?;
        let between = middle.apply_op2(weight("post_attention_layernorm")?, self.norm())?;
        let gate_up = self.joined(layer, GATE_UP)?;
        let joined = between.apply_op2(&gate_up, Multiply)?;
        let inner = joined.apply_op1(Gate)?;
        let out = middle.apply_op2(&inner.apply_op2(weight("mlp.down_proj")?, Multiply)?, Add)?;
        let rotated = [query, key, value];
        let saved = Activations {
            x,
            before,
            query_key_value,
            rotated,
            attended,
            middle,
            between,
            gate_up,
            joined,
            inner,
        };
        Ok((out, saved))
    }

    /// The mean cross entropy over a batch's targets, and the gradient of each weight.
    ///
    /// Candle's graph gives the same, but sets every gradient to zeros first and adds to it, one operation after the other.
    pub(crate) fn gradients(
        &self,
        batch: &Batch,
        targets: &Targets,
    ) -> Result<(f64, HashMap<String, Tensor>)> {
        let rows = self.rows(batch)?;
        let embed = Select(Arc::clone(&rows.tokens));
        let embeddings = self.weight(EMBEDDINGS)?;
        let mut x = embeddings.apply_op1_no_bwd(&embed)?;
        let mut saved = Vec::new();
        for layer in 0..self.plan.config.layers.len() {
            let (out, own) = self.layer(layer, x, &rows)?;
            saved.push(own);
            x = out;
        }
        let norm = self.weight(FINAL_NORM)?;
        let hidden = x.apply_op2_no_bwd(norm, &self.norm())?;
        let supervise = Select(targets.rows.as_slice().into());
        let supervised = hidden.apply_op1_no_bwd(&supervise)?;
        let head = self.weight(self.head())?;
        let logits = supervised.apply_op2_no_bwd(head, &Multiply)?;
        let entropy = CrossEntropy::new(&targets.ids);
        let loss = logits.apply_op1_no_bwd(&entropy)?;

        let mut found = Gradients { graph: self, found: HashMap::new() };
        let one = Tensor::new(1f32, loss.device())?;
        let grad = given(entropy.bwd(&logits, &loss, &one)?)?;
        let grad = found.multiply(&supervised, head, self.head(), &grad)?;
        let grad = given(supervise.bwd(&hidden, &supervised, &grad)?)?;
        let mut grad = found.normalize(&x, FINAL_NORM, &grad)?;
        for (layer, saved) in saved.iter().enumerate().rev() {
            grad = found.layer(layer, saved, &rows, &grad)?;
        }
        let of_embeddings = given(embed.bwd(embeddings, &x, &grad)?)?;
        found.put(EMBEDDINGS, of_embeddings)?;
        Ok((f64::from(loss.to_scalar::<f32>()?), found.found))
    }
}

impl Gradients<'_> {
    /// Stores a gradient, or adds it if a weight is used twice.
    fn put(&mut self, name: &str, gradient: Tensor) -> Result<()> {
        let sum = match self.found.remove(name) {
            Some(other) => other.apply_op2_no_bwd(&gradient, &Add)?,
            None => gradient,
        };
        self.found.insert(name.to_owned(), sum);
        Ok(())
    }

    /// Stores the gradient of a linear layer's weight, and returns that of its rows.
    fn multiply(&mut self, x: &Tensor, weight: &Tensor, name: &str, grad: &Tensor) -> Result<Tensor> {
        let (of_x, of_weight) = Multiply.bwd(x, weight, grad, grad)?;
        self.put(name, given(of_weight)?)?;
        given(of_x)
    }

    /// The same for joined linear layers.
    fn multiply_joined(
        &mut self,
        x: &Tensor,
        weight: &Tensor,
        layer: usize,
        parts: &[&str],
        grad: &Tensor,
    ) -> Result<Tensor> {
        let (of_x, of_weight) = Multiply.bwd(x, weight, grad, grad)?;
        let of_weight = given(of_weight)?;
        let mut start = 0;
        for part in parts {
            let name = name(layer, part);
            let outputs = self.graph.weight(&name)?.dim(0)?;
            self.put(&name, of_weight.narrow(0, start, outputs)?)?;
            start += outputs;
        }
        given(of_x)
    }

    fn normalize(&mut self, x: &Tensor, name: &str, grad: &Tensor) -> Result<Tensor> {
        let (of_x, of_weight) = self.graph.norm().bwd(x, self.graph.weight(name)?, grad, grad)?;
        self.put(name, given(of_weight)?)?;
        given(of_x)
    }

    /// From the gradient of a layer's output to that of its input.
    fn layer(&mut self, layer: usize, saved: &Activations, rows: &Rows, grad: &Tensor) -> Result<Tensor> {
        let graph = self.graph;
        let part = |part| name(layer, part);
        let of_inner = {
            let name = part("mlp.down_proj");
            self.multiply(&saved.inner, graph.weight(&name)?, &name, grad)?
        };
        let of_joined = given(Gate.bwd(&saved.joined, &saved.inner, &of_inner)?)?;
        let of_between = self.multiply_joined(&saved.between, &saved.gate_up, layer, &GATE_UP, &of_joined)?;
        let of_middle = self.normalize(&saved.middle, &part("post_attention_layernorm"), &of_between)?;
        let of_middle = grad.apply_op2_no_bwd(&of_middle, &Add)?;
        let of_attended = {
            let name = part("self_attn.o_proj");
            self.multiply(&saved.attended, graph.weight(&name)?, &name, &of_middle)?
        };
        let [query, key, value] = &saved.rotated;
        let (of_query, of_key, of_value) =
            graph.attend(layer, rows).bwd(query, key, value, &saved.attended, &of_attended)?;
        let (mut of_query, mut of_key) = (given(of_query)?, given(of_key)?);
        if let Some(rotation) = graph.rotation(layer, rows) {
            of_query = given(rotation.bwd(query, query, &of_query)?)?;
            of_key = given(rotation.bwd(key, key, &of_key)?)?;
        }
        let of_all = Tensor::cat(&[of_query, of_key, given(of_value)?], 1)?;
        let of_before =
            self.multiply_joined(&saved.before, &saved.query_key_value, layer, &QUERY_KEY_VALUE, &of_all)?;
        let of_x = self.normalize(&saved.x, &part("input_layernorm"), &of_before)?;
        of_middle.apply_op2_no_bwd(&of_x, &Add)
    }
}

/// The name of a layer's weight.
fn name(layer: usize, part: &str) -> String {
    format!("model.layers.{layer}.{part}.weight")
}

fn given(gradient: Option<Tensor>) -> Result<Tensor> {
    match gradient {
        Some(gradient) => Ok(gradient),
        None => bail!("an operation gives no gradient"),
    }
}
