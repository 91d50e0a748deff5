//! What the settings of each family may not say. That they are read as `transformers` reads them is tested in
//! `crates/acceptance/checkpoints`.

#![cfg(feature = "local")]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/checkpoint.rs"]
mod checkpoint;

use std::path::Path;

use checkpoint::{config, write};
use goldfish_backends::local::{Checkpoint, NetworkConfig};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

/// Settings that a family accepts.
fn settings(family: &str) -> Value {
    let mut settings = config();
    settings["model_type"] = json!(family);
    let more = match family {
        "gpt_neo" => json!({
            "num_heads": 2, "num_layers": 2, "activation_function": "gelu_new", "attention_layers": ["global", "local"],
        }),
        "gptj" => json!({
            "n_embd": 8, "n_head": 2, "n_layer": 2, "n_positions": 64, "rotary_dim": 2, "activation_function": "gelu_new",
        }),
        "opt" => json!({ "ffn_dim": 12 }),
        "bloom" => json!({ "n_head": 2, "n_layer": 2 }),
        "apertus" => json!({ "hidden_act": "xielu", "rope_parameters": { "rope_type": "default" } }),
        "olmoe" | "mixtral" | "qwen3_moe" | "granitemoe" => json!({
            "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12,
        }),
        "gpt_oss" => json!({
            "num_local_experts": 4, "num_experts_per_tok": 2, "rope_parameters": { "rope_type": "default" },
        }),
        "deepseek_v3" => json!({
            "num_key_value_heads": 2, "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 12, "n_group": 4, "topk_group": 2,
            "kv_lora_rank": 6, "q_lora_rank": null, "qk_rope_head_dim": 2, "qk_nope_head_dim": 4, "v_head_dim": 4,
        }),
        "llama4_text" => json!({
            "num_local_experts": 4, "num_experts_per_tok": 1, "intermediate_size_mlp": 12, "attention_chunk_size": 4,
        }),
        "mamba2" => json!({ "num_heads": 4, "head_dim": 4, "n_groups": 2, "state_size": 4 }),
        _ => json!({}),
    };
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

#[test]
fn settings_that_are_refused() {
    let cases = [
        ("apertus", "rope_parameters", json!(null), "rope_parameters is missing"),
        ("apertus", "hidden_act", json!("tanh"), "hidden_act is \"tanh\", which is not supported"),
        ("gpt_neo", "attention_layers", json!(["global"]), "attention_layers has 1 entries for 2 layers"),
        ("gpt_neo", "attention_layers", json!(["global", "random"]), "known are global and local"),
        ("gpt_neo", "attention_layers", json!(null), "attention_types is missing"),
        ("gptj", "rotary_dim", json!(null), "rotary_dim is missing"),
        ("gptj", "rotary_dim", json!(6), "rotary_dim is 6, which is not an even part of heads of 4"),
        ("olmo", "clip_qkv", json!(-1), "clip_qkv must be above 0"),
        (
            "olmo3",
            "layer_types",
            json!(["full_attention", "chunked_attention"]),
            "known are full_attention and",
        ),
        ("opt", "word_embed_proj_dim", json!(1 << 30), "word_embed_proj_dim is 1073741824, at most"),
        (
            "falcon",
            "num_ln_in_parallel_attn",
            json!(2),
            "num_ln_in_parallel_attn is 2, which is not supported",
        ),
        ("falcon", "parallel_attn", json!("no"), "parallel_attn must be true or false"),
        (
            "bloom",
            "apply_residual_connection_post_layernorm",
            json!(true),
            "post_layernorm is true, which is not",
        ),
        ("stablelm", "use_qkv_bias", json!(1), "use_qkv_bias must be true or false"),
        ("granite", "residual_multiplier", json!(0), "residual_multiplier must be above 0"),
        ("cohere2", "use_qk_norm", json!(true), "use_qk_norm is true, which is not supported"),
        ("phi3", "rope_scaling", json!({"type": "su"}), "rope_scaling.short_factor is missing"),
        (
            "phi3",
            "rope_scaling",
            json!({"type": "su", "short_factor": [1, 1]}),
            "max_position_embeddings is missing",
        ),
        (
            "phi3",
            "rope_scaling",
            json!({"type": "su", "short_factor": [1]}),
            "short_factor must have 2 numbers",
        ),
        (
            "phi3",
            "rope_scaling",
            json!({"type": "su", "short_mscale": 1.2}),
            "short_mscale is 1.2, which is not",
        ),
        ("mixtral", "num_experts_per_tok", json!(5), "num_experts_per_tok is 5, and there are 4 experts"),
        ("mixtral", "num_experts", json!(1 << 20), "num_experts is 1048576, at most 4096"),
        ("mixtral", "quantization_config", json!({"bits": 4}), "quantization_config is"),
        ("qwen3_moe", "mlp_only_layers", json!("all"), "mlp_only_layers must be an array of numbers"),
        ("qwen3_moe", "mlp_only_layers", json!([0, 7]), "mlp_only_layers has 7, which is no layer"),
        ("apertus", "post_norm", json!(true), "post_norm is true, which is not supported"),
        ("olmoe", "num_experts", json!(null), "num_experts is missing"),
        (
            "gpt_oss",
            "quantization_config",
            json!({"quant_method": "gptq"}),
            "quant_method is \"gptq\", which is not",
        ),
        ("gpt_oss", "swiglu_limit", json!("none"), "swiglu_limit must be a finite number"),
        ("deepseek_v3", "num_key_value_heads", json!(1), "num_key_value_heads must be the number of heads"),
        ("deepseek_v3", "n_group", json!(3), "n_group is 3"),
        ("deepseek_v3", "topk_group", json!(5), "5 of them don't have the 2 experts of a token"),
        ("deepseek_v3", "moe_layer_freq", json!(2), "moe_layer_freq is 2, which is not supported"),
        (
            "deepseek_v3",
            "scoring_func",
            json!("softmax"),
            "scoring_func is \"softmax\", which is not supported",
        ),
        ("deepseek_v3", "qk_nope_head_dim", json!(1 << 20), "which are too wide"),
        ("deepseek_v3", "qk_rope_head_dim", json!(3), "can't be rotated in pairs"),
        (
            "llama4_text",
            "layer_types",
            json!(["full_attention", "sliding_attention"]),
            "full_attention and chunked",
        ),
        (
            "llama4_text",
            "attention_chunk_size",
            json!(0),
            "attention_chunk_size must be a whole number, 1 or more",
        ),
        ("llama4_text", "moe_layers", json!([2]), "moe_layers has 2, which is no layer"),
        ("llama4_text", "no_rope_layers", json!([1]), "no_rope_layers has 1 entries for 2 layers"),
        (
            "mamba2",
            "num_heads",
            json!(3),
            "num_heads is 3; times head_dim it must be 2 times the hidden size",
        ),
        ("mamba2", "n_groups", json!(3), "n_groups is 3, which doesn't divide 4 heads"),
        ("mamba2", "time_step_limit", json!([1, 0]), "time_step_limit must be two numbers"),
        ("mamba2", "state_size", json!(1 << 20), "state_size is 1048576, which is too much"),
    ];
    for (family, key, value, said) in cases {
        let mut wrong = settings(family);
        NetworkConfig::from_value(Path::new("config.json"), wrong.clone()).unwrap();
        wrong[key] = value;
        let read = NetworkConfig::from_value(Path::new("config.json"), wrong);
        let error = read.map(drop).expect_err(key).to_string();
        assert!(error.starts_with("config.json: ") && error.contains(said), "{family} {key}: {error}");
    }
}

/// The length of sequences is that of the first training, whose factors they have.
#[test]
fn longrope_limits_sequences() {
    let mut phi = settings("phi3");
    phi["original_max_position_embeddings"] = json!(16);
    phi["rope_scaling"] = json!({"type": "longrope", "short_factor": [1.0, 1.5], "long_factor": [1.0, 4.0]});
    let NetworkConfig::Decoder(config) = NetworkConfig::from_value(Path::new("config.json"), phi).unwrap()
    else {
        panic!("a decoder")
    };
    assert_eq!(config.longest(), Some(16));
}

/// Blocks of 32 numbers of 4 bits with this power of 2, as GPT-OSS stores them.
#[test]
fn weights_of_4_bits_that_are_refused() {
    let said = |dtype: Dtype, scale: u8| {
        let mut settings = settings("gpt_oss");
        for key in ["hidden_size", "intermediate_size"] {
            settings[key] = json!(32);
        }
        settings["num_hidden_layers"] = json!(1);
        let mut tensors: Vec<(String, Dtype, Vec<usize>, u8)> = Vec::new();
        let mut add = |name: &str, dtype, shape: &[usize], byte| {
            tensors.push((name.into(), dtype, shape.to_vec(), byte))
        };
        add("model.embed_tokens.weight", Dtype::F32, &[11, 32], 0);
        add("lm_head.weight", Dtype::F32, &[11, 32], 0);
        for (name, outputs) in [("q", 32), ("k", 16), ("v", 16), ("o", 32)] {
            add(&format!("model.layers.0.self_attn.{name}_proj.weight"), Dtype::F32, &[outputs, 32], 0);
            add(&format!("model.layers.0.self_attn.{name}_proj.bias"), Dtype::F32, &[outputs], 0);
        }
        for name in ["layers.0.input_layernorm", "layers.0.post_attention_layernorm", "norm"] {
            add(&format!("model.{name}.weight"), Dtype::F32, &[32], 0);
        }
        add("model.layers.0.self_attn.sinks", Dtype::F32, &[2], 0);
        add("model.layers.0.mlp.router.weight", Dtype::F32, &[4, 32], 0);
        add("model.layers.0.mlp.router.bias", Dtype::F32, &[4], 0);
        for (name, outputs) in [("gate_up", 64), ("down", 32)] {
            let name = format!("model.layers.0.mlp.experts.{name}_proj");
            add(&format!("{name}_bias"), Dtype::F32, &[4, outputs], 0);
            add(&format!("{name}_blocks"), dtype, &[4, outputs, 1, 16], 0x7f);
            add(&format!("{name}_scales"), Dtype::U8, &[4, outputs, 1], scale);
        }
        let bytes: Vec<Vec<u8>> = tensors
            .iter()
            .map(|(_, dtype, shape, byte)| vec![*byte; shape.iter().product::<usize>() * dtype.bitsize() / 8])
            .collect();
        let views = tensors.iter().zip(&bytes).map(|((name, dtype, shape, _), bytes)| {
            (name.clone(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &settings, &safetensors::serialize(views, None).unwrap());
        Checkpoint::open(folder.path(), None).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(said(Dtype::U8, 120), Ok(()));
    let error = said(Dtype::U8, 255).unwrap_err();
    assert!(error.contains("gate_up_proj_scales\" has a power of 2 that is too large"), "{error}");
    let error = said(Dtype::I8, 120).unwrap_err();
    assert!(error.contains("gate_up_proj_blocks\" is of type I8 in place of U8"), "{error}");
}
