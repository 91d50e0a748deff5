//! A checkpoint folder made by hand.

#![allow(dead_code, reason = "every test file uses some of it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

pub(crate) const HIDDEN: usize = 8;
pub(crate) const VOCABULARY: usize = 11;

/// Shape and values.
pub(crate) type Stored = (Vec<usize>, Vec<f32>);
pub(crate) type Tensors = BTreeMap<String, Stored>;

pub(crate) fn config() -> Value {
    json!({
        "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "intermediate_size": 12,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
        "max_position_embeddings": 64, "hidden_act": "silu", "rms_norm_eps": 1e-5, "tie_word_embeddings": false,
    })
}

pub(crate) fn tensors() -> Tensors {
    let mut made = Tensors::new();
    let mut state = 1u32;
    let mut add = |name: String, shape: &[usize]| {
        let values = (0..shape.iter().product::<usize>()).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        });
        made.insert(name, (shape.to_vec(), values.collect()));
    };
    add("model.embed_tokens.weight".into(), &[VOCABULARY, HIDDEN]);
    add("lm_head.weight".into(), &[VOCABULARY, HIDDEN]);
    add("model.norm.weight".into(), &[HIDDEN]);
    for layer in 0..2 {
        let mut part =
            |name: &str, shape: &[usize]| add(format!("model.layers.{layer}.{name}.weight"), shape);
        part("input_layernorm", &[HIDDEN]);
        part("post_attention_layernorm", &[HIDDEN]);
        part("self_attn.q_proj", &[HIDDEN, HIDDEN]);
        part("self_attn.k_proj", &[4, HIDDEN]);
        part("self_attn.v_proj", &[4, HIDDEN]);
        part("self_attn.o_proj", &[HIDDEN, HIDDEN]);
        part("mlp.gate_proj", &[12, HIDDEN]);
        part("mlp.up_proj", &[12, HIDDEN]);
        part("mlp.down_proj", &[HIDDEN, 12]);
    }
    made
}

pub(crate) fn file_of(tensors: &Tensors) -> Vec<u8> {
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| {
            (name.clone(), shape.clone(), values.iter().flat_map(|v| v.to_le_bytes()).collect())
        })
        .collect();
    let views = bytes
        .iter()
        .map(|(name, shape, data)| (name, TensorView::new(Dtype::F32, shape.clone(), data).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

pub(crate) fn write(folder: &Path, config: &Value, model: &[u8]) {
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    fs::write(folder.join("model.safetensors"), model).unwrap();
}
