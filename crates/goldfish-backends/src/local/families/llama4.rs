//! Llama 4 ([Meta 2025](https://ai.meta.com/blog/llama-4-multimodal-intelligence/)), text alone: layers that rotate see chunks of positions, the others
//! everything, with a factor that grows with the position; the weights of experts are those of their inputs.

use super::smollm3::rotating_layers;
use crate::local::config::{
    DecoderConfig, ExpertNames, MAX_CONTEXT_LENGTH, MAX_LAYERS, QkNorm, StoredExperts, Temperature,
    TensorNames, Weighting,
};
use crate::local::error::CheckpointError;
use crate::local::experts_config::{MIXTURE, experts, mark};
use crate::local::family::{Family, Keys, LayerKind, ModelName};
use crate::local::rope::{Pairs, RotaryDefaults};
use crate::local::settings::Settings;

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("llama4_text"),
    keys: Keys { intermediate_size: "intermediate_size_mlp", ..MIXTURE.keys },
    norm_epsilon: 1e-5,
    qk_norm: QkNorm::Bare,
    rotary: Some(RotaryDefaults { base: 5e5, fraction: 1.0, pairs: Pairs::Neighbours }),
    layer_kinds,
    tensors: TensorNames {
        up: &["feed_forward.gate_proj", "feed_forward.up_proj"],
        down: "feed_forward.down_proj",
        ..MIXTURE.tensors
    },
    adjust,
    ..MIXTURE
};

static EXPERTS: ExpertNames = ExpertNames {
    router: "feed_forward.router",
    correction: "",
    shared: "feed_forward.shared_expert",
    stored: StoredExperts::Transposed,
    up: &["feed_forward.experts.gate_up_proj"],
    down: "feed_forward.experts.down_proj",
};

fn layer_kinds(settings: &Settings, count: usize) -> Result<Vec<LayerKind>, CheckpointError> {
    let rotates = rotating_layers(settings, count)?;
    Ok(rotates.into_iter().map(|rotates| LayerKind { rotates, slides: false }).collect())
}

fn adjust(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    if !settings.flag_or("use_qk_norm", true)? {
        config.qk_norm = QkNorm::None;
    }
    let chunk = settings.count("attention_chunk_size", MAX_CONTEXT_LENGTH)?;
    let chunked = chunked_layers(settings, config)?;
    let grows = settings.flag_or("attn_temperature_tuning", true)?;
    let temperature = Temperature {
        step: settings.positive("floor_scale")?.unwrap_or(8192.0) as f32,
        weight: settings.number("attn_scale")?.unwrap_or(0.1) as f32,
    };
    for (layer, chunked) in config.layers.iter_mut().zip(chunked) {
        layer.chunk = chunk.filter(|_| chunked);
        layer.temperature = (grows && layer.rotary.is_none()).then_some(temperature);
    }
    let mut experts = experts(settings, config, "intermediate_size", &EXPERTS)?;
    experts.shared_size = Some(experts.intermediate_size);
    experts.weighting = Weighting::OfInputs;
    let step = settings.count("interleave_moe_layer_step", MAX_LAYERS)?.unwrap_or(1);
    let listed = settings.numbers("moe_layers")?;
    for (index, has_experts) in experts.layers.iter_mut().enumerate() {
        *has_experts = listed.is_none() && (index + 1) % step == 0;
    }
    mark(settings, "moe_layers", &listed.unwrap_or_default(), &mut experts.layers, true)?;
    config.experts = Some(experts);
    Ok(())
}

/// Which layers see chunks: those that `layer_types` says, or else those that rotate.
fn chunked_layers(settings: &Settings, config: &DecoderConfig) -> Result<Vec<bool>, CheckpointError> {
    let key = "layer_types";
    let Some(kinds) = settings.texts(key)? else {
        return Ok(config.layers.iter().map(|layer| layer.rotary.is_some()).collect());
    };
    let known = ["full_attention", "chunked_attention"];
    if kinds.iter().any(|kind| !known.contains(kind)) {
        return Err(settings.unsupported(key, "known are full_attention and chunked_attention"));
    }
    let count = config.layers.len();
    if kinds.len() != count {
        return Err(settings.wrong(key, format!("has {} entries for {count} layers", kinds.len())));
    }
    Ok(kinds.into_iter().map(|kind| kind == known[1]).collect())
}
