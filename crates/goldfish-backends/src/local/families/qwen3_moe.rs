//! Qwen3 with mixtures of experts ([2025](https://arxiv.org/abs/2505.09388)).

use crate::local::config::{DecoderConfig, MAX_LAYERS, QkNorm, Weighting};
use crate::local::error::CheckpointError;
use crate::local::experts_config::{APART, MIXTURE, experts, mark};
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
    let single = settings.numbers("mlp_only_layers")?.unwrap_or_default();
    mark(settings, "mlp_only_layers", &single, &mut experts.layers, false)?;
    config.experts = Some(experts);
    Ok(())
}
