//! OLMo 3 ([2025](https://arxiv.org/abs/2512.13961)): OLMo 2 with windows in three layers of four.

use super::gemma2::alternating;
use super::olmo2::OLMO2;
use crate::local::config::{DecoderConfig, Positions};
use crate::local::error::CheckpointError;
use crate::local::family::{Family, ModelName, WindowUse};
use crate::local::rope::{Pairs, RotaryDefaults, speeds_of_kinds};
use crate::local::settings::Settings;

const ROTARY: RotaryDefaults = RotaryDefaults { base: 5e5, fraction: 1.0, pairs: Pairs::Halves };

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("olmo3"),
    rotary: Some(ROTARY),
    window: WindowUse::Always,
    layer_kinds: |settings, count| alternating(settings, count, 4),
    adjust,
    ..OLMO2
};

/// What scales the rotation counts in layers that see everything.
fn adjust(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    let context = ROTARY.context(settings, config.head_dim, config.context_length)?;
    config.positions = Positions::Rotary(speeds_of_kinds(settings, &context, &context)?);
    let kinds = alternating(settings, config.layers.len(), 4)?;
    for (layer, kind) in config.layers.iter_mut().zip(kinds) {
        layer.rotary = Some(usize::from(kind.slides));
    }
    Ok(())
}
