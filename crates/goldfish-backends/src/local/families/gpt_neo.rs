//! GPT-Neo ([Black et al. 2021](https://doi.org/10.5281/zenodo.5297715)): layers that see everything alternate with layers that see a window, and
//! products of queries and keys are not scaled.

use serde_json::Value;

use super::gpt2::GPT2;
use crate::local::config::{Biases, DecoderConfig, MAX_CONTEXT_LENGTH, MAX_LAYERS, TensorNames};
use crate::local::error::CheckpointError;
use crate::local::family::{Family, Keys, ModelName};
use crate::local::settings::Settings;

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("gpt_neo"),
    keys: Keys {
        hidden_size: &["hidden_size"],
        heads: &["num_heads"],
        intermediate_size: "intermediate_size",
        context_length: "max_position_embeddings",
        layers: &["num_layers"],
        ..GPT2.keys
    },
    biases: Biases { query_key_value: false, ..GPT2.biases },
    tensors: TensorNames {
        query_key_value: &["attn.attention.q_proj", "attn.attention.k_proj", "attn.attention.v_proj"],
        attention_out: "attn.attention.out_proj",
        transposed: false,
        ignored: &[".attn.attention.bias", ".attn.attention.masked_bias"],
        ..GPT2.tensors
    },
    adjust,
    ..GPT2
};

fn adjust(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    let window = settings.count("window_size", MAX_CONTEXT_LENGTH)?.unwrap_or(256);
    let local = local_layers(settings, config.layers.len())?;
    for (layer, local) in config.layers.iter_mut().zip(local) {
        layer.scale = 1.0;
        layer.window = local.then_some(window);
    }
    Ok(())
}

/// Which layers have a window: those that `attention_layers` calls local, or `attention_types`, which says it in groups.
fn local_layers(settings: &Settings, count: usize) -> Result<Vec<bool>, CheckpointError> {
    let (key, kinds) = match settings.texts("attention_layers")? {
        Some(kinds) => ("attention_layers", kinds),
        None => ("attention_types", kinds_of_groups(settings)?),
    };
    if kinds.iter().any(|kind| !["global", "local"].contains(kind)) {
        return Err(settings.unsupported(key, "known are global and local"));
    }
    if kinds.len() != count {
        return Err(settings.wrong(key, format!("has {} entries for {count} layers", kinds.len())));
    }
    Ok(kinds.into_iter().map(|kind| kind == "local").collect())
}

/// The kinds of groups `[kinds, times]`, each repeated as often as it says; no more than a model can have layers.
fn kinds_of_groups(settings: &Settings) -> Result<Vec<&str>, CheckpointError> {
    let key = "attention_types";
    let groups = settings.get(key).ok_or_else(|| settings.wrong(key, "is missing"))?;
    let mut all = Vec::new();
    for group in groups.as_array().into_iter().flatten() {
        match repeated(group) {
            Some(kinds) if all.len() + kinds.len() <= MAX_LAYERS => all.extend(kinds),
            _ => {
                let reason = "must be an array of kinds, each with how often they are repeated";
                return Err(settings.wrong(key, reason));
            }
        }
    }
    Ok(all)
}

fn repeated(group: &Value) -> Option<Vec<&str>> {
    let [kinds, times] = group.as_array()?.as_slice() else { return None };
    let kinds = kinds.as_array()?.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?;
    let times = times.as_u64().filter(|times| *times <= (MAX_LAYERS / kinds.len().max(1)) as u64)?;
    Some(kinds.repeat(times as usize))
}
