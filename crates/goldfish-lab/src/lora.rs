//! Adapters of low rank, LoRA ([Hu et al. 2021](https://arxiv.org/abs/2106.09685)): what is trained in place of the weights of a
//! checkpoint. They are saved as PEFT saves them.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{Result, Tensor};
use goldfish_backends::local::Checkpoint;
use serde_json::{Value, json};

use crate::architecture::{Architecture, Generation};
use crate::batch::Batch;
use crate::error::LabError;
use crate::graph::{Graph, check};
use crate::ops::AddLowRank;
use crate::options::LoraOptions;
use crate::parameter::{Initial, Parameter};
use crate::tape::{Tape, Variable};

/// Layers without adapters, by `model_type`: the fast code of `transformers` reads their weights without calling the layer, and PEFT
/// refuses the second.
const REFUSED: [(&str, &str); 2] = [("mamba", "dt_proj"), ("mamba", "out_proj")];

/// A model whose weights stay as they are, with adapters, which are trained.
///
/// A weight `W` `[outputs, inputs]` becomes `W + alpha / rank B A` with `A` `[rank, inputs]` and `B` `[outputs, rank]`. At first `B` is 0,
/// and `A` uniform between plus and minus `inputs^-0.5`.
struct Adapted {
    base: Box<dyn Architecture>,
    /// One tensor a parameter of the base.
    weights: Vec<Tensor>,
    /// `A` and `B` of every adapted weight.
    parameters: Vec<Parameter>,
    /// Where these are, by the name of the weight.
    adapters: BTreeMap<String, [usize; 2]>,
    targets: Vec<String>,
    rank: usize,
    alpha: usize,
}

/// Adapters of a model with these weights, one tensor a parameter. The parameters of the result are those of the adapters alone.
///
/// # Errors
///
/// If the rank is 0 or larger than a side of an adapted weight, a target can't have adapters, or the weights
/// are not those of the model.
pub fn adapted(
    base: Box<dyn Architecture>,
    weights: Vec<Tensor>,
    options: &LoraOptions,
) -> std::result::Result<Box<dyn Architecture>, LabError> {
    check(base.parameters(), &weights)?;
    let LoraOptions { rank, alpha, .. } = *options;
    let alpha = alpha.unwrap_or(2 * rank);
    for (option, count) in [("lora_rank", rank), ("lora_alpha", alpha)] {
        if count == 0 {
            return Err(LabError::option(option, "must be at least 1"));
        }
    }
    let layers = linear_layers(&*base, &weights)?;
    let known: BTreeSet<&str> = layers.iter().map(|layer| last_component(layer)).collect();
    let mut targets = options.targets.clone();
    if targets.is_empty() {
        targets.extend(known.iter().map(|name| (*name).to_owned()));
    }
    targets.sort();
    targets.dedup();
    if let Some(unknown) = targets.iter().find(|target| !layers.iter().any(|layer| is_target(layer, target)))
    {
        let known: Vec<&str> = known.into_iter().collect();
        let reason = format!("{unknown:?} can't have adapters; the layers that can are {}", known.join(", "));
        return Err(LabError::option("lora_targets", reason));
    }
    let mut parameters = Vec::new();
    for layer in layers.iter().filter(|layer| targets.iter().any(|target| is_target(layer, target))) {
        let weight = base.parameters().iter().find(|parameter| parameter.name == weight_name(layer));
        let Some(&[outputs, inputs]) = weight.map(|weight| weight.shape.as_slice()) else { continue };
        if rank > outputs.min(inputs) {
            let reason = format!(
                "{rank} is larger than a side of the weight of {layer}, which is [{outputs}, {inputs}]; choose a smaller rank, or other layers"
            );
            return Err(LabError::option("lora_rank", reason));
        }
        let start = Initial::Uniform((inputs as f64).powf(-0.5));
        for (part, shape, initial) in
            [("A", [rank, inputs], start), ("B", [outputs, rank], Initial::Constant(0.0))]
        {
            let name = adapter_name(layer, part);
            parameters.push(Parameter { name, shape: shape.to_vec(), initial, decays: true });
        }
    }
    parameters.sort_by(|a, b| a.name.cmp(&b.name));
    let place = |name: String| parameters.iter().position(|parameter| parameter.name == name);
    let adapters = layers.iter().filter_map(|layer| {
        let [a, b] = ["A", "B"].map(|part| place(adapter_name(layer, part)));
        Some((weight_name(layer), [a?, b?]))
    });
    let adapters = adapters.collect();
    Ok(Box::new(Adapted { base, weights, parameters, adapters, targets, rank, alpha }))
}

/// The linear layers that can have adapters: those that a pass over one token computes.
fn linear_layers(base: &dyn Architecture, weights: &[Tensor]) -> Result<Vec<String>> {
    let graph = base.graph(Tape::without_gradients(), weights)?;
    base.hidden(&graph, &Batch { tokens: vec![0], lengths: vec![1] })?;
    let config = base.config();
    let refused = |layer: &str| {
        REFUSED.iter().any(|(model, name)| config["model_type"] == *model && last_component(layer) == *name)
    };
    let names = graph.into_projected();
    let layers = names.iter().filter_map(|name| name.strip_suffix(".weight"));
    Ok(layers.filter(|layer| !refused(layer)).map(str::to_owned).collect())
}

/// Whether a layer is meant, as PEFT decides it: its name, or the end of it.
fn is_target(layer: &str, target: &str) -> bool {
    layer.strip_suffix(target).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn last_component(layer: &str) -> &str {
    layer.rsplit('.').next().unwrap_or(layer)
}

fn weight_name(layer: &str) -> String {
    format!("{layer}.weight")
}

fn adapter_name(layer: &str, part: &str) -> String {
    format!("base_model.model.{layer}.lora_{part}.weight")
}

impl Adapted {
    /// The weights of the checkpoint with the adapters' products, in the order of its parameters.
    fn merged(&self, weights: &[Tensor]) -> Result<Vec<Tensor>> {
        let graph = self.graph(Tape::without_gradients(), weights)?;
        let weight = |parameter: &Parameter| Ok(graph.weight(&parameter.name)?.tensor().clone());
        self.base.parameters().iter().map(weight).collect()
    }
}

impl Architecture for Adapted {
    /// `adapter_config.json`, without the place of the checkpoint.
    fn config(&self) -> Value {
        json!({
            "base_model_name_or_path": null,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "lora_alpha": self.alpha,
            "lora_dropout": 0.0,
            "peft_type": "LORA",
            "r": self.rank,
            "target_modules": self.targets,
            "task_type": "CAUSAL_LM",
        })
    }

    fn file_names(&self) -> [&'static str; 2] {
        ["adapter_config.json", "adapter_model.safetensors"]
    }

    fn vocab_size(&self) -> usize {
        self.base.vocab_size()
    }

    fn context_length(&self) -> Option<usize> {
        self.base.context_length()
    }

    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn graph(&self, tape: Tape, weights: &[Tensor]) -> Result<Graph> {
        let mut graph = Graph::new(tape, &self.parameters, weights)?;
        let scale = self.alpha as f64 / self.rank as f64;
        for (parameter, weight) in self.base.parameters().iter().zip(&self.weights) {
            let weight = match self.adapters.get(&parameter.name) {
                None => Tape::constant(weight.clone()),
                Some(adapter) => {
                    let [a, b] = adapter.map(|place| self.parameters[place].name.as_str());
                    let add = AddLowRank { weight: weight.clone(), scale };
                    graph.apply(add, &[graph.weight(a)?, graph.weight(b)?])?
                }
            };
            graph.add_weight(parameter.name.clone(), weight);
        }
        Ok(graph)
    }

    fn hidden(&self, graph: &Graph, batch: &Batch) -> Result<Variable> {
        self.base.hidden(graph, batch)
    }

    fn logits(&self, graph: &Graph, hidden: &Variable) -> Result<Variable> {
        self.base.logits(graph, hidden)
    }

    fn generation(&self, weights: &[Tensor], capacity: usize) -> Result<Box<dyn Generation>> {
        self.base.generation(&self.merged(weights)?, capacity)
    }

    fn model(&self, weights: &[Tensor]) -> std::result::Result<Checkpoint, LabError> {
        self.base.model(&self.merged(weights)?)
    }
}
