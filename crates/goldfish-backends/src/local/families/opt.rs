//! OPT ([Zhang et al. 2022](https://arxiv.org/abs/2205.01068)). The model of 350 million parameters has norms of sums, and narrower embeddings.

use crate::local::config::{
    Activation, Biases, BlockLayout, DecoderConfig, MAX_WIDTH, NormKind, TensorNames,
};
use crate::local::error::CheckpointError;
use crate::local::family::{BASE, Family, Keys, ModelName};
use crate::local::settings::Settings;

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("opt"),
    keys: Keys {
        kv_heads: None,
        head_dim: None,
        intermediate_size: "ffn_dim",
        activation: &["activation_function"],
        attention_bias: Some("enable_bias"),
        mlp_bias: Some("enable_bias"),
        ..BASE.keys
    },
    norm: NormKind::Layer,
    activation: Some(Activation::Relu),
    gated: false,
    biases: Biases { query_key_value: true, attention_out: true, mlp: true, head: false },
    rotary: None,
    tied: true,
    tensors: TensorNames {
        embeddings: "model.decoder.embed_tokens",
        projections: ["model.decoder.project_in", "model.decoder.project_out"],
        positions: Some("model.decoder.embed_positions"),
        first_position: 2,
        layers: "model.decoder.layers",
        final_norm: "model.decoder.final_layer_norm",
        norms: ["self_attn_layer_norm", "", "final_layer_norm", ""],
        attention_out: "self_attn.out_proj",
        up: &["fc1"],
        down: "fc2",
        ..BASE.tensors
    },
    adjust,
    ..BASE
};

/// The names of norms after the sums.
static SUM_NORM: TensorNames =
    TensorNames { norms: ["", "self_attn_layer_norm", "", "final_layer_norm"], ..FAMILY.tensors };

fn adjust(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    // No setting changes it.
    config.norm_epsilon = 1e-5;
    if !settings.flag_or("layer_norm_elementwise_affine", true)? {
        config.norm = NormKind::LayerBare;
    }
    let before = settings.flag_or("do_layer_norm_before", true)?;
    if !before {
        config.layout = BlockLayout::SumNorm;
        config.tensors = &SUM_NORM;
    }
    config.final_norm = before && !settings.flag("_remove_final_layer_norm")?;
    let width = settings.count("word_embed_proj_dim", MAX_WIDTH)?;
    config.embedding_size = width.filter(|width| *width != config.hidden_size);
    Ok(())
}
