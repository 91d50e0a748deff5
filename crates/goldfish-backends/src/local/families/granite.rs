//! Granite ([2024](https://github.com/ibm-granite/granite-3.0-language-models)): Llama with factors of embeddings, scores, sums and logits.

use crate::local::config::DecoderConfig;
use crate::local::error::CheckpointError;
use crate::local::family::{BASE, Family, Keys, ModelName};
use crate::local::settings::Settings;

pub(super) static FAMILY: Family = GRANITE;

/// Also what its mixtures of experts differ from.
pub(super) const GRANITE: Family = Family {
    name: ModelName::of("granite"),
    keys: Keys { mlp_bias: Some("mlp_bias"), ..BASE.keys },
    adjust,
    ..BASE
};

pub(super) fn adjust(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    let scale = settings.positive("attention_multiplier")?.unwrap_or(1.0);
    config.layers.iter_mut().for_each(|layer| layer.scale = scale);
    config.embedding_scale = settings.positive("embedding_multiplier")?;
    config.residual_scale = settings.positive("residual_multiplier")?;
    config.logit_scale = settings.positive("logits_scaling")?.map(f64::recip);
    Ok(())
}
