//! What a model must be able to do to be trained here.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Result, Tensor};
use goldfish_backends::local::{Checkpoint, NetworkConfig};
use serde_json::Value;

use crate::batch::{Batch, Targets};
use crate::error::LabError;
use crate::graph::Graph;
use crate::ops::{CrossEntropy, LogProbs, Select};
use crate::options::ModelOptions;
use crate::parameter::Parameter;
use crate::tape::{Tape, Variable};

/// A kind of model: how its checkpoint looks, and how it is run with given weights.
pub trait Architecture: Send + Sync {
    /// The checkpoint's settings, its `config.json`.
    fn config(&self) -> Value;

    /// The names of the files with its settings and its weights.
    fn file_names(&self) -> [&'static str; 2] {
        ["config.json", "model.safetensors"]
    }

    /// Files that a checkpoint has beside its config and weights, by name.
    fn files(&self) -> &'static [(&'static str, &'static [u8])] {
        &[]
    }

    /// Number of ids.
    fn vocab_size(&self) -> usize;

    /// Longest sequence in tokens, if there is a limit.
    fn context_length(&self) -> Option<usize>;

    /// All parameters, in an order that never changes.
    fn parameters(&self) -> &[Parameter];

    /// Its weights on a tape, one tensor a parameter.
    ///
    /// # Errors
    ///
    /// If a tensor doesn't have the shape of its parameter.
    fn graph(&self, tape: Tape, weights: &[Tensor]) -> Result<Graph> {
        Graph::new(tape, self.parameters(), weights)
    }

    /// What the head reads, `[rows, width]`, of every token of a batch.
    ///
    /// # Errors
    ///
    /// If a token is not in the vocabulary, or a sequence is longer than the context.
    fn hidden(&self, graph: &Graph, batch: &Batch) -> Result<Variable>;

    /// Logits `[rows, vocab_size]` of the token after each of some rows of [`Architecture::hidden`]: those without a target skip
    /// the head.
    ///
    /// # Errors
    ///
    /// If the rows have another width than the model.
    fn logits(&self, graph: &Graph, hidden: &Variable) -> Result<Variable>;

    /// The model for a sequence that is extended token by token, `capacity` tokens at most.
    ///
    /// # Errors
    ///
    /// If a tensor doesn't have the shape of its parameter, or there is no memory.
    fn generation(&self, weights: &[Tensor], capacity: usize) -> Result<Box<dyn Generation>>;

    /// The model that audits run, with these weights.
    ///
    /// # Errors
    ///
    /// If audits don't run such models.
    fn model(&self, weights: &[Tensor]) -> std::result::Result<Checkpoint, LabError> {
        let config = NetworkConfig::from_value(Path::new("config.json"), self.config())?;
        let named = self.parameters().iter().map(|parameter| parameter.name.as_str()).zip(weights);
        let named: BTreeMap<&str, &Tensor> = named.collect();
        let mut get = |name: &str, _: &[usize]| match named.get(name) {
            Some(weight) => Ok((*weight).clone()),
            None => Err(candle_core::Error::Msg(format!("there is no weight {name}")).into()),
        };
        Ok(Checkpoint::in_memory("the model", config, &mut get)?)
    }

    /// The mean cross entropy in nats over a batch's targets, and the gradient of each parameter, in their order.
    ///
    /// # Errors
    ///
    /// If a tensor doesn't have the shape of its parameter, a target is not in the vocabulary, or a parameter gets no gradient.
    fn gradients(&self, weights: &[Tensor], batch: &Batch, targets: &Targets) -> Result<(f64, Vec<Tensor>)> {
        gradients(self, weights, |graph| self.loss(graph, batch, targets))
    }

    /// The mean cross entropy in nats over a batch's targets, a scalar.
    ///
    /// # Errors
    ///
    /// Those of [`Architecture::gradients`].
    fn loss(&self, graph: &Graph, batch: &Batch, targets: &Targets) -> Result<Variable> {
        graph.apply(CrossEntropy, &[&self.log_probs(graph, batch, targets)?])
    }

    /// The log-probability in nats of each target of a batch, `[targets, 1]`.
    ///
    /// # Errors
    ///
    /// Those of [`Architecture::gradients`].
    fn log_probs(&self, graph: &Graph, batch: &Batch, targets: &Targets) -> Result<Variable> {
        let hidden = self.hidden(graph, batch)?;
        let hidden = graph.apply(Select(targets.rows.as_slice().into()), &[&hidden])?;
        let logits = self.logits(graph, &hidden)?;
        graph.apply(LogProbs::new(&targets.ids), &[&logits])
    }
}

/// A loss, and the gradient of each parameter, in their order.
pub(crate) fn gradients<A: Architecture + ?Sized>(
    architecture: &A,
    weights: &[Tensor],
    loss: impl FnOnce(&Graph) -> Result<Variable>,
) -> Result<(f64, Vec<Tensor>)> {
    let graph = architecture.graph(Tape::default(), weights)?;
    let loss = loss(&graph)?;
    graph.gradients(&loss, architecture.parameters())
}

/// Logits `[rows, vocab_size]` of the token after each of a batch's.
///
/// # Errors
///
/// Those of [`Architecture::hidden`].
pub fn logits(architecture: &dyn Architecture, weights: &[Tensor], batch: &Batch) -> Result<Tensor> {
    let graph = architecture.graph(Tape::without_gradients(), weights)?;
    let hidden = architecture.hidden(&graph, batch)?;
    Ok(architecture.logits(&graph, &hidden)?.tensor().clone())
}

/// A sequence with the model's state: a cache of keys and values, or a recurrent state.
pub trait Generation: Send {
    /// Appends a token, and returns the logits of the next one.
    ///
    /// # Errors
    ///
    /// If the token is not in the vocabulary, or the sequence is full.
    fn step(&mut self, token: u32) -> Result<Vec<f32>>;

    /// Bytes of what the model keeps of the tokens so far.
    fn state_bytes(&self) -> usize;
}

/// The ids of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vocabulary {
    /// Ids are below this.
    pub size: usize,
    /// The token that begins a sequence, if there is one.
    pub bos_id: Option<u32>,
    /// The token that ends one.
    pub eos_id: Option<u32>,
}

/// A registered architecture.
pub struct ArchitectureKind {
    /// Its name in [`ModelOptions::architecture`].
    pub name: &'static str,
    /// What it is, in a few words.
    pub summary: &'static str,
    /// Its own sizes, which [`ModelOptions::sizes`] can set.
    pub sizes: &'static [Size],
    /// The `config.json` of a model of the given size; the context in tokens is that of the options, or else of the caller.
    pub(crate) config: Config,
    /// Whether a `config.json` is of this architecture.
    pub(crate) recognizes: fn(&Value) -> bool,
    /// The architecture of such a `config.json`; matrices start with this standard deviation.
    pub(crate) open: fn(Value, f64) -> std::result::Result<Box<dyn Architecture>, LabError>,
}

/// A size of one architecture.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Its name.
    pub name: &'static str,
    /// What it is, in a few words.
    pub summary: &'static str,
}

/// Makes a `config.json`.
pub(crate) type Config = fn(
    options: &ModelOptions,
    vocabulary: &Vocabulary,
    context_length: usize,
) -> std::result::Result<Value, LabError>;
