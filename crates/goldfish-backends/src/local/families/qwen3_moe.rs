//! Qwen3 with mixtures of experts ([2025](https://arxiv.org/abs/2505.09388)).

use crate::local::config::{DecoderConfig, MAX_LAYERS, QkNorm, Weighting};
use crate::local::error::CheckpointError;
use crate::local::experts_config::{APART, MIXTURE, experts};
use crate::local::family::{Family, ModelName, WindowUse};
use crate::local::settings::Settings;

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("qwen3_moe"),
    qk_norm: QkNorm::PerHead,
    window: WindowUse::If("use_sliding_window"),
    adjust,
    ..MIXTURE
};

fn adjust(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    let mut experts = experts(settings, config, "moe_intermediate_size", &APART)?;
    if !settings.flag("norm_topk_prob")? {
        experts.weighting = Weighting::AmongAll;
    }
    let step = settings.count("decoder_sparse_step", MAX_LAYERS)?.unwrap_or(1);
    for (index, has_experts) in experts.layers.iter_mut().enumerate() {
        *has_experts = (index + 1) % step == 0;
    }
    let key = "mlp_only_layers";
    for layer in settings.numbers(key)?.unwrap_or_default() {
        let index = layer as usize;
        match experts.layers.get_mut(index) {
            Some(has_experts) if index as f64 == layer => *has_experts = false,
            _ => return Err(settings.wrong(key, format!("has {layer}, which is no layer"))),
        }
    }
    config.experts = Some(experts);
    Ok(())
}
