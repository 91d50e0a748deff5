//! Command R ([Cohere 2024](https://huggingface.co/CohereLabs/c4ai-command-r-v01)) and Aya: attention and MLP in parallel, norms without biases,
//! and a factor of the logits.

use crate::local::config::{BlockLayout, DecoderConfig, NormKind, QkNorm, TensorNames};
use crate::local::error::CheckpointError;
use crate::local::family::{BASE, Family, Keys, ModelName};
use crate::local::rope::{Pairs, RotaryDefaults};
use crate::local::settings::Settings;

/// Also what later models differ from.
pub(super) const COHERE: Family = Family {
    name: ModelName::of("cohere"),
    keys: Keys { norm_epsilon: "layer_norm_eps", ..BASE.keys },
    layout: BlockLayout::ParallelSharedNorm,
    norm: NormKind::LayerWeight,
    norm_epsilon: 1e-5,
    rotary: Some(RotaryDefaults { base: 5e5, fraction: 1.0, pairs: Pairs::Neighbours }),
    tied: true,
    tensors: TensorNames { norms: ["input_layernorm", "", "", ""], ..BASE.tensors },
    adjust,
    ..BASE
};

pub(super) static FAMILY: Family = COHERE;

pub(super) fn adjust(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    config.logit_scale = Some(settings.positive("logit_scale")?.unwrap_or(0.0625));
    if settings.flag("use_qk_norm")? {
        config.qk_norm = QkNorm::OwnWeights;
    }
    Ok(())
}
