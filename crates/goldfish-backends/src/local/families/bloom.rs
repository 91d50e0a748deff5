//! BLOOM ([BigScience 2022](https://arxiv.org/abs/2211.05100)): ALiBi, and a norm of the embeddings.

use super::falcon::NAMES;
use crate::local::alibi::Alibi;
use crate::local::config::{Activation, Biases, DecoderConfig, NormKind, Positions, TensorNames};
use crate::local::error::CheckpointError;
use crate::local::family::{BASE, Family, Keys, ModelName};
use crate::local::settings::Settings;

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("bloom"),
    keys: Keys {
        hidden_size: &["hidden_size", "n_embed"],
        heads: &["n_head", "num_attention_heads"],
        kv_heads: None,
        head_dim: None,
        intermediate_size: "n_inner",
        context_length: "seq_length",
        layers: &["n_layer", "num_hidden_layers"],
        norm_epsilon: "layer_norm_epsilon",
        activation: &[],
        attention_bias: None,
        mlp_bias: None,
    },
    mlp_factor: Some(4),
    context_length: Some(2048),
    norm: NormKind::Layer,
    norm_epsilon: 1e-5,
    activation: Some(Activation::GeluTanh),
    gated: false,
    biases: Biases { query_key_value: true, attention_out: true, mlp: true, head: false },
    rotary: None,
    tied: true,
    tensors: TensorNames { embedding_norm: Some("transformer.word_embeddings_layernorm"), ..NAMES },
    adjust,
    ..BASE
};

fn adjust(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    let key = "apply_residual_connection_post_layernorm";
    settings.refuse(key, "known are models whose sums begin before the norm")?;
    config.positions = Positions::Alibi(Alibi::of(config.heads));
    Ok(())
}
