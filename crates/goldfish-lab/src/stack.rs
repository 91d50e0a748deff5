//! Layers of a mixer and an MLP between embeddings and head.

use std::sync::Arc;

use candle_core::{Result, bail};

use crate::batch::Batch;
use crate::graph::Graph;
use crate::ops::{Add, Gate, Normalize, Select, Sequence};
use crate::tape::Variable;

/// What mixes the tokens of a sequence in a layer: attention, or a recurrence.
pub(crate) trait Mixer: Send + Sync {
    /// From normalized hidden states `[rows, width]` to what is added to them. Names of the layer's weights begin with `layer`.
    fn mix(&self, graph: &Graph, layer: &str, x: &Variable, rows: &Rows) -> Result<Variable>;
}

/// The rows of a batch.
pub(crate) struct Rows {
    pub(crate) sequences: Arc<[Sequence]>,
    /// The position of each row in its sequence.
    pub(crate) positions: Arc<[u32]>,
}

/// The names of the weights that are not a mixer's.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) embeddings: &'static str,
    /// What the number of a layer follows.
    pub(crate) layers: &'static str,
    /// The norm before the mixer.
    pub(crate) norm: &'static str,
    /// The norm before the MLP, in models that have one.
    pub(crate) mlp_norm: Option<&'static str>,
    pub(crate) final_norm: &'static str,
}

/// Llama's names.
pub(crate) static LLAMA: Names = Names {
    embeddings: "model.embed_tokens.weight",
    layers: "model.layers",
    norm: "input_layernorm.weight",
    mlp_norm: Some("post_attention_layernorm.weight"),
    final_norm: "model.norm.weight",
};

/// Layers with their mixers: RMS norms before the mixer and before the MLP, which is gated by `silu`; no biases.
pub(crate) struct Stack {
    pub(crate) names: &'static Names,
    /// One a layer.
    pub(crate) mixers: Vec<Box<dyn Mixer>>,
    pub(crate) epsilon: f32,
    /// Whether the head is the table of embeddings.
    pub(crate) tied: bool,
    /// Longest sequence in tokens, if there is a limit.
    pub(crate) context_length: Option<usize>,
}

impl Stack {
    fn norm(&self) -> Normalize {
        Normalize { epsilon: self.epsilon }
    }

    fn rows(&self, batch: &Batch) -> Result<Rows> {
        let longest = self.context_length.unwrap_or(usize::MAX);
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
        Ok(Rows { sequences: sequences.into(), positions })
    }

    /// Hidden states after the last norm, `[rows, width]`.
    pub(crate) fn hidden(&self, graph: &Graph, batch: &Batch) -> Result<Variable> {
        let rows = self.rows(batch)?;
        let mut x = self.embed(graph, &batch.tokens)?;
        for layer in 0..self.mixers.len() {
            x = self.layer(graph, layer, &x, &rows)?;
        }
        self.last_norm(graph, &x)
    }

    /// The embeddings of tokens, `[tokens, width]`.
    pub(crate) fn embed(&self, graph: &Graph, tokens: &[u32]) -> Result<Variable> {
        graph.apply(Select(tokens.into()), &[graph.weight(self.names.embeddings)?])
    }

    /// Hidden states after a layer, from those before it.
    pub(crate) fn layer(&self, graph: &Graph, number: usize, x: &Variable, rows: &Rows) -> Result<Variable> {
        let Some(mixer) = self.mixers.get(number) else { bail!("there is no layer {number}") };
        let layer = format!("{}.{number}.", self.names.layers);
        let weight = |name: &str| graph.weight(&format!("{layer}{name}"));
        let normal = graph.apply(self.norm(), &[x, weight(self.names.norm)?])?;
        let mixed = mixer.mix(graph, &layer, &normal, rows)?;
        let x = graph.apply(Add, &[x, &mixed])?;
        let Some(norm) = self.names.mlp_norm else { return Ok(x) };
        let normal = graph.apply(self.norm(), &[&x, weight(norm)?])?;
        let gate_up = graph.project(&layer, &["mlp.gate_proj", "mlp.up_proj"], &normal)?;
        let inner = graph.apply(Gate, &[&gate_up])?;
        let out = graph.project(&layer, &["mlp.down_proj"], &inner)?;
        graph.apply(Add, &[&x, &out])
    }

    /// What the head reads, from the hidden states after the last layer.
    pub(crate) fn last_norm(&self, graph: &Graph, x: &Variable) -> Result<Variable> {
        graph.apply(self.norm(), &[x, graph.weight(self.names.final_norm)?])
    }

    /// Logits `[rows, vocab_size]` of hidden states.
    pub(crate) fn logits(&self, graph: &Graph, hidden: &Variable) -> Result<Variable> {
        let head = if self.tied { self.names.embeddings } else { "lm_head.weight" };
        graph.multiply(hidden, graph.weight(head)?)
    }
}
