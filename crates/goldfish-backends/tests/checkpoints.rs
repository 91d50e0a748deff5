//! Checkpoint folders made by hand: a valid one, and all the ways in which one can be damaged or inconsistent.

#![cfg(feature = "local")]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/checkpoint.rs"]
mod checkpoint;

use std::fs;
use std::path::Path;

use checkpoint::{HIDDEN, Stored, Tensors, VOCABULARY, config, file_of, tensors, write};
use goldfish_audit::backend::{
    Backend, BackendError, Decoding, GenerateRequest, SamplingScheme, ScoreRequest, Wants,
};
use goldfish_audit::selftest::{Outcome, SelfTestOptions, self_test};
use goldfish_backends::local::Checkpoint;
use serde_json::{Value, json};

fn sound() -> (tempfile::TempDir, Checkpoint) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &config(), &file_of(&tensors()));
    let model = Checkpoint::open(folder.path(), None).unwrap();
    (folder, model)
}

#[test]
fn keeps_the_contract_of_a_backend() {
    let (_folder, model) = sound();
    let sequences: Vec<Vec<u32>> =
        (0..6).map(|i| (0..8 + i).map(|j| (i * 3 + j * j) % VOCABULARY as u32).collect()).collect();
    let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    let scheme = Some(SamplingScheme { temperature: 0.7, top_k: Some(4), top_p: None });
    let test = self_test(
        &model,
        &sequences,
        &SelfTestOptions { bos: None, eos: Some(1), scheme, continuations: true },
    )
    .unwrap();
    for check in &test.checks {
        assert_eq!(check.outcome, Outcome::Passed, "{check:?}");
        assert!(check.measured.is_none_or(|difference| difference == 0.0), "{check:?}");
    }
}

#[test]
fn an_answer_depends_on_its_request_alone() {
    let (_folder, model) = sound();
    let wants = Wants {
        moments: true,
        scheme: Some(SamplingScheme { temperature: 0.7, top_k: Some(3), top_p: None }),
        candidates: 0,
    };
    // Prefixes that are shared, repeated and cut everywhere, in no order.
    let long: Vec<u32> = (0..40).map(|i| (i * i + 3) % VOCABULARY as u32).collect();
    let mut sequences: Vec<Vec<u32>> = (2..40).map(|end| long[..end].to_vec()).collect();
    sequences.extend((1..30).map(|cut| [&long[..cut], &[5, 5, 7]].concat()));
    sequences.push(long.clone());
    let requests: Vec<_> =
        sequences.iter().enumerate().map(|(i, ids)| ScoreRequest { ids, from: 1 + i % ids.len() }).collect();
    let together = model.score(&requests, &wants).unwrap();
    for (request, scored) in requests.iter().zip(&together) {
        assert_eq!(scored.tokens.len(), request.ids.len() - request.from);
        assert_eq!(model.score(&[*request], &wants).unwrap()[0], *scored);
    }
    let decoding = Decoding::Sampled {
        scheme: SamplingScheme { temperature: 1.0, top_k: None, top_p: None },
        seed: 3,
        first: 0,
    };
    for decoding in [Decoding::Greedy, decoding] {
        let prompts: Vec<_> = sequences
            .iter()
            .take(20)
            .map(|prompt| GenerateRequest { prompt, tokens: 3 + prompt.len() % 5 })
            .collect();
        let together = model.generate(&prompts, &decoding).unwrap();
        assert_eq!(together, model.generate(&prompts, &decoding).unwrap());
        for (request, generated) in prompts.iter().zip(&together) {
            assert_eq!(generated.ids.len(), request.tokens);
            if decoding == Decoding::Greedy {
                assert_eq!(model.generate(&[*request], &decoding).unwrap()[0], *generated);
            }
        }
    }
}

#[test]
fn requests_that_no_model_can_answer() {
    let (_folder, model) = sound();
    let score = |ids: &[u32], from| model.score(&[ScoreRequest { ids, from }], &Wants::default());
    assert!(matches!(score(&[1, 11], 1), Err(BackendError::UnknownToken { id: 11, vocab_size: 11, .. })));
    assert!(matches!(score(&[1; 65], 1), Err(BackendError::TooLong { longest: 64, length: 65, .. })));
    assert!(matches!(score(&[1, 2], 0), Err(BackendError::Failed { .. })));
    assert_eq!(score(&[], 1).unwrap()[0].tokens, []);
    assert_eq!(score(&[1, 2], 9).unwrap()[0].tokens, []);
    let generate =
        |prompt: &[u32], tokens| model.generate(&[GenerateRequest { prompt, tokens }], &Decoding::Greedy);
    assert!(matches!(generate(&[], 1), Err(BackendError::Failed { .. })));
    assert!(matches!(generate(&[1; 60], 6), Err(BackendError::TooLong { length: 65, .. })));
    assert!(matches!(generate(&[1], usize::MAX), Err(BackendError::TooLong { .. })));
    assert_eq!(generate(&[1; 60], 5).unwrap()[0].ids.len(), 5);
    assert!(generate(&[1], 0).unwrap()[0].ids.is_empty());
}

#[test]
fn the_fingerprint_depends_on_weights_and_settings() {
    let of = |config: &Value, tensors: &Tensors| {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), config, &file_of(tensors));
        Checkpoint::open(folder.path(), None).unwrap().describe().unwrap().fingerprint
    };
    let first = of(&config(), &tensors());
    assert_eq!(first, of(&config(), &tensors()));
    let mut changed = tensors();
    changed.get_mut("model.norm.weight").unwrap().1[3] += 1e-6;
    assert_ne!(first, of(&config(), &changed));
    let mut settings = config();
    settings["rope_theta"] = json!(5e5);
    assert_ne!(first, of(&settings, &tensors()));
}

/// Settings that must be refused, with their messages.
#[test]
fn settings_that_are_refused() {
    let cases = [
        ("model_type", json!("rwkv"), "model_type is \"rwkv\", which is not supported; known are llama"),
        ("model_type", json!(null), "model_type is missing"),
        ("model_type", json!(7), "model_type must be a string"),
        ("quantization_config", json!({"quant_method": "gptq"}), "quantization_config is"),
        ("num_local_experts", json!(8), "num_local_experts is 8"),
        ("vocab_size", json!(1u64 << 40), "vocab_size is 1099511627776, at most 16777216"),
        ("vocab_size", json!(-1), "vocab_size must be a whole number"),
        ("vocab_size", json!(12), "has shape [11, 8], the settings require [12, 8]"),
        ("hidden_size", json!(1u64 << 30), "hidden_size is 1073741824"),
        ("hidden_size", json!(9), "doesn't divide the hidden size 9"),
        ("hidden_size", json!(1e30), "hidden_size must be a whole number"),
        ("num_hidden_layers", json!(1_000_000), "num_hidden_layers is 1000000"),
        ("num_hidden_layers", json!(3), "model.layers.2.input_layernorm.weight\" is missing"),
        (
            "num_hidden_layers",
            json!(1),
            "\"model.layers.1.input_layernorm.weight\" is not a tensor of this family",
        ),
        ("num_hidden_layers", json!(0), "num_hidden_layers must be a whole number"),
        ("num_attention_heads", json!(u64::MAX), "num_attention_heads is 18446744073709551615"),
        ("num_attention_heads", json!(8), "can't be rotated in pairs"),
        ("num_key_value_heads", json!(3), "num_key_value_heads is 3, at most 2"),
        ("head_dim", json!(1 << 20), "heads times head_dim is 2097152"),
        ("intermediate_size", json!("12"), "intermediate_size must be a whole number"),
        ("max_position_embeddings", json!(u64::MAX), "max_position_embeddings is"),
        ("hidden_act", json!("xielu"), "hidden_act is \"xielu\""),
        ("rms_norm_eps", json!(0), "rms_norm_eps must be above 0"),
        ("rope_scaling", json!({"rope_type": "ntk"}), "rope_scaling.rope_type is \"ntk\""),
        ("rope_scaling", json!({"type": "linear"}), "rope_scaling.factor is missing"),
        ("rope_scaling", json!([1]), "rope_scaling must be an object"),
        ("partial_rotary_factor", json!(2.5), "partial_rotary_factor must be at most 1"),
        ("attention_bias", json!(true), "q_proj.bias\" is missing"),
        ("attention_bias", json!("yes"), "attention_bias must be true or false"),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (key, value, said) in cases {
        let mut settings = config();
        settings[key] = value.clone();
        write(folder.path(), &settings, &file_of(&tensors()));
        let error = Checkpoint::open(folder.path(), None).map(drop).expect_err(key).to_string();
        assert!(error.contains(said), "{key} {value}: {error}");
    }
}

/// A file with this header before this many bytes of data.
fn with_header(header: &str, data: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + data, 0);
    file
}

#[test]
fn files_that_are_refused() {
    let sound = file_of(&tensors());
    let lies = |shape: &str, start: u64, end: u64, data| {
        with_header(
            &format!(
                r#"{{"model.norm.weight":{{"dtype":"F32","shape":{shape},"data_offsets":[{start},{end}]}}}}"#
            ),
            data,
        )
    };
    let changed = |name: &str, change: &dyn Fn(&mut Stored)| {
        let mut all = tensors();
        change(all.get_mut(name).unwrap());
        file_of(&all)
    };
    let without = |name: &str| {
        let mut all = tensors();
        all.remove(name);
        file_of(&all)
    };
    let mut extra = tensors();
    extra.insert("model.layers.0.mlp.experts.weight".into(), (vec![2], vec![0.0; 2]));
    let types = String::from_utf8_lossy(&sound[8..]).find("F32").map(|at| at + 8).unwrap();
    let mut integers = sound.clone();
    integers[types..types + 3].copy_from_slice(b"I32");
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "too short for a safetensors file"),
        ("short", vec![1, 2, 3], "too short for a safetensors file"),
        (
            "huge header",
            u64::MAX.to_le_bytes().to_vec(),
            "the size of its header in bytes is 18446744073709551615",
        ),
        (
            "header beyond the file",
            5000u64.to_le_bytes().to_vec(),
            "announces a header of 5000 bytes and has 8",
        ),
        ("header no JSON", with_header("{nonsense", 0), "has a header that is not"),
        ("header no UTF-8", [&1u64.to_le_bytes()[..], &[0xff]].concat(), "has a header that is not"),
        ("nested header", with_header(&"[".repeat(100_000), 0), "has a header that is not"),
        ("offsets beyond the file", lies("[8]", 0, 32, 16), "its header announces"),
        ("offsets beyond any file", lies("[4611686018427387903]", 0, u64::MAX - 3, 0), "header"),
        ("offsets with a gap", lies("[8]", 8, 40, 40), "has a header that is not"),
        ("offsets reversed", lies("[8]", 40, 8, 40), "has a header that is not"),
        (
            "shape that overflows",
            lies("[4294967296,4294967296,4294967296]", 0, 32, 32),
            "has a header that is not",
        ),
        ("shape of another size", lies("[9]", 0, 32, 32), "has a header that is not"),
        ("trailing bytes", [&sound[..], b"more"].concat(), "its header announces"),
        ("cut off", sound[..sound.len() - 1].to_vec(), "its header announces"),
        ("missing tensor", without("model.norm.weight"), "\"model.norm.weight\" is missing"),
        (
            "extra tensor",
            file_of(&extra),
            "\"model.layers.0.mlp.experts.weight\" is not a tensor of this family",
        ),
        (
            "transposed",
            changed("model.layers.0.mlp.down_proj.weight", &|t| t.0.reverse()),
            "has shape [12, 8], the settings require [8, 12]",
        ),
        ("flat", changed("lm_head.weight", &|t| t.0 = vec![VOCABULARY * HIDDEN]), "has shape [88]"),
        ("NaN", changed("lm_head.weight", &|t| t.1[7] = f32::NAN), "has the value NaN at element 7"),
        (
            "infinite",
            changed("lm_head.weight", &|t| t.1[0] = f32::INFINITY),
            "has the value inf at element 0",
        ),
        ("integers", integers, "is of type I32; F32, F16 and BF16"),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (case, model, said) in cases {
        write(folder.path(), &config(), &model);
        let error = Checkpoint::open(folder.path(), None).map(drop).expect_err(case).to_string();
        assert!(
            error.contains(said) && error.contains("model.safetensors") | error.contains("is missing"),
            "{case}: {error}"
        );
    }
}

#[test]
fn indices_that_are_refused() {
    let all = tensors();
    let names: Vec<&String> = all.keys().collect();
    let index = |shard: &dyn Fn(usize) -> String| {
        let map: serde_json::Map<_, _> =
            names.iter().enumerate().map(|(i, name)| ((*name).clone(), json!(shard(i)))).collect();
        json!({ "weight_map": map })
    };
    let cases = [
        (
            "outside",
            index(&|_| "../model.safetensors".into()),
            "a shard is a .safetensors file in the same folder",
        ),
        ("absolute", index(&|_| "/etc/passwd".into()), "a shard is a .safetensors file"),
        ("absolute tensors", index(&|_| "/model.safetensors".into()), "a shard is a .safetensors file"),
        ("deeper", index(&|_| "sub/model.safetensors".into()), "a shard is a .safetensors file"),
        ("pickle", index(&|_| "pytorch_model.bin".into()), "a shard is a .safetensors file"),
        ("dots", index(&|_| "..".into()), "a shard is a .safetensors file"),
        ("no name", index(&|_| String::new()), "a shard is a .safetensors file"),
        ("absent", index(&|_| "nowhere.safetensors".into()), "nowhere.safetensors"),
        ("many", index(&|i| format!("{i}.safetensors")), "0.safetensors"),
        (
            "wrong shard",
            index(&|i| if i == 0 { "b.safetensors" } else { "a.safetensors" }.into()),
            "is said to be in",
        ),
        (
            "tensor that is nowhere",
            json!({"weight_map": {"ghost": "a.safetensors"}}),
            "\"ghost\" is said to be in a.safetensors",
        ),
        ("number", json!({"weight_map": {"a": 1}}), "must be the name of a file"),
        ("nothing", json!({"weight_map": {}}), "names no shard"),
        ("no map", json!({}), "weight_map is missing"),
    ];
    for (case, index, said) in cases {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.json"), config().to_string()).unwrap();
        fs::write(folder.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
        fs::write(folder.path().join("a.safetensors"), file_of(&all)).unwrap();
        let mut other = Tensors::new();
        other.insert("other".into(), (vec![1], vec![0.0]));
        fs::write(folder.path().join("b.safetensors"), file_of(&other)).unwrap();
        let error = Checkpoint::open(folder.path(), None).map(drop).expect_err(case).to_string();
        assert!(error.contains(said), "{case}: {error}");
    }
}

#[test]
fn folders_that_are_refused() {
    let error = |folder: &Path| Checkpoint::open(folder, None).map(drop).unwrap_err().to_string();
    assert!(error(Path::new("nowhere")).contains("config.json"));
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("config.json")).unwrap();
    assert!(error(folder.path()).contains("is not a file"));
    fs::remove_dir(folder.path().join("config.json")).unwrap();
    for (text, said) in [("", "is not JSON"), ("[]", "is not a JSON object"), ("{\"a\":", "is not JSON")] {
        fs::write(folder.path().join("config.json"), text).unwrap();
        assert!(error(folder.path()).contains(said), "{text}");
    }
    fs::write(folder.path().join("config.json"), config().to_string()).unwrap();
    assert!(error(folder.path()).contains("has no model.safetensors"));
    fs::write(folder.path().join("pytorch_model.bin"), "").unwrap();
    assert!(error(folder.path()).contains("can run code"));
}

#[test]
fn adapters_that_are_refused() {
    let (model, _) = sound();
    let config = json!({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]});
    let key = |part: &str| format!("base_model.model.model.layers.0.self_attn.q_proj.{part}.weight");
    let tensors: Tensors = [
        (key("lora_A"), (vec![2, HIDDEN], vec![0.1; 16])),
        (key("lora_B"), (vec![HIDDEN, 2], vec![0.1; 16])),
    ]
    .into();
    let open = |config: &Value, tensors: &Tensors| {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("adapter_config.json"), config.to_string()).unwrap();
        fs::write(folder.path().join("adapter_model.safetensors"), file_of(tensors)).unwrap();
        Checkpoint::open(model.path(), Some(folder.path())).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(open(&config, &tensors), Ok(()));
    for (changed, value, said) in [
        ("peft_type", json!("IA3"), "peft_type is \"IA3\""),
        ("r", json!(1u64 << 50), "r is 1125899906842624"),
        ("r", json!(3), "has shape [8, 2], the settings require [8, 3]"),
        ("lora_alpha", json!(null), "lora_alpha is missing"),
        ("init_lora_weights", json!("pissa"), "init_lora_weights is \"pissa\""),
    ] {
        let mut config = config.clone();
        config[changed] = value;
        let error = open(&config, &tensors).unwrap_err();
        assert!(error.contains(said), "{changed}: {error}");
    }
    let mut half = tensors.clone();
    half.remove(&key("lora_B"));
    assert!(open(&config, &half).unwrap_err().contains("lora_B.weight\" is missing"));
    let mut stray = tensors.clone();
    stray.insert("base_model.model.other.lora_A.weight".into(), (vec![1], vec![0.0]));
    assert!(open(&config, &stray).unwrap_err().contains("belongs to no linear layer"));
    assert!(Checkpoint::open(model.path(), Some(Path::new("nowhere"))).is_err());
}
