//! What a model must be able to do to be trained here.

use candle_core::{Result, Tensor, Var, bail};
use serde_json::Value;

use crate::error::LabError;
use crate::ops::{CrossEntropy, Select};
use crate::options::ModelOptions;

/// A parameter of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its name in the checkpoint, as `transformers` expects it.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its initial values.
    pub initial: Initial,
    /// Whether weight decay applies.
    pub decays: bool,
}

/// The initial values of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Initial {
    /// The same number everywhere.
    Constant(f32),
    /// Drawn from a normal distribution with mean 0 and this standard deviation.
    Normal(f64),
}

/// Sequences one after the other, without padding.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Tokens of all sequences, one after the other; the rows of the model.
    pub tokens: Vec<u32>,
    /// Number of tokens of each sequence. No sequence sees another, and each begins at position 0.
    pub lengths: Vec<usize>,
}

/// The targets of the loss in a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets {
    /// Rows of the batch with a target, ascending.
    pub rows: Vec<u32>,
    /// The token that should follow each of them.
    pub ids: Vec<u32>,
}

/// A kind of model: how its checkpoint looks, and how it is run with given weights.
pub trait Architecture: Send + Sync {
    /// The checkpoint's `config.json`.
    fn config(&self) -> Value;

    /// Number of ids.
    fn vocab_size(&self) -> usize;

    /// Longest sequence in tokens.
    fn context_length(&self) -> usize;

    /// All parameters, in an order that never changes.
    fn parameters(&self) -> &[Parameter];

    /// The model with these weights, one tensor a parameter, in their order. All that it computes from them must be
    /// differentiable: training fails if a parameter gets no gradient.
    ///
    /// # Errors
    ///
    /// If a tensor doesn't have the shape of its parameter.
    fn model(&self, weights: &[Tensor]) -> Result<Box<dyn Model>>;

    /// The mean cross entropy in nats over a batch's targets, and the gradient of each parameter, in their order.
    ///
    /// Differentiates [`Architecture::model`]; an architecture can override it with something faster.
    ///
    /// # Errors
    ///
    /// If a tensor doesn't have the shape of its parameter, a target is not in the vocabulary, or a parameter gets no gradient.
    fn gradients(&self, weights: &[Tensor], batch: &Batch, targets: &Targets) -> Result<(f64, Vec<Tensor>)> {
        let variables = weights.iter().map(Var::from_tensor).collect::<Result<Vec<_>>>()?;
        let tensors: Vec<Tensor> = variables.iter().map(|variable| variable.as_tensor().clone()).collect();
        let loss = loss(&*self.model(&tensors)?, batch, targets)?;
        let mut found = loss.backward()?;
        let gradient = |(parameter, variable): (&Parameter, &Var)| match found.remove(variable) {
            Some(gradient) => Ok(gradient),
            None => bail!("the loss gives no gradient to {}", parameter.name),
        };
        let gradients = self.parameters().iter().zip(&variables).map(gradient).collect::<Result<_>>()?;
        Ok((f64::from(loss.to_scalar::<f32>()?), gradients))
    }

    /// The model for a sequence that is extended token by token, `capacity` tokens at most.
    ///
    /// # Errors
    ///
    /// If a tensor doesn't have the shape of its parameter, or there is no memory.
    fn generation(&self, weights: &[Tensor], capacity: usize) -> Result<Box<dyn Generation>>;
}

/// The mean cross entropy over a batch's targets.
pub(crate) fn loss(model: &dyn Model, batch: &Batch, targets: &Targets) -> Result<Tensor> {
    let hidden = model.hidden(batch)?.apply_op1(Select(targets.rows.as_slice().into()))?;
    model.logits(&hidden)?.apply_op1(CrossEntropy::new(&targets.ids))
}

/// A differentiable model with weights.
pub trait Model: Send {
    /// What the head reads, `[rows, width]`, of every token of a batch.
    ///
    /// # Errors
    ///
    /// If a token is not in the vocabulary, or a sequence is longer than the context.
    fn hidden(&self, batch: &Batch) -> Result<Tensor>;

    /// Logits `[rows, vocab_size]` of the token after each of some rows of [`Model::hidden`]: those without a target skip the
    /// head.
    ///
    /// # Errors
    ///
    /// If the rows have another width than the model.
    fn logits(&self, hidden: &Tensor) -> Result<Tensor>;
}

/// A sequence with the model's state: a cache of keys and values, or a recurrent state.
pub trait Generation: Send {
    /// Appends a token, and returns the logits of the next one.
    ///
    /// # Errors
    ///
    /// If the token is not in the vocabulary, or the sequence is full.
    fn step(&mut self, token: u32) -> Result<Vec<f32>>;
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

/// Makes an architecture of the given size.
pub(crate) type Build = fn(
    options: &ModelOptions,
    vocabulary: &Vocabulary,
    context_length: usize,
) -> std::result::Result<Box<dyn Architecture>, LabError>;

/// A registered architecture.
pub struct ArchitectureKind {
    /// Its name in [`ModelOptions::architecture`].
    pub name: &'static str,
    /// What it is, in a few words.
    pub summary: &'static str,
    /// Makes one; the context in tokens is that of the options, or else of the caller.
    pub(crate) build: Build,
}
