//! Checkpoints with numbers of 16 bits give what the same numbers in `f32` give.

#![cfg(feature = "local")]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/checkpoint.rs"]
mod checkpoint;

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use checkpoint::{HIDDEN, Tensors, VOCABULARY, config, file_of, subject, tensors, write};
use goldfish_audit::backend::{
    Backend, Decoding, GenerateRequest, Generated, SamplingScheme, ScoreRequest, Scored, Wants,
};
use goldfish_backends::local::{Checkpoint, Decoder, DecoderConfig};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

const SCHEME: SamplingScheme = SamplingScheme { temperature: 0.7, top_k: Some(3), top_p: None };

/// A file with numbers of 16 bits, or some of them in `f32`, and the numbers in it.
fn halved(tensors: &Tensors, dtype: Dtype, mixed: bool) -> (Vec<u8>, Tensors) {
    let mut rounded = tensors.clone();
    let mut stored = Vec::new();
    for (number, (name, (shape, values))) in rounded.iter_mut().enumerate() {
        let mut bytes = Vec::new();
        let own = if mixed && number % 2 == 0 { Dtype::F32 } else { dtype };
        for value in values.iter_mut() {
            match own {
                Dtype::BF16 => {
                    let half = half::bf16::from_f32(*value);
                    *value = half.to_f32();
                    bytes.extend(half.to_le_bytes());
                }
                Dtype::F16 => {
                    let half = half::f16::from_f32(*value);
                    *value = half.to_f32();
                    bytes.extend(half.to_le_bytes());
                }
                _ => bytes.extend(value.to_le_bytes()),
            }
        }
        stored.push((name.clone(), own, shape.clone(), bytes));
    }
    let views = stored.iter().map(|(name, dtype, shape, bytes)| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    (safetensors::serialize(views, None).unwrap(), rounded)
}

fn open(folder: &Path, config: &Value, file: &[u8]) -> Checkpoint {
    write(folder, config, file);
    Checkpoint::open(folder, None).unwrap()
}

/// All that a model says of some sequences.
fn said(model: &Checkpoint) -> (Vec<Scored>, Vec<Generated>) {
    let sequences: Vec<Vec<u32>> =
        (0..5).map(|row| (0..3 + 9 * row).map(|at| (at * at + row) % VOCABULARY as u32).collect()).collect();
    let requests: Vec<_> = sequences.iter().map(|ids| ScoreRequest { ids, from: 1 }).collect();
    let prompts: Vec<_> = sequences.iter().map(|prompt| GenerateRequest { prompt, tokens: 7 }).collect();
    let wants = Wants { moments: true, scheme: Some(SCHEME), candidates: 0 };
    let scored = model.score(&requests, &wants).unwrap();
    (scored, model.generate(&prompts, &Decoding::Sampled { scheme: SCHEME, seed: 3, first: 0 }).unwrap())
}

#[test]
fn scores_and_continuations_are_the_same_bits() {
    let mut kinds = vec![("llama", config(), tensors())];
    let (mut tied, mut without) = (config(), tensors());
    tied["tie_word_embeddings"] = json!(true);
    without.remove("lm_head.weight");
    kinds.push(("tied", tied, without));
    let (mut gemma, mut tied) = (config(), tensors());
    gemma["model_type"] = json!("gemma");
    gemma["hidden_activation"] = json!("gelu_pytorch_tanh");
    gemma["head_dim"] = json!(4);
    gemma["tie_word_embeddings"] = json!(true);
    tied.remove("lm_head.weight");
    kinds.push(("gemma", gemma, tied));
    for mixer in ["hard-alibi", "aaren", "linear", "hedgehog", "lstm", "mamba"] {
        let (config, tensors) = subject(mixer);
        kinds.push((mixer, config, tensors));
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, config, tensors) in kinds {
        for dtype in [Dtype::BF16, Dtype::F16] {
            for mixed in [false, true] {
                let (file, rounded) = halved(&tensors, dtype, mixed);
                let half = said(&open(folder.path(), &config, &file));
                let wide = said(&open(folder.path(), &config, &file_of(&rounded)));
                assert_eq!(half, wide, "{name} in {dtype:?}");
                let text = |said: &(Vec<Scored>, Vec<Generated>)| format!("{said:?}");
                assert_eq!(text(&half), text(&wide), "{name} in {dtype:?}");
            }
        }
    }
}

#[test]
fn weights_of_16_bits_take_2_bytes() {
    let mut settings = config();
    (settings["hidden_size"], settings["intermediate_size"]) = (json!(64), json!(128));
    (settings["num_key_value_heads"], settings["vocab_size"]) = (json!(2), json!(192));
    let of = |dtype: DType| {
        let config = DecoderConfig::from_value(Path::new("config.json"), settings.clone()).unwrap();
        let mut get = |_: &str, shape: &[usize]| Tensor::ones(shape, dtype, &Device::Cpu);
        Decoder::new::<candle_core::Error>(config, &mut get).unwrap().weight_bytes()
    };
    let outputs_of_layer = 3 * 64 + 64 + 2 * 128 + 64;
    let weights = 2 * 192 * 64 + 2 * ((3 * 64 + 64 + 2 * 128) * 64 + 64 * 128);
    // Linear layers have a bias of 0 if they have none.
    let biases = 4 * (2 * outputs_of_layer + 192);
    assert_eq!(of(DType::F32), 4 * weights + biases);
    assert_eq!(of(DType::BF16), 2 * weights + biases);
    assert_eq!(of(DType::F16), 2 * weights + biases);
}

#[test]
fn a_merged_adapter_is_not_rounded() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = tempfile::tempdir().unwrap();
    let target = "base_model.model.model.layers.1.self_attn.q_proj";
    let low = Tensors::from([
        (format!("{target}.lora_A.weight"), (vec![2, HIDDEN], vec![1.37e-3; 2 * HIDDEN])),
        (format!("{target}.lora_B.weight"), (vec![HIDDEN, 2], vec![0.9e-2; 2 * HIDDEN])),
    ]);
    std::fs::write(adapter.path().join("adapter_model.safetensors"), file_of(&low)).unwrap();
    let settings = json!({"peft_type": "LORA", "r": 2, "lora_alpha": 2});
    std::fs::write(adapter.path().join("adapter_config.json"), settings.to_string()).unwrap();
    let (file, rounded) = halved(&tensors(), Dtype::BF16, false);
    let alone = said(&open(folder.path(), &config(), &file));
    let half = said(&Checkpoint::open(folder.path(), Some(adapter.path())).unwrap());
    write(folder.path(), &config(), &file_of(&rounded));
    let wide = said(&Checkpoint::open(folder.path(), Some(adapter.path())).unwrap());
    assert_eq!(half, wide);
    assert_ne!(half.0, alone.0);
}
