//! Runs: what a mask excludes, and that neither threads nor interruptions change a byte.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use common::{documents, write};
use goldfish_lab::{
    Documents, LabError, Length, LoraOptions, ModelOptions, OptimizerOptions, StepEvent, TrainEvent,
    TrainOptions, Trained, train,
};

const VOCABULARY: usize = 61;

fn options(shards: &Path) -> TrainOptions {
    TrainOptions {
        shards: vec![shards.into()],
        vocab_size: Some(VOCABULARY),
        model: ModelOptions { layers: 2, width: 48, heads: 4, ..ModelOptions::default() },
        sequence_length: 16,
        batch_size: 5,
        length: Length::Epochs(3),
        // A number that a careless reading of text gets wrong in its last bit.
        optimizer: OptimizerOptions {
            warmup: 3,
            learning_rate: 0.000_472_320_284_261_575_57,
            ..OptimizerOptions::default()
        },
        checkpoint_every: 3,
        validate_every: 4,
        ..TrainOptions::default()
    }
}

fn steps(options: &TrainOptions, output: &Path) -> Vec<StepEvent> {
    let mut found = Vec::new();
    train(options, output, false, &mut |event| {
        if let TrainEvent::Step(step) = event {
            found.push(step.clone());
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
}

#[test]
fn initial_weights_are_uniform_and_masked_tokens_are_excluded() {
    let folder = tempfile::tempdir().unwrap();
    let shards = folder.path().join("shards");
    write(&shards, &documents(&[40, 9, 1, 17], VOCABULARY as i32));
    let whole = TrainOptions { batch_size: 5, length: Length::Steps(1), ..options(&shards) };
    // A head of zeros gives every id the same probability.
    let even = ModelOptions { initial_deviation: 1e-12, ..whole.model.clone() };
    let even = TrainOptions { model: even, ..whole.clone() };
    for (use_mask, name) in [(true, "mask"), (false, "every")] {
        let options = TrainOptions { use_mask, ..even.clone() };
        let [step] = steps(&options, &folder.path().join(name)).try_into().unwrap();
        // 40 tokens are sequences of 16, 16 and 7 inputs; a document of one token has no target.
        assert_eq!(step.tokens, 39 + 8 + 16);
        // The mask drops every fourth token from the third on.
        let dropped = if use_mask { 10 + 2 + 4 } else { 0 };
        assert_eq!((step.supervised, step.supervised_total), (63 - dropped, 63 - dropped));
        assert!((step.loss - (VOCABULARY as f64).ln()).abs() < 1e-5);
    }
    // Other tokens where the mask drops them, as targets alone (the last of a document is no input): the loss is the same to the bit.
    let (mut changed, mut seen) = (documents(&[40, 9, 1, 19], VOCABULARY as i32), folder.path().join("19"));
    write(&seen, &changed);
    let whole = TrainOptions { batch_size: 6, ..whole };
    let before = steps(&TrainOptions { shards: vec![seen], ..whole.clone() }, &folder.path().join("before"));
    assert_eq!(changed[3].1[18], 0);
    changed[3].0[18] = (changed[3].0[18] + 1) % VOCABULARY as i32;
    seen = folder.path().join("changed");
    write(&seen, &changed);
    let after = TrainOptions { shards: vec![seen], ..whole };
    assert_eq!(before, steps(&after, &folder.path().join("after")));
    assert_ne!(before, steps(&TrainOptions { use_mask: false, ..after }, &folder.path().join("all")));
}

fn run(
    options: &TrainOptions,
    output: &Path,
    threads: usize,
    stop_at: Option<u64>,
) -> Result<Trained, LabError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        train(options, output, true, &mut |event| match event {
            TrainEvent::Step(step) if Some(step.step) == stop_at => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
    })
}

#[test]
fn threads_and_interruptions_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (shards, held_out) = (folder.path().join("shards"), folder.path().join("held-out"));
    write(&shards, &documents(&[40, 9, 1, 17, 30, 25, 12, 60], VOCABULARY as i32));
    write(&held_out, &documents(&[20, 33], VOCABULARY as i32));
    for name in ["llama", "nope"] {
        let model = ModelOptions { architecture: name.into(), kv_heads: Some(2), ..options(&shards).model };
        let options = TrainOptions { model, validation: vec![held_out.clone()], ..options(&shards) };
        let [one, cut] = ["one", "cut"].map(|end| folder.path().join(format!("{name}-{end}")));
        let trained = run(&options, &one, 1, None).unwrap();
        for (threads, stop_at) in [(3, Some(2)), (2, Some(7)), (4, Some(8)), (3, None)] {
            match run(&options, &cut, threads, stop_at) {
                Ok(resumed) => assert_eq!(resumed, trained),
                Err(LabError::Stopped { step, .. }) => assert_eq!(Some(step), stop_at),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(files(&one), files(&cut));
        // 14 sequences three times, five a step.
        assert_eq!(trained.steps, 9);
        assert!(trained.loss.is_finite() && trained.validation_loss.is_some());
        // Once more is nothing more.
        assert_eq!(run(&options, &cut, 1, None).unwrap(), trained);
        let other = TrainOptions { seed: 1, ..options };
        assert!(run(&other, &cut, 1, None).unwrap_err().to_string().contains("another seed"));
        let one_step = TrainOptions { length: Length::Steps(1), ..other };
        run(&one_step, &folder.path().join(format!("{name}-other")), 1, None).unwrap();
    }
}

#[test]
fn folders_and_options_that_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let shards = folder.path().join("shards");
    write(&shards, &documents(&[40, 9], VOCABULARY as i32));
    let options = options(&shards);
    let refused = |options: &TrainOptions, output: &str, words: &str| {
        let error = run(options, &folder.path().join(output), 1, None).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    refused(&options, "shards", "no run of goldfish");
    refused(&TrainOptions { vocab_size: Some(30), ..options.clone() }, "new", "vocabulary of 30");
    refused(&TrainOptions { vocab_size: None, ..options.clone() }, "new", "vocab_size");
    refused(&TrainOptions { batch_size: 0, ..options.clone() }, "new", "batch_size");
    refused(&TrainOptions { shards: Vec::new(), ..options.clone() }, "new", "shards");
    let uneven = ModelOptions { heads: 5, ..options.model.clone() };
    refused(&TrainOptions { model: uneven, ..options.clone() }, "new", "heads");
    let short = ModelOptions { context_length: Some(8), ..options.model.clone() };
    refused(&TrainOptions { model: short, ..options.clone() }, "new", "context");
    let wild = OptimizerOptions { learning_rate: 1e30, clip: 0.0, warmup: 0, ..options.optimizer.clone() };
    refused(&TrainOptions { optimizer: wild, ..options.clone() }, "wild", "learning rate");
    let masked = folder.path().join("masked");
    write(&masked, &[(vec![1, 2, 3], vec![1, 0, 0])]);
    refused(&TrainOptions { shards: vec![masked], ..options.clone() }, "new", "no supervised token");
    // A flipped bit in a shard.
    let shard = shards.join("data-00000-of-00001.arrow");
    let mut bytes = fs::read(&shard).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&shard, bytes).unwrap();
    refused(&options, "new", "data-00000-of-00001.arrow");
    assert!(!folder.path().join("new").exists(), "nothing was made");
}

#[test]
fn a_run_continues_from_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let shards = folder.path().join("shards");
    write(&shards, &documents(&[40, 9, 30], VOCABULARY as i32));
    let first = folder.path().join("first");
    let model = ModelOptions { architecture: "mamba".into(), ..options(&shards).model };
    steps(&TrainOptions { model: model.clone(), ..options(&shards) }, &first);
    // Steps of size 0: the weights stay those of the checkpoint, and so does the loss.
    let still = OptimizerOptions { learning_rate: 0.0, ..OptimizerOptions::default() };
    let again = TrainOptions {
        from: Some(first.clone()),
        vocab_size: None,
        length: Length::Steps(1),
        batch_size: 50,
        optimizer: still,
        ..options(&shards)
    };
    let second = folder.path().join("second");
    steps(&again, &second);
    assert_eq!(fs::read(first.join("config.json")).unwrap(), fs::read(second.join("config.json")).unwrap());
    let weights = |folder: &Path| fs::read(folder.join("model.safetensors")).unwrap();
    assert_eq!(weights(&first), weights(&second));
    // Not the same run as one that starts elsewhere.
    let other = folder.path().join("other");
    let seed = TrainOptions { seed: 1, vocab_size: Some(VOCABULARY), from: None, ..again.clone() };
    steps(&TrainOptions { model, ..seed }, &other);
    let resumed = train(&TrainOptions { from: Some(other), ..again.clone() }, &second, true, &mut |_| {
        ControlFlow::Continue(())
    });
    assert!(resumed.unwrap_err().to_string().contains("from"));
    // A checkpoint of another kind of model is refused by name.
    fs::write(first.join("config.json"), r#"{"model_type": "gru"}"#).unwrap();
    let refused = train(&again, &folder.path().join("third"), false, &mut |_| ControlFlow::Continue(()));
    assert!(refused.unwrap_err().to_string().contains("gru"));
}

#[test]
fn selected_documents_alone_are_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    let shards = folder.path().join("shards");
    write(&shards, &documents(&[40, 9, 1, 17, 30, 25, 12, 60], VOCABULARY as i32));
    let trained = |documents, name: &str| {
        let options = TrainOptions { documents, length: Length::Epochs(1), ..options(&shards) };
        run(&options, &folder.path().join(name), 1, None).unwrap()
    };
    let longest = trained(Documents::Longest(3), "longest");
    assert_eq!(longest.tokens, 39 + 29 + 59);
    // The mask drops every fourth token from the third on.
    assert_eq!(longest.supervised_tokens, (39 - 10) + (29 - 7) + (59 - 15));
    let random = trained(Documents::RandomAsLongest(3), "random");
    assert!(random.supervised_tokens >= longest.supervised_tokens);
    assert_eq!(trained(Documents::Longest(7), "all").tokens, trained(Documents::All, "whole").tokens);
    let eight = TrainOptions { documents: Documents::Random(8), ..options(&shards) };
    let error = run(&eight, &folder.path().join("eight"), 1, None).unwrap_err().to_string();
    assert!(error.contains("7 have supervised tokens"), "{error}");
}

/// A model, and the options of adapters for it.
fn with_adapters(folder: &Path, architecture: &str, rank: usize) -> TrainOptions {
    let shards = folder.join("shards");
    let (base, options) = (folder.join(architecture), options(&shards));
    if !shards.exists() {
        write(&shards, &documents(&[40, 9, 1, 17, 30, 25, 12, 120], VOCABULARY as i32));
    }
    if !base.exists() {
        let context_length = Some(128);
        let model =
            ModelOptions { architecture: architecture.into(), context_length, ..options.model.clone() };
        steps(&TrainOptions { model, ..options.clone() }, &base);
    }
    let lora = LoraOptions { rank, alpha: None, targets: Vec::new() };
    let (validation, recite) = (vec![shards.clone()], vec![shards]);
    TrainOptions { from: Some(base), lora: Some(lora), vocab_size: None, validation, recite, ..options }
}

#[test]
fn adapters_resume_and_leave_the_checkpoint_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["llama", "lstm", "mamba"] {
        let options = with_adapters(folder.path(), name, 2);
        let base = options.from.clone().unwrap();
        let before = files(&base);
        let [one, cut] = ["one", "cut"].map(|end| folder.path().join(format!("{name}-{end}")));
        let trained = run(&options, &one, 1, None).unwrap();
        assert!(run(&options, &cut, 3, Some(4)).is_err());
        assert_eq!(run(&options, &cut, 2, None).unwrap(), trained);
        assert_eq!(files(&one), files(&cut));
        assert_eq!(files(&base), before);
        let written: Vec<String> = files(&one).into_keys().collect();
        let expected = ["adapter_config.json", "adapter_model.safetensors", "metrics.jsonl", "training.json"];
        assert_eq!(written, expected);
        // 2 (inputs + outputs) of each matrix in two layers: four of attention or none, three of the MLP; Mamba has others.
        let own = match name {
            "llama" => 4 * (48 + 48) + 3 * (48 + 128),
            "lstm" => 3 * (48 + 128),
            _ => (48 + 192) + (96 + 35),
        };
        assert_eq!(trained.parameters, 2 * 2 * own);
        // Another checkpoint, or another rank, is another run.
        fs::write(base.join("config.json"), [before["config.json"].as_slice(), b"\n"].concat()).unwrap();
        let error = run(&options, &cut, 1, None).unwrap_err().to_string();
        assert!(error.contains("another from"), "{error}");
    }
}

#[test]
fn adapters_that_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let options = with_adapters(folder.path(), "mamba", 2);
    let refused = |lora: LoraOptions, words: &[&str]| {
        let options = TrainOptions { lora: Some(lora), ..options.clone() };
        let error = run(&options, &folder.path().join("new"), 1, None).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    let lora = options.lora.clone().unwrap();
    refused(LoraOptions { rank: 0, ..lora.clone() }, &["lora_rank", "at least 1"]);
    refused(LoraOptions { alpha: Some(0), ..lora.clone() }, &["lora_alpha", "at least 1"]);
    refused(LoraOptions { rank: 36, ..lora.clone() }, &["lora_rank: 36", "x_proj", "[35, 96]"]);
    let targets = |name: &str| LoraOptions { targets: vec![name.into()], ..lora.clone() };
    refused(targets("q_proj"), &["lora_targets", "\"q_proj\"", "in_proj, x_proj"]);
    // PEFT refuses it too.
    refused(targets("out_proj"), &["lora_targets", "\"out_proj\""]);
    let (from, vocab_size) = (None, Some(VOCABULARY));
    let error =
        run(&TrainOptions { from, vocab_size, ..options.clone() }, &folder.path().join("new"), 1, None);
    assert!(error.unwrap_err().to_string().contains("trained on a checkpoint"));
    assert!(!folder.path().join("new").exists(), "nothing was made");
    let some = LoraOptions { rank: 4, ..targets("mixer.in_proj") };
    let options = TrainOptions { lora: Some(some), ..options };
    assert_eq!(run(&options, &folder.path().join("some"), 1, None).unwrap().parameters, 2 * 4 * (48 + 192));
}
