//! Gemma 2.

use super::gemma::scale_embeddings;
use crate::local::config::{BlockLayout, DecoderConfig, MAX_LAYERS, NormKind, TensorNames};
use crate::local::error::CheckpointError;
use crate::local::family::{BASE, Family, Keys, LayerKind, ModelName, WindowUse, sliding};
use crate::local::settings::Settings;

/// Also what Gemma 3 differs from.
pub(super) const GEMMA2: Family = Family {
    name: ModelName::of("gemma2"),
    keys: Keys { activation: &["hidden_activation"], ..BASE.keys },
    layout: BlockLayout::SandwichNorm,
    norm: NormKind::RmsMinusOne,
    window: WindowUse::Always,
    layer_kinds: |settings, count| alternating(settings, count, 2),
    tied: true,
    tensors: TensorNames {
        norms: [
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
        ],
        ..BASE.tensors
    },
    adjust,
    ..BASE
};

pub(super) static FAMILY: Family = GEMMA2;

pub(super) fn adjust(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    settings.refuse("use_bidirectional_attention", "an audit needs a causal model")?;
    let scale = settings.positive("query_pre_attn_scalar")?.unwrap_or(256.0).powf(-0.5);
    config.layers.iter_mut().for_each(|layer| layer.scale = scale);
    config.attention_softcap = settings.positive("attn_logit_softcapping")?;
    config.logit_softcap = settings.positive("final_logit_softcapping")?;
    scale_embeddings(config);
    Ok(())
}

/// One layer in `interval` sees everything, the others have the window.
pub(super) fn alternating(
    settings: &Settings,
    count: usize,
    interval: usize,
) -> Result<Vec<LayerKind>, CheckpointError> {
    let interval = match settings.count("sliding_window_pattern", MAX_LAYERS)? {
        Some(interval) => interval,
        None => settings.count("_sliding_window_pattern", MAX_LAYERS)?.unwrap_or(interval),
    };
    sliding(settings, count, |layer| (layer + 1) % interval != 0)
}
