//! OLMo ([Groeneveld et al. 2024](https://arxiv.org/abs/2402.00838)): norms without weights, and perhaps a limit of queries, keys and values.

use crate::local::config::{DecoderConfig, NormKind};
use crate::local::error::CheckpointError;
use crate::local::family::{BASE, Family, Keys, ModelName};
use crate::local::settings::Settings;

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("olmo"),
    keys: Keys { head_dim: None, ..BASE.keys },
    norm: NormKind::LayerBare,
    adjust,
    ..BASE
};

/// Also OLMoE's.
pub(super) fn clip(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    config.clip = settings.positive("clip_qkv")?;
    Ok(())
}

fn adjust(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    // No setting changes it.
    config.norm_epsilon = 1e-5;
    clip(settings, config)
}
