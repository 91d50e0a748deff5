//! What a model must be able to do to be trained here, and the decoders that audits run as such.

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, Var, bail};
use goldfish_backends::local::{Cache, Decoder, DecoderConfig, Pass, Span};
use serde_json::{Value, json};

use crate::graph::{Graph, Plan};
use crate::ops::{CrossEntropy, Select};
use crate::{ArchitectureKind, LabError, ModelOptions};

/// A parameter of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its name in the checkpoint, as `transformers` expects it.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What it is at first.
    pub initial: Initial,
    /// Whether weight decay applies.
    pub decays: bool,
}

/// What a parameter is at first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Initial {
    /// The same number everywhere.
    Constant(f32),
    /// Drawn from a normal distribution with mean 0 and this standard deviation.
    Normal(f64),
}

/// Sequences side by side, without padding.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Tokens of all sequences, one after the other; the rows of the model.
    pub tokens: Vec<u32>,
    /// Number of tokens of each sequence. No sequence sees another, and each begins at position 0.
    pub lengths: Vec<usize>,
}

/// What is asked of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets {
    /// Rows of the batch that have a target, ascending.
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

    /// The model with these weights, one tensor a parameter, in their order. Everything that it computes of them must be
    /// differentiable: training fails if a parameter gets no gradient.
    ///
    /// # Errors
    ///
    /// If a tensor has not the shape of its parameter.
    fn model(&self, weights: &[Tensor]) -> Result<Box<dyn Model>>;

    /// The mean cross entropy in nats over a batch's targets, and the gradient of each parameter, in their order.
    ///
    /// Differentiates [`Architecture::model`]; an architecture can have a faster way to the same.
    ///
    /// # Errors
    ///
    /// If a tensor has not the shape of its parameter, a target is none of the model's, or a parameter gets no gradient.
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

    /// The same model for a sequence that is continued token by token, `capacity` tokens at most.
    ///
    /// # Errors
    ///
    /// If a tensor has not the shape of its parameter, or there is no memory.
    fn generation(&self, weights: &[Tensor], capacity: usize) -> Result<Box<dyn Generation>>;
}

/// The mean cross entropy over a batch's targets.
pub(crate) fn loss(model: &dyn Model, batch: &Batch, targets: &Targets) -> Result<Tensor> {
    let hidden = model.hidden(batch)?.apply_op1(Select(targets.rows.as_slice().into()))?;
    model.logits(&hidden)?.apply_op1(CrossEntropy::new(&targets.ids))
}

/// A model with weights, that can be differentiated.
pub trait Model: Send {
    /// What the head reads, `[rows, width]`, of every token of a batch.
    ///
    /// # Errors
    ///
    /// If a token or a length is none of the model's.
    fn hidden(&self, batch: &Batch) -> Result<Tensor>;

    /// Logits `[rows, vocab_size]` of the token after each of some rows of [`Model::hidden`]: rows that are not supervised don't
    /// pass the head.
    ///
    /// # Errors
    ///
    /// If the rows are not the model's.
    fn logits(&self, hidden: &Tensor) -> Result<Tensor>;
}

/// A sequence with what the model keeps of it: a cache of keys and values, or a recurrent state.
pub trait Generation: Send {
    /// Appends a token, and returns the logits of the next one.
    ///
    /// # Errors
    ///
    /// If the token is none of the model's, or the sequence has no room.
    fn step(&mut self, token: u32) -> Result<Vec<f32>>;
}

/// The ids that a model knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vocabulary {
    /// Ids are below this.
    pub size: usize,
    /// What begins a sequence, if anything does.
    pub bos_id: Option<u32>,
    /// What ends one.
    pub eos_id: Option<u32>,
}

/// The decoders that `goldfish audit` runs, as an architecture.
#[derive(Debug)]
pub struct DecoderArchitecture {
    config: Value,
    plan: Arc<Plan>,
    parameters: Vec<Parameter>,
}

impl DecoderArchitecture {
    /// A decoder of the given family and size; `context_length` in tokens, if the options name none.
    ///
    /// # Errors
    ///
    /// If the sizes don't fit each other.
    pub fn new(
        options: &ModelOptions,
        vocabulary: &Vocabulary,
        context_length: usize,
    ) -> std::result::Result<Self, LabError> {
        let config = config(options, vocabulary, options.context_length.unwrap_or(context_length))?;
        Self::from_config(config, options.initial_deviation)
    }

    /// The decoder of a `config.json`.
    ///
    /// # Errors
    ///
    /// If it describes no model that audits run, or one that has no gradients here: norms must be RMS norms before attention and MLP,
    /// the MLP gated by `silu`, positions rotary or none, linear layers without biases.
    pub fn from_config(config: Value, initial_deviation: f64) -> std::result::Result<Self, LabError> {
        let decoder = DecoderConfig::from_value(Path::new("config.json"), config.clone())?;
        let kind = config["model_type"].as_str().unwrap_or_default().to_owned();
        let mut parameters = Vec::new();
        let mut record = |name: &str, shape: &[usize]| {
            // The MLP and the heads are matrices, and so is the table of embeddings; norms are vectors.
            let matrix = shape.len() > 1;
            parameters.push(Parameter {
                name: name.to_owned(),
                shape: shape.to_vec(),
                initial: if matrix { Initial::Normal(initial_deviation) } else { Initial::Constant(1.0) },
                decays: matrix,
            });
            Tensor::zeros(shape, DType::F32, &Device::Cpu)
        };
        Decoder::new::<candle_core::Error>(decoder.clone(), &mut record)?;
        parameters.sort_by(|a, b| a.name.cmp(&b.name));
        let plan = Plan::new(decoder).ok_or_else(|| {
            LabError::option(
                "architecture",
                format!(
                    "{kind} with these settings can't be trained; train a llama or smollm3 without biases"
                ),
            )
        })?;
        Ok(Self { config, plan: Arc::new(plan), parameters })
    }
}

impl Architecture for DecoderArchitecture {
    fn config(&self) -> Value {
        self.config.clone()
    }

    fn vocab_size(&self) -> usize {
        self.plan.config.vocab_size
    }

    fn context_length(&self) -> usize {
        self.plan.config.context_length
    }

    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn model(&self, weights: &[Tensor]) -> Result<Box<dyn Model>> {
        let named = named(&self.parameters, weights)?;
        let named = named.map(|(parameter, weight)| (parameter.name.clone(), weight.clone()));
        Ok(Box::new(Graph::new(&self.plan, named.collect())))
    }

    fn gradients(&self, weights: &[Tensor], batch: &Batch, targets: &Targets) -> Result<(f64, Vec<Tensor>)> {
        let named = named(&self.parameters, weights)?;
        let named = named.map(|(parameter, weight)| (parameter.name.clone(), weight.detach()));
        let (loss, mut found) = Graph::new(&self.plan, named.collect()).gradients(batch, targets)?;
        let gradient = |parameter: &Parameter| match found.remove(&parameter.name) {
            Some(gradient) => Ok(gradient),
            None => bail!("the loss gives no gradient to {}", parameter.name),
        };
        Ok((loss, self.parameters.iter().map(gradient).collect::<Result<_>>()?))
    }

    fn generation(&self, weights: &[Tensor], capacity: usize) -> Result<Box<dyn Generation>> {
        let named: Vec<_> = named(&self.parameters, weights)?.collect();
        let mut get = |name: &str, _: &[usize]| {
            let place = named.binary_search_by(|(parameter, _)| parameter.name.as_str().cmp(name));
            match place {
                Ok(place) => Ok(named[place].1.detach()),
                Err(_) => bail!("there is no weight {name}"),
            }
        };
        let decoder = Decoder::new::<candle_core::Error>(self.plan.config.clone(), &mut get)?;
        let cache = Cache::new(decoder.config(), capacity)?;
        Ok(Box::new(Cached { decoder, cache, capacity }))
    }
}

/// Parameters with their weights.
fn named<'a>(
    parameters: &'a [Parameter],
    weights: &'a [Tensor],
) -> Result<impl Iterator<Item = (&'a Parameter, &'a Tensor)>> {
    if parameters.len() != weights.len() {
        bail!("{} weights for {} parameters", weights.len(), parameters.len());
    }
    let named = parameters.iter().zip(weights);
    if let Some((parameter, weight)) = named.clone().find(|(p, weight)| weight.dims() != p.shape) {
        bail!("{} has shape {:?}, not {:?}", parameter.name, weight.dims(), parameter.shape);
    }
    Ok(named)
}

impl Model for Graph {
    fn hidden(&self, batch: &Batch) -> Result<Tensor> {
        Self::hidden(self, batch)
    }

    fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        Self::logits(self, hidden)
    }
}

struct Cached {
    decoder: Decoder,
    cache: Cache,
    capacity: usize,
}

impl Generation for Cached {
    fn step(&mut self, token: u32) -> Result<Vec<f32>> {
        let at = self.cache.rows();
        let config = self.decoder.config();
        if at >= self.capacity.min(config.context_length) || token as usize >= config.vocab_size {
            bail!("token {token} at position {at} is beyond the vocabulary or the room");
        }
        let span = Span { rows: 0..1, first: at, path: (0..=at as u32).collect() };
        let pass = Pass { tokens: vec![token], positions: [at as u32].into(), spans: [span].into() };
        let hidden = self.decoder.hidden(&pass, Some(&mut self.cache))?;
        self.decoder.logits(&hidden)?.flatten_all()?.to_vec1()
    }
}

/// The `config.json` of a decoder.
fn config(
    options: &ModelOptions,
    vocabulary: &Vocabulary,
    context_length: usize,
) -> std::result::Result<Value, LabError> {
    let ModelOptions { layers, width, heads, .. } = *options;
    if heads == 0 || width % heads != 0 {
        return Err(LabError::option("heads", format!("{heads} heads don't divide a width of {width}")));
    }
    if !options.initial_deviation.is_finite() || options.initial_deviation <= 0.0 {
        return Err(LabError::option("initial_deviation", "must be above 0"));
    }
    let (kind, class) = match options.architecture {
        ArchitectureKind::Llama => ("llama", "LlamaForCausalLM"),
        ArchitectureKind::NoPe => ("smollm3", "SmolLM3ForCausalLM"),
    };
    let mut config = json!({
        "architectures": [class],
        "model_type": kind,
        "vocab_size": vocabulary.size,
        "hidden_size": width,
        "intermediate_size": options.mlp_width.unwrap_or_else(|| (8 * width).div_ceil(3).next_multiple_of(32)),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": options.kv_heads.unwrap_or(heads),
        "hidden_act": "silu",
        "max_position_embeddings": context_length,
        "initializer_range": options.initial_deviation,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "attention_bias": false,
        "attention_dropout": 0.0,
        "mlp_bias": false,
        "tie_word_embeddings": options.tied,
        "bos_token_id": vocabulary.bos_id,
        "eos_token_id": vocabulary.eos_id,
        "pad_token_id": null,
        "torch_dtype": "float32",
    });
    if options.architecture == ArchitectureKind::NoPe {
        // 0 in this list is a layer without positions.
        config["no_rope_layers"] = json!(vec![0; layers]);
        config["use_sliding_window"] = json!(false);
    }
    Ok(config)
}
