//! Phi 1 to 2.

use crate::local::config::{Biases, BlockLayout, DecoderConfig, NormKind, QkNorm, TensorNames};
use crate::local::error::CheckpointError;
use crate::local::family::{BASE, Family, Keys, ModelName};
use crate::local::rope::{Pairs, RotaryDefaults};
use crate::local::settings::Settings;

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("phi"),
    keys: Keys { head_dim: None, norm_epsilon: "layer_norm_eps", attention_bias: None, ..BASE.keys },
    layout: BlockLayout::ParallelSharedNorm,
    norm: NormKind::Layer,
    norm_epsilon: 1e-5,
    gated: false,
    biases: Biases { query_key_value: true, attention_out: true, mlp: true, head: true },
    rotary: Some(RotaryDefaults { base: 1e4, fraction: 0.5, pairs: Pairs::Halves }),
    tensors: TensorNames {
        final_norm: "model.final_layernorm",
        norms: ["input_layernorm", "", "", ""],
        query_key_norms: ["self_attn.q_layernorm", "self_attn.k_layernorm"],
        attention_out: "self_attn.dense",
        up: &["mlp.fc1"],
        down: "mlp.fc2",
        ..BASE.tensors
    },
    adjust,
    ..BASE
};

fn adjust(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    if settings.flag("qk_layernorm")? {
        config.qk_norm = QkNorm::PerHead;
    }
    Ok(())
}
