//! Qwen2 and Qwen2.5.

use crate::local::config::{Biases, MAX_LAYERS};
use crate::local::error::CheckpointError;
use crate::local::family::{BASE, Family, Keys, LayerKind, ModelName, WindowUse, sliding};
use crate::local::settings::Settings;

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("qwen2"),
    keys: Keys { attention_bias: None, ..BASE.keys },
    biases: Biases { query_key_value: true, ..BASE.biases },
    window: WindowUse::If("use_sliding_window"),
    layer_kinds,
    ..BASE
};

/// The layers from `max_window_layers` on have the window.
pub(super) fn layer_kinds(settings: &Settings, count: usize) -> Result<Vec<LayerKind>, CheckpointError> {
    let first = settings.whole("max_window_layers", MAX_LAYERS)?.unwrap_or(28);
    sliding(settings, count, |layer| layer >= first)
}
