//! The decoders that audits run, as architectures.

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, bail};
use goldfish_backends::local::{
    Activation, Biases, BlockLayout, Cache, Decoder, DecoderConfig, NormKind, Pass, Positions, QkNorm, Span,
};
use serde_json::Value;

use crate::architecture::{Architecture, Generation};
use crate::batch::Batch;
use crate::error::LabError;
use crate::graph::{Graph, check};
use crate::mixers::Attention;
use crate::ops::Angles;
use crate::parameter::{Initial, Parameter};
use crate::stack::{LLAMA, Mixer, Stack};
use crate::tape::Variable;

/// The decoders that `goldfish audit` runs, as an architecture.
pub struct DecoderArchitecture {
    config: Value,
    decoder: DecoderConfig,
    stack: Stack,
    parameters: Vec<Parameter>,
}

impl DecoderArchitecture {
    /// The decoder of a `config.json`.
    ///
    /// # Errors
    ///
    /// If it describes a model that audits don't run, or one without gradients here: norms must be RMS norms before attention
    /// and MLP, the MLP gated by `silu`, positions rotary or none, linear layers without biases.
    pub fn from_config(config: Value, initial_deviation: f64) -> std::result::Result<Self, LabError> {
        let decoder = DecoderConfig::from_value(Path::new("config.json"), config.clone())?;
        let kind = config["model_type"].as_str().unwrap_or_default();
        let stack = stack(&decoder).ok_or_else(|| {
            let reason = format!(
                "{kind} with these settings can't be trained; train a llama or smollm3 without biases"
            );
            LabError::option("architecture", reason)
        })?;
        let mut parameters = Vec::new();
        let mut record = |name: &str, shape: &[usize]| {
            parameters.push(plain_parameter(name, shape, initial_deviation));
            Tensor::zeros(shape, DType::F32, &Device::Cpu)
        };
        Decoder::new::<candle_core::Error>(decoder.clone(), &mut record)?;
        parameters.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { config, decoder, stack, parameters })
    }
}

/// A matrix, drawn from a normal distribution, or the weight of a norm.
pub(crate) fn plain_parameter(name: &str, shape: &[usize], initial_deviation: f64) -> Parameter {
    let matrix = shape.len() > 1;
    Parameter {
        name: name.to_owned(),
        shape: shape.to_vec(),
        initial: if matrix { Initial::Normal(initial_deviation) } else { Initial::Constant(1.0) },
        decays: matrix,
    }
}

/// The layers of a decoder; `None` if it has parts that have no gradients here.
fn stack(config: &DecoderConfig) -> Option<Stack> {
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
    if !plain {
        return None;
    }
    let rotates = config.layers.iter().any(|layer| layer.rotary.is_some());
    let positions = if rotates { config.context_length } else { 0 };
    let rotations: Vec<Arc<Angles>> =
        speeds.iter().map(|speeds| Arc::new(Angles::new(speeds, positions))).collect();
    let mixer = |layer: &goldfish_backends::local::LayerAttention| {
        Box::new(Attention {
            rotation: layer.rotary.and_then(|number| rotations.get(number).cloned()),
            head_dim: config.head_dim,
            kv_heads: config.kv_heads,
            scale: layer.scale as f32,
            windows: vec![layer.window.unwrap_or(usize::MAX); config.heads].into(),
        }) as Box<dyn Mixer>
    };
    Some(Stack {
        names: &LLAMA,
        mixers: config.layers.iter().map(mixer).collect(),
        epsilon: config.norm_epsilon as f32,
        tied: config.tied,
        context_length: Some(config.context_length),
    })
}

impl Architecture for DecoderArchitecture {
    fn config(&self) -> Value {
        self.config.clone()
    }

    fn vocab_size(&self) -> usize {
        self.decoder.vocab_size
    }

    fn context_length(&self) -> Option<usize> {
        self.stack.context_length
    }

    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn hidden(&self, graph: &Graph, batch: &Batch) -> Result<Variable> {
        self.stack.hidden(graph, batch)
    }

    fn logits(&self, graph: &Graph, hidden: &Variable) -> Result<Variable> {
        self.stack.logits(graph, hidden)
    }

    fn generation(&self, weights: &[Tensor], capacity: usize) -> Result<Box<dyn Generation>> {
        check(&self.parameters, weights)?;
        let mut get = |name: &str, _: &[usize]| {
            match self.parameters.binary_search_by(|parameter| parameter.name.as_str().cmp(name)) {
                Ok(index) => Ok(weights[index].detach()),
                Err(_) => bail!("there is no weight {name}"),
            }
        };
        let decoder = Decoder::new::<candle_core::Error>(self.decoder.clone(), &mut get)?;
        let cache = Cache::new(decoder.config(), capacity)?;
        Ok(Box::new(Cached { decoder, cache, capacity }))
    }
}

/// A decoder with its cache.
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
            bail!("token {token} at position {at} is beyond the vocabulary or the capacity");
        }
        let span = Span { rows: 0..1, first: at, path: (0..=at as u32).collect() };
        let pass = Pass { tokens: vec![token], positions: [at as u32].into(), spans: [span].into() };
        let hidden = self.decoder.hidden(&pass, Some(&mut self.cache))?;
        self.decoder.logits(&hidden)?.flatten_all()?.to_vec1()
    }

    fn state_bytes(&self) -> usize {
        let config = self.decoder.config();
        let numbers = config.layers.len() * 2 * config.kv_heads * config.head_dim;
        self.cache.rows() * numbers * size_of::<f32>()
    }
}
