//! Models of the lab, with random weights: each with a cache or a recurrent state.

#![cfg(feature = "local")]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/checkpoint.rs"]
mod checkpoint;

use std::path::Path;

use candle_core::{Device, Tensor};
use checkpoint::{HIDDEN, VOCABULARY, file_of, subject, write};
use goldfish_audit::backend::{
    Backend, Decoding, GenerateRequest, SamplingScheme, ScoreRequest, TokenScore, Wants,
};
use goldfish_audit::selftest::{Outcome, SelfTestOptions, self_test};
use goldfish_backends::local::{Checkpoint, NetworkConfig, Recurrent};
use serde_json::{Value, json};

const MIXERS: [&str; 7] = ["hard-alibi", "aaren", "linear", "hedgehog", "lstm", "mamba", "mamba2"];

fn open(mixer: &str) -> Checkpoint {
    let folder = tempfile::tempdir().unwrap();
    let (config, tensors) = subject(mixer);
    write(folder.path(), &config, &file_of(&tensors));
    Checkpoint::open(folder.path(), None).unwrap()
}

/// The network itself; `None` if it has a cache.
fn network(mixer: &str) -> Option<Recurrent> {
    let (config, tensors) = subject(mixer);
    let NetworkConfig::Recurrent(config) =
        NetworkConfig::from_value(Path::new("config.json"), config).unwrap()
    else {
        return None;
    };
    let mut get = |name: &str, shape: &[usize]| {
        let (own, values) = &tensors[name];
        assert_eq!(own, shape, "{name}");
        Tensor::from_slice(values, shape, &Device::Cpu)
    };
    Some(Recurrent::new::<candle_core::Error>(config, &mut get).unwrap())
}

fn tokens(count: usize, seed: u32) -> Vec<u32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % VOCABULARY as u32
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn keep_the_contract_of_a_backend() {
    let sequences: Vec<Vec<u32>> = (0..6).map(|i| tokens(8 + i, i as u32)).collect();
    let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    let scheme = Some(SamplingScheme { temperature: 0.7, top_k: Some(4), top_p: None });
    let options = SelfTestOptions { bos: None, eos: Some(1), scheme, continuations: true };
    for mixer in MIXERS {
        for check in &self_test(&open(mixer), &sequences, &options).unwrap().checks {
            assert_eq!(check.outcome, Outcome::Passed, "{mixer}: {check:?}");
            assert!(check.measured.is_none_or(|difference| difference == 0.0), "{mixer}: {check:?}");
        }
    }
}

/// Prefixes that are shared, repeated and cut everywhere, in no order; two sequences take more than one pass.
#[test]
fn an_answer_depends_on_its_request_alone() {
    let long = tokens(1500, 1);
    let mut sequences: Vec<Vec<u32>> = (2..30).map(|end| long[..end].to_vec()).collect();
    sequences.extend((1..20).map(|cut| [&long[..cut], &[5, 5, 7]].concat()));
    sequences.extend([long.clone(), Vec::new(), [&long[..700], &tokens(900, 2)].concat()]);
    let requests: Vec<_> = sequences
        .iter()
        .enumerate()
        .map(|(i, ids)| ScoreRequest { ids, from: 1 + i % ids.len().max(1) })
        .collect();
    let prompts: Vec<_> = sequences
        .iter()
        .filter(|ids| !ids.is_empty())
        .map(|prompt| GenerateRequest { prompt, tokens: 3 + prompt.len() % 5 })
        .collect();
    let scheme = SamplingScheme { temperature: 0.7, top_k: Some(3), top_p: None };
    let wants = Wants { moments: true, scheme: Some(scheme), candidates: 0 };
    for mixer in MIXERS {
        let model = open(mixer);
        let together = model.score(&requests, &wants).unwrap();
        for (request, scored) in requests.iter().zip(&together) {
            assert_eq!(scored.tokens.len(), request.ids.len().saturating_sub(request.from), "{mixer}");
            assert_eq!(model.score(&[*request], &wants).unwrap()[0], *scored, "{mixer}");
        }
        let continued = model.generate(&prompts, &Decoding::Greedy).unwrap();
        for (request, generated) in prompts.iter().zip(&continued) {
            assert_eq!(generated.ids.len(), request.tokens);
            assert_eq!(model.generate(&[*request], &Decoding::Greedy).unwrap()[0], *generated, "{mixer}");
        }
        let sampled = Decoding::Sampled { scheme, seed: 3, first: 0 };
        let drawn = model.generate(&prompts, &sampled).unwrap();
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                assert_eq!(model.score(&requests, &wants).unwrap(), together, "{mixer}, {threads} threads");
                assert_eq!(model.generate(&prompts, &Decoding::Greedy).unwrap(), continued, "{mixer}");
                assert_eq!(model.generate(&prompts, &sampled).unwrap(), drawn, "{mixer}");
            });
        }
    }
}

/// Steps of two sequences at once have the bits of scores, and the state has the same size after each.
#[test]
fn steps_are_what_scores_are_made_of() {
    let sequences = [tokens(300, 4), tokens(300, 5)];
    // Layers, heads, head size, and Mamba's inner width, state and kernel.
    let (layers, heads, dim, inner) = (2, 2, HIDDEN / 2, 2 * HIDDEN);
    for (mixer, numbers) in [
        ("aaren", HIDDEN + heads),
        ("linear", HIDDEN * (dim + 1)),
        ("hedgehog", 2 * HIDDEN * (dim + 1)),
        ("lstm", 2 * HIDDEN),
        ("mamba", inner * (16 + 3)),
        // The convolution reads `B` and `C` of 2 groups too.
        ("mamba2", inner * 4 + 3 * (inner + 2 * 2 * 4)),
    ] {
        let network = network(mixer).unwrap();
        let mut states = vec![network.state(); 2];
        let mut stepped: [Vec<TokenScore>; 2] = Default::default();
        for at in 0..299 {
            let hidden = network.step(&mut states, &[sequences[0][at], sequences[1][at]]).unwrap();
            let logits: Vec<Vec<f32>> = network.logits(&hidden).unwrap().to_vec2().unwrap();
            for ((logits, sequence), stepped) in logits.iter().zip(&sequences).zip(&mut stepped) {
                stepped.extend(TokenScore::from_logits(logits, sequence[at + 1], &Wants::default()));
            }
            assert!(states.iter().all(|state| state.bytes() == layers * numbers * 4), "{mixer}");
        }
        assert_ne!(states[0], states[1]);
        let requests = sequences.each_ref().map(|ids| ScoreRequest { ids, from: 1 });
        for (scored, stepped) in open(mixer).score(&requests, &Wants::default()).unwrap().iter().zip(&stepped)
        {
            for (scored, stepped) in scored.tokens.iter().zip(stepped) {
                assert_eq!((scored.rank, scored.greedy), (stepped.rank, stepped.greedy), "{mixer}");
                assert!((scored.log_prob - stepped.log_prob).abs() < 1e-6, "{mixer}");
            }
        }
        assert!(network.step(&mut states, &[1]).is_err());
        assert!(network.step(&mut states, &[1, VOCABULARY as u32]).is_err());
        assert!(network.step(&mut [Default::default()], &[1]).is_err());
    }
    assert!(network("hard-alibi").is_none());
}

/// Head 0 of a layer sees its own position alone, and head 1 the one before it too.
#[test]
fn windowed_heads_see_what_they_should() {
    let score = |windowed: usize, ids: &[u32]| {
        let (mut config, tensors) = subject("hard-alibi");
        config["num_windowed_heads"] = json!(windowed);
        config["num_hidden_layers"] = json!(1);
        let first = tensors.into_iter().filter(|(name, _)| !name.contains("layers.1")).collect();
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &config, &file_of(&first));
        let model = Checkpoint::open(folder.path(), None).unwrap();
        let scored = model.score(&[ScoreRequest { ids, from: ids.len() - 1 }], &Wants::default()).unwrap();
        scored[0].tokens[0].log_prob
    };
    // All heads but one that see everything: the tokens before matter, their order doesn't.
    assert!((score(0, &[1, 2, 3, 4, 5]) - score(0, &[2, 3, 1, 4, 5])).abs() < 1e-5);
    assert!((score(1, &[1, 2, 3, 4, 5]) - score(1, &[2, 3, 1, 4, 5])).abs() < 1e-5);
    assert_ne!(score(1, &[1, 2, 3, 4, 5]), score(0, &[1, 2, 3, 4, 5]));
    assert_ne!(score(1, &[1, 2, 3, 4, 5]), score(1, &[1, 2, 6, 4, 5]));
    // Both heads windowed: nothing before the last two positions matters.
    assert_eq!(score(2, &[1, 2, 3, 4, 5]), score(2, &[2, 1, 3, 4, 5]));
    assert_ne!(score(2, &[1, 2, 3, 4, 5]), score(2, &[1, 2, 6, 4, 5]));
}

#[test]
fn a_sequence_may_be_longer_than_those_of_the_training() {
    let long = tokens(200, 6);
    for mixer in MIXERS {
        let model = open(mixer);
        assert_eq!(model.describe().unwrap().context_length, None);
        let scored = model.score(&[ScoreRequest { ids: &long, from: 150 }], &Wants::default()).unwrap();
        assert_eq!(scored[0].tokens.len(), 50);
        let request = GenerateRequest { prompt: &long, tokens: 2 };
        assert_eq!(model.generate(&[request], &Decoding::Greedy).unwrap()[0].ids.len(), 2);
    }
}

#[test]
fn settings_and_tensors_that_are_refused() {
    let cases: [(&str, &str, Value, &str); 10] = [
        ("aaren", "mixer", json!(null), "mixer is missing"),
        ("aaren", "mixer", json!("rwkv"), "known are hard-alibi, aaren, linear, hedgehog, lstm"),
        ("aaren", "mixer", json!("linear"), "self_attn.query\" is not a tensor of this family"),
        ("linear", "num_attention_heads", json!(3), "doesn't divide the hidden size 8"),
        ("linear", "num_attention_heads", json!(null), "num_attention_heads is missing"),
        ("hedgehog", "num_attention_heads", json!(4), "has shape [2, 4, 4], the settings require [4, 2, 2]"),
        ("hard-alibi", "num_windowed_heads", json!(3), "is 3, which is more than 2 heads"),
        ("mamba", "state_size", json!(1u64 << 40), "state_size is 1099511627776, at most"),
        ("mamba", "use_bias", json!(true), "in_proj.bias\" is missing"),
        ("mamba", "quantization_config", json!({"bits": 4}), "quantization_config is"),
    ];
    for (mixer, key, value, said) in cases {
        let folder = tempfile::tempdir().unwrap();
        let (mut config, tensors) = subject(mixer);
        config[key] = value;
        write(folder.path(), &config, &file_of(&tensors));
        let error = Checkpoint::open(folder.path(), None).map(drop).expect_err(key).to_string();
        assert!(error.contains(said), "{mixer} {key}: {error}");
    }
}
