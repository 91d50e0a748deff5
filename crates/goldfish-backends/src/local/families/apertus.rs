//! Apertus ([2025](https://arxiv.org/abs/2509.14233)): xIELU without a gate, and norms of queries and keys.

use crate::local::config::{Activation, DecoderConfig, QkNorm, TensorNames, Xielu};
use crate::local::error::CheckpointError;
use crate::local::family::{BASE, Family, ModelName};
use crate::local::rope::{Pairs, RotaryDefaults, rotary_settings};
use crate::local::settings::Settings;

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("apertus"),
    norm_epsilon: 1e-5,
    qk_norm: QkNorm::PerHead,
    activation: Some(XIELU),
    gated: false,
    rotary: Some(RotaryDefaults { base: 1.2e7, fraction: 1.0, pairs: Pairs::Halves }),
    tensors: TensorNames {
        norms: ["attention_layernorm", "", "feedforward_layernorm", ""],
        up: &["mlp.up_proj"],
        ..BASE.tensors
    },
    adjust,
    ..BASE
};

/// Its numbers are those at the beginning of the training; those of a layer are among its weights.
const XIELU: Activation =
    Activation::Xielu(Xielu { positive: 0.8, negative: 0.8, beta: 0.5, highest: -1e-6 });

fn adjust(settings: &Settings, _: &mut DecoderConfig) -> Result<(), CheckpointError> {
    for key in ["post_norm", "mlp_bias"] {
        settings.refuse(key, "known are models without it")?;
    }
    // Where they say nothing of it, the models still scale their rotation.
    match rotary_settings(settings)? {
        Some(_) => Ok(()),
        None => Err(settings.wrong("rope_parameters", "is missing")),
    }
}
