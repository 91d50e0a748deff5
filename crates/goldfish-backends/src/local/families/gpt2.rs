//! GPT-2.

use crate::local::config::{Biases, DecoderConfig, NormKind, TensorNames};
use crate::local::error::CheckpointError;
use crate::local::family::{BASE, Family, Keys, ModelName};
use crate::local::settings::Settings;

pub(super) static FAMILY: Family = GPT2;

/// Also what GPT-Neo differs from.
pub(super) const GPT2: Family = Family {
    name: ModelName::of("gpt2"),
    keys: Keys {
        hidden_size: &["n_embd"],
        heads: &["n_head"],
        kv_heads: None,
        head_dim: None,
        intermediate_size: "n_inner",
        context_length: "n_positions",
        layers: &["n_layer"],
        norm_epsilon: "layer_norm_epsilon",
        activation: &["activation_function"],
        attention_bias: None,
        mlp_bias: None,
    },
    mlp_factor: Some(4),
    norm: NormKind::Layer,
    norm_epsilon: 1e-5,
    gated: false,
    biases: Biases { query_key_value: true, attention_out: true, mlp: true, head: false },
    rotary: None,
    tied: true,
    tensors: TensorNames {
        embeddings: "transformer.wte",
        positions: Some("transformer.wpe"),
        layers: "transformer.h",
        final_norm: "transformer.ln_f",
        norms: ["ln_1", "", "ln_2", ""],
        query_key_value: &["attn.c_attn"],
        attention_out: "attn.c_proj",
        up: &["mlp.c_fc"],
        down: "mlp.c_proj",
        transposed: true,
        ignored: &[".attn.bias", ".attn.masked_bias"],
        ..BASE.tensors
    },
    adjust,
    ..BASE
};

fn adjust(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    let scaled = settings.flag_or("scale_attn_weights", true)?;
    let by_depth = settings.flag("scale_attn_by_inverse_layer_idx")?;
    for (index, layer) in config.layers.iter_mut().enumerate() {
        layer.scale = if scaled { layer.scale } else { 1.0 };
        if by_depth {
            layer.scale /= (index + 1) as f64;
        }
    }
    Ok(())
}
