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

/// Makes tensors of numbers from -0.5 to 0.5.
#[derive(Default)]
struct Made {
    tensors: Tensors,
    state: u32,
}

impl Made {
    fn add(&mut self, name: String, shape: &[usize]) {
        let values = (0..shape.iter().product::<usize>()).map(|_| {
            self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (self.state >> 8) as f32 / (1 << 24) as f32 - 0.5
        });
        self.tensors.insert(name, (shape.to_vec(), values.collect()));
    }
}

/// A model of the lab with this mixer, or Mamba 1 or 2.
pub(crate) fn subject(mixer: &str) -> (Value, Tensors) {
    if mixer == "mamba" {
        return mamba();
    }
    if mixer == "mamba2" {
        return mamba2();
    }
    let mut settings = config();
    settings["model_type"] = json!("goldfish_lab");
    settings["mixer"] = json!(mixer);
    settings["num_windowed_heads"] = json!(1);
    settings.as_object_mut().unwrap().remove("num_key_value_heads");
    let mut made = Made { tensors: tensors(), state: 2 };
    made.tensors.retain(|name, _| !name.contains("self_attn"));
    for layer in 0..2 {
        let mut part = |name: &str, shape: &[usize]| made.add(format!("model.layers.{layer}.{name}"), shape);
        if mixer == "lstm" {
            for name in ["ih", "hh"] {
                part(&format!("lstm.weight_{name}_l0"), &[4 * HIDDEN, HIDDEN]);
                part(&format!("lstm.bias_{name}_l0"), &[4 * HIDDEN]);
            }
            continue;
        }
        for name in ["q", "k", "v", "o"] {
            part(&format!("self_attn.{name}_proj.weight"), &[HIDDEN, HIDDEN]);
        }
        match mixer {
            "aaren" => part("self_attn.query", &[HIDDEN]),
            "hedgehog" => {
                part("self_attn.q_features.weight", &[2, HIDDEN / 2, HIDDEN / 2]);
                part("self_attn.k_features.weight", &[2, HIDDEN / 2, HIDDEN / 2]);
            }
            _ => (),
        }
    }
    (settings, made.tensors)
}

fn mamba() -> (Value, Tensors) {
    let (inner, state, rank) = (2 * HIDDEN, 16, 1);
    let settings = json!({
        "model_type": "mamba", "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "state_size": state,
        "num_hidden_layers": 2, "expand": 2, "conv_kernel": 4, "time_step_rank": rank, "use_bias": false,
        "use_conv_bias": true, "hidden_act": "silu", "layer_norm_epsilon": 1e-5,
    });
    let mut made = Made::default();
    made.add("backbone.embeddings.weight".into(), &[VOCABULARY, HIDDEN]);
    made.add("backbone.norm_f.weight".into(), &[HIDDEN]);
    for layer in 0..2 {
        let mut part =
            |name: &str, shape: &[usize]| made.add(format!("backbone.layers.{layer}.{name}"), shape);
        part("norm.weight", &[HIDDEN]);
        part("mixer.in_proj.weight", &[2 * inner, HIDDEN]);
        part("mixer.conv1d.weight", &[inner, 1, 4]);
        part("mixer.conv1d.bias", &[inner]);
        part("mixer.x_proj.weight", &[rank + 2 * state, inner]);
        part("mixer.dt_proj.weight", &[inner, rank]);
        part("mixer.dt_proj.bias", &[inner]);
        part("mixer.A_log", &[inner, state]);
        part("mixer.D", &[inner]);
        part("mixer.out_proj.weight", &[HIDDEN, inner]);
    }
    (settings, made.tensors)
}

fn mamba2() -> (Value, Tensors) {
    let (inner, heads, groups, state) = (2 * HIDDEN, 4, 2, 4);
    let convolved = inner + 2 * groups * state;
    let settings = json!({
        "model_type": "mamba2", "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "state_size": state, "num_hidden_layers": 2,
        "expand": 2, "conv_kernel": 4, "num_heads": heads, "head_dim": inner / heads, "n_groups": groups, "tie_word_embeddings": true,
    });
    let mut made = Made::default();
    made.add("backbone.embeddings.weight".into(), &[VOCABULARY, HIDDEN]);
    made.add("backbone.norm_f.weight".into(), &[HIDDEN]);
    for layer in 0..2 {
        let mut part =
            |name: &str, shape: &[usize]| made.add(format!("backbone.layers.{layer}.{name}"), shape);
        part("norm.weight", &[HIDDEN]);
        part("mixer.in_proj.weight", &[inner + convolved + heads, HIDDEN]);
        part("mixer.conv1d.weight", &[convolved, 1, 4]);
        part("mixer.conv1d.bias", &[convolved]);
        for name in ["dt_bias", "A_log", "D"] {
            part(&format!("mixer.{name}"), &[heads]);
        }
        part("mixer.norm.weight", &[inner]);
        part("mixer.out_proj.weight", &[HIDDEN, inner]);
    }
    (settings, made.tensors)
}

pub(crate) fn tensors() -> Tensors {
    let mut made = Made { tensors: Tensors::new(), state: 1 };
    let mut add = |name: String, shape: &[usize]| made.add(name, shape);
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
    made.tensors
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
