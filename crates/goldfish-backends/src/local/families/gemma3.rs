//! Gemma 3, text alone.

use super::gemma2::{self, GEMMA2, alternating};
use crate::local::config::{DecoderConfig, Positions, QkNorm};
use crate::local::error::CheckpointError;
use crate::local::family::{Family, LayerKind, ModelName};
use crate::local::rope::{Pairs, RotaryContext, RotaryDefaults, speeds_of_kinds};
use crate::local::settings::Settings;

const ROTARY: RotaryDefaults = RotaryDefaults { base: 1e6, fraction: 1.0, pairs: Pairs::Halves };

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("gemma3_text"),
    qk_norm: QkNorm::PerHead,
    rotary: Some(ROTARY),
    layer_kinds,
    adjust,
    ..GEMMA2
};

fn layer_kinds(settings: &Settings, count: usize) -> Result<Vec<LayerKind>, CheckpointError> {
    alternating(settings, count, 6)
}

fn adjust(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    gemma2::adjust(settings, config)?;
    // Layers with the window rotate at speeds of their own.
    let context = ROTARY.context(settings, config.head_dim, config.context_length)?;
    let local_base = settings.positive("rope_local_base_freq")?.unwrap_or(1e4);
    let local_context = RotaryContext { base: local_base, ..context };
    config.positions = Positions::Rotary(speeds_of_kinds(settings, &context, &local_context)?);
    let kinds = layer_kinds(settings, config.layers.len())?;
    for (layer, kind) in config.layers.iter_mut().zip(kinds) {
        layer.rotary = Some(usize::from(kind.slides));
    }
    Ok(())
}
