//! GPT-J ([Wang and Komatsuzaki 2021](https://github.com/kingoflolz/mesh-transformer-jax)): attention and MLP in parallel, and neighbouring
//! elements of a head rotate together.

use super::gpt2::GPT2;
use crate::local::config::{Biases, BlockLayout, DecoderConfig, MAX_WIDTH, NormKind, Positions, TensorNames};
use crate::local::error::CheckpointError;
use crate::local::family::{BASE, Family, ModelName};
use crate::local::rope::{Pairs, RotaryDefaults, plain};
use crate::local::settings::Settings;

const ROTARY: RotaryDefaults = RotaryDefaults { base: 1e4, fraction: 1.0, pairs: Pairs::Neighbours };

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("gptj"),
    keys: GPT2.keys,
    mlp_factor: Some(4),
    layout: BlockLayout::ParallelSharedNorm,
    norm: NormKind::Layer,
    norm_epsilon: 1e-5,
    gated: false,
    biases: Biases { query_key_value: false, attention_out: false, mlp: true, head: true },
    rotary: Some(ROTARY),
    tensors: TensorNames {
        embeddings: "transformer.wte",
        layers: "transformer.h",
        final_norm: "transformer.ln_f",
        norms: ["ln_1", "", "", ""],
        query_key_value: &["attn.q_proj", "attn.k_proj", "attn.v_proj"],
        attention_out: "attn.out_proj",
        up: &["mlp.fc_in"],
        down: "mlp.fc_out",
        ignored: &[".attn.bias", ".attn.masked_bias", ".attn.embed_positions"],
        ..BASE.tensors
    },
    adjust,
    ..BASE
};

fn adjust(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    let key = "rotary_dim";
    let rotated = settings.needed_count(key, MAX_WIDTH)?;
    if rotated % 2 != 0 || rotated > config.head_dim {
        let reason = format!("is {rotated}, which is not an even part of heads of {}", config.head_dim);
        return Err(settings.wrong(key, reason));
    }
    config.positions = Positions::Rotary(vec![plain(rotated, ROTARY.base, ROTARY.pairs)]);
    Ok(())
}
