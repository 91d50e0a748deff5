//! GLM-4 ([2024](https://arxiv.org/abs/2406.12793)) of before 2025.

use crate::local::config::{Biases, DecoderConfig, TensorNames};
use crate::local::error::CheckpointError;
use crate::local::family::{BASE, Family, ModelName};
use crate::local::rope::{Pairs, RotaryDefaults};
use crate::local::settings::Settings;

pub(super) static FAMILY: Family = GLM;

/// Also what later models differ from.
pub(super) const GLM: Family = Family {
    name: ModelName::of("glm"),
    norm_epsilon: 1.5625e-7,
    biases: Biases { query_key_value: true, ..BASE.biases },
    rotary: Some(RotaryDefaults { base: 1e4, fraction: 0.5, pairs: Pairs::Neighbours }),
    tensors: TensorNames { up: &["mlp.gate_up_proj"], ..BASE.tensors },
    adjust,
    ..BASE
};

fn adjust(_: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    config.biases.attention_out = false;
    Ok(())
}
