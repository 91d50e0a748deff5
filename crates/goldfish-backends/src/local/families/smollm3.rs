//! `SmolLM3`: some layers don't rotate, and encode no positions.

use crate::local::config::MAX_LAYERS;
use crate::local::error::CheckpointError;
use crate::local::family::{BASE, Family, Keys, LayerKind, ModelName, WindowUse, layer_types};
use crate::local::rope::{Pairs, RotaryDefaults};
use crate::local::settings::Settings;

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("smollm3"),
    keys: Keys { mlp_bias: Some("mlp_bias"), ..BASE.keys },
    rotary: Some(RotaryDefaults { base: 2e6, fraction: 1.0, pairs: Pairs::Halves }),
    window: WindowUse::If("use_sliding_window"),
    layer_kinds,
    tied: true,
    ..BASE
};

fn layer_kinds(settings: &Settings, count: usize) -> Result<Vec<LayerKind>, CheckpointError> {
    let rotates = rotating_layers(settings, count)?;
    let slides = layer_types(settings, count)?;
    let kind = |index: usize| {
        let rotates: bool = rotates[index];
        LayerKind { rotates, slides: slides.as_ref().map_or(!rotates, |slides| slides[index]) }
    };
    Ok((0..count).map(kind).collect())
}

/// Which layers rotate; also of Llama 4.
pub(super) fn rotating_layers(settings: &Settings, count: usize) -> Result<Vec<bool>, CheckpointError> {
    let key = "no_rope_layers";
    match settings.flags(key)?.filter(|rotates| !rotates.is_empty()) {
        // The name says the opposite of the values: 1 rotates.
        Some(rotates) if rotates.len() >= count => Ok(rotates[..count].to_vec()),
        Some(rotates) => {
            Err(settings.wrong(key, format!("has {} entries for {count} layers", rotates.len())))
        }
        None => {
            let interval = settings.count("no_rope_layer_interval", MAX_LAYERS)?.unwrap_or(4);
            Ok((1..=count).map(|layer| layer % interval != 0).collect())
        }
    }
}
