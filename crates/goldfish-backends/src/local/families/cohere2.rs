//! Command R7B and Command A ([Cohere 2025](https://arxiv.org/abs/2504.00698)): layers with a window rotate, the others see everything and don't.

use super::cohere::{self, COHERE};
use super::gemma2::alternating;
use crate::local::config::DecoderConfig;
use crate::local::error::CheckpointError;
use crate::local::family::{Family, ModelName, WindowUse};
use crate::local::settings::Settings;

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("cohere2"),
    window: WindowUse::Always,
    layer_kinds: |settings, count| alternating(settings, count, 4),
    adjust,
    ..COHERE
};

fn adjust(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    settings.refuse("use_qk_norm", "known are models without it")?;
    cohere::adjust(settings, config)?;
    for layer in &mut config.layers {
        layer.rotary = layer.rotary.filter(|_| layer.window.is_some());
    }
    Ok(())
}
