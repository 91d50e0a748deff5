//! The networks that audits run, as architectures with gradients.
//!
//! Their settings, and the names and shapes of their weights, are those that audits read ([`NetworkConfig`]); tests compare the
//! logits with those of the networks that audits run.

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, bail};
use goldfish_backends::local::{
    Activation, Biases, BlockLayout, Cache, Decoder, DecoderConfig, LayerAttention, NetworkConfig, NormKind,
    Pairs, Pass, Positions, QkNorm, Recurrent, Span, State,
};
use serde_json::Value;

use crate::architecture::{Architecture, Generation};
use crate::batch::Batch;
use crate::error::LabError;
use crate::graph::{Graph, check};
use crate::mixers::Attention;
use crate::ops::Angles;
use crate::parameter::{Initial, Parameter};
use crate::stack::{LLAMA, Mixer, Names, Stack};
use crate::tape::Variable;

/// A network that audits run, as an architecture.
pub(crate) struct Layered {
    config: Value,
    network: NetworkConfig,
    stack: Stack,
    parameters: Vec<Parameter>,
}

/// The initial values of a parameter by its name, if they are not those of every matrix or norm.
pub(crate) type InitialOf<'a> = dyn Fn(&str) -> Option<Initial> + 'a;

impl Layered {
    fn build(
        config: Value,
        network: NetworkConfig,
        stack: Stack,
        initial_deviation: f64,
        special: &InitialOf<'_>,
    ) -> std::result::Result<Self, LabError> {
        let mut parameters = Vec::new();
        let mut record = |name: &str, shape: &[usize]| {
            // Norms are vectors, what else is plain is a matrix.
            let matrix = shape.len() > 1;
            let plain = if matrix { Initial::Normal(initial_deviation) } else { Initial::Constant(1.0) };
            let initial = special(name);
            // Mamba's rates are the exception (its reference code says so too).
            let decays = matrix && initial != Some(Initial::Logarithms);
            let (name, shape) = (name.to_owned(), shape.to_vec());
            let zeros = Tensor::zeros(shape.as_slice(), DType::F32, &Device::Cpu);
            parameters.push(Parameter { name, shape, initial: initial.unwrap_or(plain), decays });
            zeros
        };
        match &network {
            NetworkConfig::Decoder(decoder) => {
                Decoder::new::<candle_core::Error>(decoder.clone(), &mut record)?;
            }
            NetworkConfig::Recurrent(recurrent) => {
                Recurrent::new::<candle_core::Error>(recurrent.clone(), &mut record)?;
            }
        }
        parameters.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { config, network, stack, parameters })
    }
}

/// The decoder of a `config.json`: norms must be RMS norms before attention and MLP, the MLP gated by `silu`, positions rotary or
/// none, linear layers without biases.
pub(crate) fn decoder(
    config: Value,
    initial_deviation: f64,
) -> std::result::Result<Box<dyn Architecture>, LabError> {
    Ok(Box::new(new_decoder(config, initial_deviation)?))
}

/// The layers of the same decoder and its parameters, to run them in another way.
pub(crate) fn decoder_layers(
    config: Value,
    initial_deviation: f64,
) -> std::result::Result<(Stack, Vec<Parameter>), LabError> {
    let Layered { stack, parameters, .. } = new_decoder(config, initial_deviation)?;
    Ok((stack, parameters))
}

fn new_decoder(config: Value, initial_deviation: f64) -> std::result::Result<Layered, LabError> {
    let decoder = DecoderConfig::from_value(Path::new("config.json"), config.clone())?;
    let Some(stack) = decoder_stack(&decoder) else {
        let kind = config["model_type"].as_str().unwrap_or_default();
        let reason =
            format!("{kind} with these settings can't be trained; train a llama or smollm3 without biases");
        return Err(LabError::option("architecture", reason));
    };
    Layered::build(config, NetworkConfig::Decoder(decoder), stack, initial_deviation, &|_| None)
}

/// The layers of a decoder; `None` if it has parts that have no gradients here.
fn decoder_stack(config: &DecoderConfig) -> Option<Stack> {
    let none = Biases { query_key_value: false, attention_out: false, mlp: false, head: false };
    let plain = config.layout == BlockLayout::PreNorm
        && config.norm == NormKind::Rms
        && config.qk_norm == QkNorm::None
        && config.activation == Activation::Silu
        && config.gated
        && config.biases == none
        && config.attention_softcap.is_none()
        && config.logit_softcap.is_none()
        && config.embedding_scale.is_none()
        && config.clip.is_none()
        && config.logit_scale.is_none()
        && config.residual_scale.is_none()
        && config.embedding_size.is_none()
        && config.final_norm
        && config.experts.is_none();
    let speeds = match &config.positions {
        Positions::Rotary(speeds) => speeds.as_slice(),
        Positions::None => &[],
        Positions::Learned | Positions::Alibi(_) => return None,
    };
    if !plain || speeds.iter().any(|speeds| speeds.pairs != Pairs::Halves) {
        return None;
    }
    let rotates = config.layers.iter().any(|layer| layer.rotary.is_some());
    let positions = if rotates { config.context_length } else { 0 };
    let rotations: Vec<Arc<Angles>> =
        speeds.iter().map(|speeds| Arc::new(Angles::new(speeds, positions))).collect();
    let mixer = |layer: &LayerAttention| -> Box<dyn Mixer> {
        let all = layer.window.unwrap_or(usize::MAX);
        // The first heads see as many positions as their numbers, counted from 1.
        let window = |head| if head < layer.growing_windows { all.min(head + 1) } else { all };
        Box::new(Attention {
            rotation: layer.rotary.and_then(|number| rotations.get(number).cloned()),
            head_dim: config.head_dim,
            kv_heads: config.kv_heads,
            scale: layer.scale as f32,
            windows: (0..config.heads).map(window).collect(),
        })
    };
    Some(Stack {
        names: &LLAMA,
        mixers: config.layers.iter().map(mixer).collect(),
        epsilon: config.norm_epsilon as f32,
        tied: config.tied,
        context_length: config.longest(),
    })
}

/// The recurrent network of a `config.json`; `mixer` makes the mixer of a layer.
pub(crate) fn recurrent(
    config: Value,
    initial_deviation: f64,
    names: &'static Names,
    mixer: &dyn Fn() -> Box<dyn Mixer>,
    special: &InitialOf<'_>,
) -> std::result::Result<Box<dyn Architecture>, LabError> {
    let network = NetworkConfig::from_value(Path::new("config.json"), config.clone())?;
    let NetworkConfig::Recurrent(recurrent) = &network else {
        return Err(LabError::option("architecture", "has no recurrent state"));
    };
    if recurrent.activation != Activation::Silu {
        return Err(LabError::option("architecture", "has an activation that is not silu"));
    }
    let stack = Stack {
        names,
        mixers: (0..recurrent.layers).map(|_| mixer()).collect(),
        epsilon: recurrent.norm_epsilon as f32,
        tied: recurrent.tied,
        context_length: None,
    };
    Ok(Box::new(Layered::build(config, network, stack, initial_deviation, special)?))
}

impl Architecture for Layered {
    fn config(&self) -> Value {
        self.config.clone()
    }

    fn files(&self) -> &'static [(&'static str, &'static [u8])] {
        match self.config["model_type"] == "goldfish_lab" {
            true => &[("modeling_goldfish_lab.py", include_bytes!("modeling_goldfish_lab.py"))],
            false => &[],
        }
    }

    fn vocab_size(&self) -> usize {
        match &self.network {
            NetworkConfig::Decoder(decoder) => decoder.vocab_size,
            NetworkConfig::Recurrent(recurrent) => recurrent.vocab_size,
        }
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
        let mut get = |name: &str, _: &[usize]| match self
            .parameters
            .binary_search_by(|parameter| parameter.name.as_str().cmp(name))
        {
            Ok(index) => Ok(weights[index].detach()),
            Err(_) => bail!("there is no weight {name}"),
        };
        match &self.network {
            NetworkConfig::Decoder(config) => {
                let decoder = Decoder::new::<candle_core::Error>(config.clone(), &mut get)?;
                let cache = Cache::new(decoder.config(), capacity)?;
                Ok(Box::new(Cached { decoder, cache, capacity }))
            }
            NetworkConfig::Recurrent(config) => {
                let network = Recurrent::new::<candle_core::Error>(config.clone(), &mut get)?;
                let state = network.state();
                Ok(Box::new(Stateful { network, state, left: capacity }))
            }
        }
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
        let room = self.capacity.min(config.longest().unwrap_or(usize::MAX));
        if at >= room || token as usize >= config.vocab_size {
            bail!("token {token} at position {at} is beyond the vocabulary or the capacity");
        }
        let span = Span { rows: 0..1, first: at, path: (0..=at as u32).collect() };
        let pass = Pass { tokens: vec![token], positions: [at as u32].into(), spans: [span].into() };
        let hidden = self.decoder.hidden(&pass, Some(&mut self.cache))?;
        self.decoder.logits(&hidden)?.flatten_all()?.to_vec1()
    }

    fn state_bytes(&self) -> usize {
        self.cache.bytes()
    }
}

/// A recurrent network with its state.
struct Stateful {
    network: Recurrent,
    state: State,
    /// How many tokens may follow.
    left: usize,
}

impl Generation for Stateful {
    fn step(&mut self, token: u32) -> Result<Vec<f32>> {
        if self.left == 0 {
            bail!("token {token} is beyond the capacity");
        }
        let hidden = self.network.step(std::slice::from_mut(&mut self.state), &[token])?;
        self.left -= 1;
        self.network.logits(&hidden)?.flatten_all()?.to_vec1()
    }

    fn state_bytes(&self) -> usize {
        self.state.bytes()
    }
}
