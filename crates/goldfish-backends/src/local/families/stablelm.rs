//! StableLM ([Bellagente et al. 2024](https://arxiv.org/abs/2402.17834)).

use crate::local::config::{BlockLayout, DecoderConfig, NormKind, QkNorm, TensorNames};
use crate::local::error::CheckpointError;
use crate::local::family::{BASE, Family, Keys, ModelName};
use crate::local::rope::{Pairs, RotaryDefaults};
use crate::local::settings::Settings;

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("stablelm"),
    keys: Keys { head_dim: None, norm_epsilon: "layer_norm_eps", attention_bias: None, ..BASE.keys },
    norm: NormKind::Layer,
    norm_epsilon: 1e-5,
    rotary: Some(RotaryDefaults { base: 1e4, fraction: 0.25, pairs: Pairs::Halves }),
    tensors: TensorNames {
        query_key_norms: ["self_attn.q_layernorm.norms", "self_attn.k_layernorm.norms"],
        ..BASE.tensors
    },
    adjust,
    ..BASE
};

fn adjust(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    config.biases.query_key_value = settings.flag("use_qkv_bias")?;
    if settings.flag("qk_layernorm")? {
        config.qk_norm = QkNorm::OwnTensors;
    }
    if settings.flag("use_parallel_residual")? {
        config.layout = BlockLayout::ParallelSharedNorm;
    }
    Ok(())
}
