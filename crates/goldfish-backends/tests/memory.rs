//! Sequences longer than a model's context, read with a memory of blocks.

#![cfg(feature = "local")]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/checkpoint.rs"]
mod checkpoint;

use checkpoint::{Tensors, VOCABULARY, config, file_of, subject, tensors, write};
use goldfish_audit::backend::{
    Backend, BlockMemory, Decoding, GenerateRequest, SamplingScheme, ScoreRequest, Wants,
};
use goldfish_audit::selftest::{Outcome, SelfTestOptions, self_test};
use goldfish_backends::local::{Checkpoint, CheckpointError};
use goldfish_remedy::{Remedies, Remedy, Setting};
use serde_json::{Value, json};

const SCHEME: SamplingScheme = SamplingScheme { temperature: 0.7, top_k: Some(3), top_p: None };

fn open(config: &Value, tensors: &Tensors) -> Checkpoint {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), config, &file_of(tensors));
    Checkpoint::open(folder.path(), None).unwrap()
}

fn memory(window: u32, blocks: u32, block_tokens: u32, init: u32) -> BlockMemory {
    BlockMemory { window, blocks, block_tokens, init }
}

/// A model without positions.
fn no_positions() -> (Value, Tensors) {
    let (mut config, tensors) = subject("hard-alibi");
    config["num_windowed_heads"] = json!(0);
    (config, tensors)
}

fn tokens(count: usize, seed: u32) -> Vec<u32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % VOCABULARY as u32
    };
    (0..count).map(|_| next()).collect()
}

fn log_probs(model: &Checkpoint, ids: &[u32]) -> Vec<f64> {
    let wants = Wants::default();
    let [scored] = model.score(&[ScoreRequest { ids, from: 1 }], &wants).unwrap().try_into().unwrap();
    scored.tokens.iter().map(|token| token.log_prob).collect()
}

#[test]
fn a_window_over_everything_gives_the_same_bits() {
    let mut kinds = vec![no_positions(), (config(), tensors())];
    for (key, value) in [
        ("rope_scaling", json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16})),
        ("partial_rotary_factor", json!(0.5)),
    ] {
        let mut changed = config();
        changed[key] = value;
        kinds.push((changed, tensors()));
    }
    let ids = tokens(64, 3);
    for (config, tensors) in kinds {
        let full = open(&config, &tensors);
        let long = open(&config, &tensors).with_memory(memory(64, 1, 4, 2)).unwrap();
        assert_eq!(log_probs(&full, &ids), log_probs(&long, &ids), "{config}");
        let requests = [1, 7, 50].map(|end| GenerateRequest { prompt: &ids[..end], tokens: 15 });
        for decoding in [Decoding::Greedy, Decoding::Sampled { scheme: SCHEME, seed: 4, first: 0 }] {
            let expected = full.generate(&requests, &decoding).unwrap();
            assert_eq!(long.generate(&requests, &decoding).unwrap(), expected, "{config}");
        }
    }
}

#[test]
fn without_positions_all_blocks_are_everything() {
    let (config, tensors) = no_positions();
    let full = open(&config, &tensors);
    let ids = tokens(1000, 5);
    let expected = log_probs(&full, &ids);
    for (memory, same) in [
        (memory(5, 1000, 3, 2), true),
        (memory(1, 1000, 1, 0), true),
        (memory(200, 10, 128, 300), true),
        (memory(5, 10, 3, 2), false),
        (memory(5, 0, 3, 2), false),
    ] {
        let long = open(&config, &tensors).with_memory(memory).unwrap();
        let found = log_probs(&long, &ids);
        let differences = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
        let largest = differences.fold(0.0, f64::max);
        assert_eq!(largest < 1e-5, same, "{memory}: {largest}");
        let request = GenerateRequest { prompt: &ids[..900], tokens: 90 };
        let [generated, expected] = [&long, &full].map(|model| model.generate(&[request], &Decoding::Greedy));
        assert!(!same || generated.unwrap() == expected.unwrap(), "{memory}");
    }
}

/// A window alone, without blocks, sees nothing before it.
#[test]
fn without_blocks_the_window_slides() {
    let mut config = config();
    config["num_hidden_layers"] = json!(1);
    let tensors: Tensors = tensors().into_iter().filter(|(name, _)| !name.contains("layers.1.")).collect();
    let last = |model: &Checkpoint, ids: &[u32]| *log_probs(model, ids).last().unwrap();
    let (full, ids) = (open(&config, &tensors), tokens(64, 8));
    let window = open(&config, &tensors).with_memory(memory(16, 0, 1, 0)).unwrap();
    // The last token is predicted by the one before it, which sees 16 positions.
    let seen = &ids[64 - 17..];
    assert!((last(&window, &ids) - last(&full, seen)).abs() < 1e-5);
    assert!((last(&window, &ids) - last(&full, &ids)).abs() > 1e-3);
}

#[test]
fn keeps_the_contract_of_a_backend() {
    let sequences: Vec<Vec<u32>> = (0..6).map(|i| tokens(60 + 30 * i, i as u32)).collect();
    let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    let options = SelfTestOptions { bos: None, eos: Some(1), scheme: Some(SCHEME), continuations: true };
    for (config, tensors) in [no_positions(), (config(), tensors())] {
        let model = open(&config, &tensors).with_memory(memory(20, 2, 8, 4)).unwrap();
        for check in &self_test(&model, &sequences, &options).unwrap().checks {
            assert_eq!(check.outcome, Outcome::Passed, "{check:?}");
            assert!(check.measured.is_none_or(|difference| difference == 0.0), "{check:?}");
        }
    }
}

/// Prefixes that are shared, repeated and cut everywhere, in no order; one sequence takes more than one pass.
#[test]
fn an_answer_depends_on_its_request_alone() {
    let long = tokens(2500, 1);
    let mut sequences: Vec<Vec<u32>> = (2..30).map(|end| long[..8 * end].to_vec()).collect();
    sequences.extend((1..20).map(|cut| [&long[..7 * cut], &[5, 5, 7]].concat()));
    sequences.extend([long.clone(), [&long[..700], &tokens(300, 2)].concat()]);
    let requests: Vec<_> =
        sequences.iter().enumerate().map(|(i, ids)| ScoreRequest { ids, from: 1 + i % ids.len() }).collect();
    let prompts: Vec<_> =
        sequences.iter().map(|prompt| GenerateRequest { prompt, tokens: 3 + prompt.len() % 5 }).collect();
    let wants = Wants { moments: true, scheme: Some(SCHEME), candidates: 0 };
    let model = open(&config(), &tensors()).with_memory(memory(32, 3, 8, 4)).unwrap();
    let together = model.score(&requests, &wants).unwrap();
    for (request, scored) in requests.iter().zip(&together) {
        assert_eq!(scored.tokens.len(), request.ids.len() - request.from);
        assert_eq!(model.score(&[*request], &wants).unwrap()[0], *scored);
    }
    let continued = model.generate(&prompts, &Decoding::Greedy).unwrap();
    for (request, generated) in prompts.iter().zip(&continued) {
        assert_eq!(model.generate(&[*request], &Decoding::Greedy).unwrap()[0], *generated);
        // What is generated is what scores call the likeliest, token by token.
        let ids = [request.prompt, &generated.ids].concat();
        let scored = model.score(&[ScoreRequest { ids: &ids, from: request.prompt.len() }], &wants).unwrap();
        assert!(scored[0].tokens.iter().all(|token| token.rank == 1));
    }
    let sampled = Decoding::Sampled { scheme: SCHEME, seed: 3, first: 0 };
    let drawn = model.generate(&prompts, &sampled).unwrap();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            assert_eq!(model.score(&requests, &wants).unwrap(), together, "{threads} threads");
            assert_eq!(model.generate(&prompts, &Decoding::Greedy).unwrap(), continued);
            assert_eq!(model.generate(&prompts, &sampled).unwrap(), drawn);
        });
    }
}

/// Tokens of an induction head, and the layout of its hidden states: the token, the one before it, a constant, and what is said.
const NAMES: usize = 24;
const CONSTANT: usize = 2 * NAMES;
const SAID: usize = CONSTANT + 1;
const WIDTH: usize = 80;
const HEAD: usize = 64;

/// Two layers of one head with rotary positions. The first finds the token before each; the second finds the tokens after those that equal
/// the last one, and says them.
fn induction_head() -> (Value, Tensors) {
    let settings = json!({
        "model_type": "llama", "vocab_size": NAMES, "hidden_size": WIDTH, "intermediate_size": 1,
        "num_hidden_layers": 2, "num_attention_heads": 1, "head_dim": HEAD, "max_position_embeddings": 64,
        "hidden_act": "silu", "rms_norm_eps": 1e-6, "tie_word_embeddings": false,
    });
    let zeros = |shape: &[usize]| (shape.to_vec(), vec![0f32; shape.iter().product()]);
    let mut tensors = Tensors::new();
    let mut add = |name: &str, shape: &[usize], entries: &[(usize, usize, f32)]| {
        let mut stored = zeros(shape);
        for (row, column, value) in entries {
            stored.1[row * shape[1] + column] = *value;
        }
        tensors.insert(name.to_owned(), stored);
    };
    let each = |entry: &dyn Fn(usize) -> Vec<(usize, usize, f32)>| -> Vec<(usize, usize, f32)> {
        (0..NAMES).flat_map(entry).collect()
    };
    add(
        "model.embed_tokens.weight",
        &[NAMES, WIDTH],
        &each(&|name| vec![(name, name, 1.0), (name, CONSTANT, 1.0)]),
    );
    add("lm_head.weight", &[NAMES, WIDTH], &each(&|name| vec![(name, SAID + name, 10.0)]));
    for layer in 0..2 {
        let own = |part: &str| format!("model.layers.{layer}.{part}.weight");
        add(&own("mlp.gate_proj"), &[1, WIDTH], &[]);
        add(&own("mlp.up_proj"), &[1, WIDTH], &[]);
        add(&own("mlp.down_proj"), &[WIDTH, 1], &[]);
        add(&own("self_attn.v_proj"), &[HEAD, WIDTH], &each(&|name| vec![(name, name, 1.0)]));
    }
    // After the norm the constant is 6.3, and 5.2 once the token before is known.
    let first: Vec<f32> = (0..8).map(|pair| 1e4f32.powf(-(pair as f32) / 32.0)).collect();
    let turned = |pair: usize| {
        let (sin, cos) = (-first[pair]).sin_cos();
        [(pair, CONSTANT, 4.0 * cos), (pair + HEAD / 2, CONSTANT, 4.0 * sin)]
    };
    let own = |part: &str| format!("model.layers.0.self_attn.{part}_proj.weight");
    add(&own("q"), &[HEAD, WIDTH], &(0..8).flat_map(turned).collect::<Vec<_>>());
    add(&own("k"), &[HEAD, WIDTH], &(0..8).map(|pair| (pair, CONSTANT, 1.0)).collect::<Vec<_>>());
    add(&own("o"), &[WIDTH, HEAD], &each(&|name| vec![(NAMES + name, name, 0.16)]));
    // Pairs that hardly turn within a context.
    let slow = |name: usize| if name < 12 { 20 + name } else { 40 + name };
    let own = |part: &str| format!("model.layers.1.self_attn.{part}_proj.weight");
    add(&own("q"), &[HEAD, WIDTH], &each(&|name| vec![(slow(name), name, 6.0)]));
    add(&own("k"), &[HEAD, WIDTH], &each(&|name| vec![(slow(name), NAMES + name, 1.0)]));
    add(&own("o"), &[WIDTH, HEAD], &each(&|name| vec![(SAID + name, name, 0.2)]));
    for norm in ["layers.0.input_layernorm", "layers.1.input_layernorm", "norm"] {
        tensors.insert(format!("model.{norm}.weight"), (vec![WIDTH], vec![1.0; WIDTH]));
    }
    for layer in 0..2 {
        let name = format!("model.layers.{layer}.post_attention_layernorm.weight");
        tensors.insert(name, (vec![WIDTH], vec![1.0; WIDTH]));
    }
    (settings, tensors)
}

/// Token 0 stands once in a long text, followed by `answer`, and again at the end.
fn needle(length: usize, at: usize, answer: u32) -> Vec<u32> {
    let mut text: Vec<u32> =
        tokens(length, 9).iter().enumerate().map(|(i, id)| 1 + (id + i as u32) % 22).collect();
    (text[at], text[at + 1]) = (0, answer);
    text.push(0);
    text
}

#[test]
fn a_needle_before_the_window_is_found() {
    let (config, tensors) = induction_head();
    let said = |model: &Checkpoint, prompt: &[u32]| {
        model.generate(&[GenerateRequest { prompt, tokens: 1 }], &Decoding::Greedy).unwrap()[0].ids[0]
    };
    let full = open(&config, &tensors);
    let long = open(&config, &tensors).with_memory(memory(32, 2, 4, 0)).unwrap();
    let window = open(&config, &tensors).with_memory(memory(32, 0, 1, 0)).unwrap();
    let first = open(&config, &tensors).with_memory(memory(32, 0, 1, 4)).unwrap();
    for answer in [3, 11, 23] {
        // Within the context it is an induction head, and within the window too.
        for (length, at) in [(40, 5), (60, 2), (63, 40)] {
            assert_eq!(said(&full, &needle(length, at, answer)), answer, "{length} {at}");
        }
        assert_eq!(said(&window, &needle(500, 480, answer)), answer);
        assert_eq!(said(&first, &needle(500, 2, answer)), answer);
        let mut lost = 0;
        for (length, at) in [(100, 5), (500, 2), (500, 251), (501, 252), (1000, 6), (2000, 1003)] {
            assert_eq!(said(&long, &needle(length, at, answer)), answer, "{length} {at}");
            lost += u32::from(said(&window, &needle(length, at, answer)) != answer);
        }
        assert!(lost >= 5, "the window alone finds {} of 6", 6 - lost);
    }
}

#[test]
fn models_that_are_refused() {
    let small = memory(16, 2, 4, 2);
    let refused = |config: &Value, tensors: &Tensors, memory| match open(config, tensors).with_memory(memory)
    {
        Ok(_) => panic!("accepted: {config}"),
        Err(error) => (error.to_string(), error.remedies()),
    };
    let mut sliding = config();
    sliding["model_type"] = json!("mistral");
    sliding["sliding_window"] = json!(8);
    let (windowed, windowed_tensors) = subject("hard-alibi");
    let (mamba, mamba_tensors) = subject("mamba");
    for (config, tensors, said) in [
        (&sliding, &tensors(), "sliding windows of their own"),
        (&windowed, &windowed_tensors, "some of its heads have windows"),
        (&mamba, &mamba_tensors, "its memory has a constant size already"),
    ] {
        let (error, remedies) = refused(config, tensors, small);
        assert!(error.contains(said), "{error}");
        assert_eq!(remedies, [Remedy::omit(Setting::MemoryWindow)]);
    }
    let (error, remedies) = refused(&config(), &tensors(), memory(65, 2, 4, 2));
    assert!(error.contains("has a context of 64 tokens, and the window has 65"), "{error}");
    assert_eq!(remedies, [Remedy::change(Setting::MemoryWindow)]);
    for none in [memory(0, 2, 4, 2), memory(4, 2, 0, 2)] {
        let error = open(&config(), &tensors()).with_memory(none).map(drop).unwrap_err();
        assert!(matches!(error, CheckpointError::NoMemory { .. }));
    }
    // The remedy where a sequence is too long is named for the models that are not refused.
    let remedies = |model: &Checkpoint| {
        let error = model.score(&[ScoreRequest { ids: &[1; 65], from: 1 }], &Wants::default()).unwrap_err();
        error.remedies().len()
    };
    assert_eq!((remedies(&open(&config(), &tensors())), remedies(&open(&sliding, &tensors()))), (2, 1));
    let model = open(&config(), &tensors()).with_memory(small).unwrap();
    assert_eq!(log_probs(&model, &[1; 65]).len(), 64);
    let described = model.describe().unwrap();
    assert_eq!((described.context_length, described.memory), (None, Some(small)));
}
