//! The decoders that audits run, as architectures.

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, bail};
use goldfish_backends::local::{Cache, Decoder, DecoderConfig, Pass, Span};
use serde_json::Value;

use crate::architecture::{Architecture, Batch, Generation, Initial, Model, Parameter, Targets};
use crate::error::LabError;
use crate::graph::{Graph, Plan};

/// The decoders that `goldfish audit` runs, as an architecture.
#[derive(Debug)]
pub struct DecoderArchitecture {
    config: Value,
    plan: Arc<Plan>,
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
        let kind = config["model_type"].as_str().unwrap_or_default().to_owned();
        let mut parameters = Vec::new();
        let mut record = |name: &str, shape: &[usize]| {
            // Norms are vectors, everything else is a matrix.
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
            let index = named.binary_search_by(|(parameter, _)| parameter.name.as_str().cmp(name));
            match index {
                Ok(index) => Ok(named[index].1.detach()),
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
}
