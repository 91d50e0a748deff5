//! Falcon ([Almazrouei et al. 2023](https://arxiv.org/abs/2311.16867)), with rotation or ALiBi, one head of keys or several.

use crate::local::alibi::Alibi;
use crate::local::config::{
    Activation, Biases, BlockLayout, DecoderConfig, NormKind, Positions, TensorNames,
};
use crate::local::error::CheckpointError;
use crate::local::family::{BASE, Family, Keys, ModelName, by_group};
use crate::local::settings::Settings;

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("falcon"),
    keys: Keys {
        hidden_size: &["hidden_size", "n_embed"],
        kv_heads: None,
        head_dim: None,
        intermediate_size: "ffn_hidden_size",
        norm_epsilon: "layer_norm_epsilon",
        activation: &["activation"],
        attention_bias: Some("bias"),
        mlp_bias: Some("bias"),
        ..BASE.keys
    },
    mlp_factor: Some(4),
    context_length: Some(2048),
    norm: NormKind::Layer,
    norm_epsilon: 1e-5,
    activation: Some(Activation::Gelu),
    gated: false,
    biases: Biases { query_key_value: false, attention_out: false, mlp: false, head: false },
    tied: true,
    tensors: NAMES,
    adjust,
    ..BASE
};

/// The names of BLOOM's tensors too.
pub(super) const NAMES: TensorNames = TensorNames {
    embeddings: "transformer.word_embeddings",
    layers: "transformer.h",
    final_norm: "transformer.ln_f",
    query_key_value: &["self_attention.query_key_value"],
    query_key_value_order: Some(by_group),
    attention_out: "self_attention.dense",
    up: &["mlp.dense_h_to_4h"],
    down: "mlp.dense_4h_to_h",
    ..BASE.tensors
};

/// The names where attention and MLP each have a norm.
static TWO_NORMS: TensorNames = TensorNames { norms: ["ln_attn", "", "ln_mlp", ""], ..NAMES };

fn adjust(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    let new = settings.flag("new_decoder_architecture")?;
    let parallel = settings.flag_or("parallel_attn", true)?;
    let norms = settings.whole("num_ln_in_parallel_attn", 3)?;
    config.layout = match (parallel, new, norms) {
        (false, false, _) => BlockLayout::PreNorm,
        (true, true, None | Some(2)) => {
            config.tensors = &TWO_NORMS;
            BlockLayout::Parallel
        }
        (true, _, None | Some(1)) => BlockLayout::ParallelSharedNorm,
        (false, true, _) => {
            return Err(settings.unsupported("parallel_attn", "the new decoder architecture is parallel"));
        }
        _ => {
            let advice = "known are 1, and 2 in the new decoder architecture";
            return Err(settings.unsupported("num_ln_in_parallel_attn", advice));
        }
    };
    config.kv_heads = match (new, settings.flag_or("multi_query", true)?) {
        (false, true) => 1,
        _ => settings.count("num_kv_heads", config.heads)?.unwrap_or(config.heads),
    };
    let (heads, kv_heads) = (config.heads, config.kv_heads);
    if heads % kv_heads != 0 || (!new && kv_heads != 1 && kv_heads != heads) {
        return Err(settings.wrong("num_kv_heads", format!("is {kv_heads}, which doesn't fit {heads} heads")));
    }
    if settings.flag("alibi")? {
        let scale = (config.head_dim as f32).sqrt().recip();
        config.positions = Positions::Alibi(Alibi { rounded: Some(scale), ..Alibi::of(heads) });
        config.layers.iter_mut().for_each(|layer| layer.rotary = None);
    }
    Ok(())
}
