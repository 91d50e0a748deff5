//! GPT-NeoX: Pythia.

use crate::local::config::{Biases, BlockLayout, DecoderConfig, NormKind, TensorNames};
use crate::local::error::CheckpointError;
use crate::local::family::{BASE, Family, Keys, ModelName, by_group};
use crate::local::rope::{Pairs, RotaryDefaults};
use crate::local::settings::Settings;

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("gpt_neox"),
    keys: Keys { kv_heads: None, head_dim: None, norm_epsilon: "layer_norm_eps", ..BASE.keys },
    layout: BlockLayout::Parallel,
    norm: NormKind::Layer,
    norm_epsilon: 1e-5,
    gated: false,
    biases: Biases { query_key_value: true, attention_out: true, mlp: true, head: false },
    rotary: Some(RotaryDefaults { base: 1e4, fraction: 0.25, pairs: Pairs::Halves }),
    tensors: TensorNames {
        embeddings: "gpt_neox.embed_in",
        layers: "gpt_neox.layers",
        final_norm: "gpt_neox.final_layer_norm",
        head: "embed_out",
        query_key_value: &["attention.query_key_value"],
        query_key_value_order: Some(by_group),
        attention_out: "attention.dense",
        up: &["mlp.dense_h_to_4h"],
        down: "mlp.dense_4h_to_h",
        ignored: &[".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq"],
        ..BASE.tensors
    },
    adjust,
    ..BASE
};

fn adjust(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    if !settings.flag_or("use_parallel_residual", true)? {
        config.layout = BlockLayout::PreNorm;
    }
    Ok(())
}
