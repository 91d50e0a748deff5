//! A model that recites is taught not to.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{documents, write};
use goldfish_lab::{
    Event, ExperimentError, Length, ModelOptions, OptimizerOptions, PairEvent, PreferenceOptions,
    RecitationOptions, RepairMethod, RepairOptions, RepairResults, StepEvent, TrainEvent, TrainOptions,
    ValidationEvent, repair, train,
};
use serde::de::DeserializeOwned;

const VOCABULARY: i32 = 41;
const PREFIX: usize = 6;
const SUFFIX: usize = 8;

/// A checkpoint that recites `shards`, beside shards of other documents.
fn reciting(folder: &Path) -> RepairOptions {
    let [model, shards, validation, other] =
        ["model", "shards", "validation", "other"].map(|name| folder.join(name));
    // The last is too short, and not asked for.
    write(&shards, &documents(&[16, 16, 16, 16, 16, 16, 13], VOCABULARY));
    let more = documents(&[16; 20], VOCABULARY);
    write(&validation, &more[10..14]);
    write(&other, &more[14..]);
    let options = TrainOptions {
        shards: vec![shards.clone()],
        vocab_size: Some(VOCABULARY as usize),
        model: ModelOptions { layers: 1, width: 32, heads: 2, ..ModelOptions::default() },
        use_mask: false,
        sequence_length: 16,
        batch_size: 8,
        length: Length::Epochs(120),
        optimizer: OptimizerOptions { learning_rate: 1e-2, ..OptimizerOptions::default() },
        ..TrainOptions::default()
    };
    train(&options, &model, false, &mut |_| ControlFlow::Continue(())).unwrap();
    RepairOptions {
        model,
        shards: vec![shards],
        validation: vec![validation],
        other: vec![other],
        prefix: PREFIX,
        suffix: SUFFIX,
        steps: 40,
        batch: 4,
        every: 10,
        beta: 0.1,
        temperature: 1.5,
        keep: 0.5,
        learning_rate: 2e-3,
        mask_learning_rate: 1e-3,
        sequence_length: 16,
        seed: 3,
    }
}

/// Repairs on so many threads; stops at a step of the first method, if one is given.
fn run(
    options: &RepairOptions,
    methods: &[RepairMethod],
    output: &Path,
    threads: usize,
    stop_at: Option<u64>,
) -> Result<RepairResults, ExperimentError> {
    let stop = AtomicBool::new(false);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        repair(options, methods, output, &stop, &mut |event| {
            if let Event::Train(TrainEvent::Step(step)) = event
                && Some(step.step) == stop_at
            {
                stop.store(true, Ordering::Relaxed);
            }
        })
    })
}

fn lines<T: DeserializeOwned>(model: &Path) -> Vec<T> {
    let text = fs::read_to_string(model.join("metrics.jsonl")).unwrap();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
}

#[test]
fn recitation_falls_and_neither_threads_nor_interruptions_change_a_byte() {
    let folder = tempfile::tempdir().unwrap();
    let options = reciting(folder.path());
    let (whole, cut) = (folder.path().join("whole"), folder.path().join("cut"));
    let results = run(&options, &RepairMethod::ALL, &whole, 1, None).unwrap();
    let names: Vec<&str> = results.arms.iter().map(|arm| arm.name.as_str()).collect();
    assert_eq!((names, results.left_out), (vec!["preference", "keep", "mask"], 1));
    let [preference, keep, mask] = &results.arms[..] else { panic!("{results:?}") };
    for arm in &results.arms {
        let first = &arm.points[0];
        assert_eq!((first.step, first.recited.positives, first.recited.n), (0, 6, 6));
        assert_eq!((first.rouge_l, first.match_length), (1.0, SUFFIX as f64));
        assert_eq!(first, &preference.points[0], "every method starts from the same model");
    }
    assert_eq!(preference.points.iter().map(|point| point.step).collect::<Vec<_>>(), [0, 10, 20, 30, 40]);
    let last = &preference.points[4];
    assert!(last.recited.positives <= 2 && last.rouge_l < 0.8, "{last:?}");
    // What the loss of other text is there for.
    assert!(keep.points[4].validation_loss < last.validation_loss);
    let (pairs, ties) = preference.pairs.unwrap();
    assert_eq!(pairs + ties, 40 * 4);
    assert!(pairs > 40, "{pairs}");
    assert_eq!(preference.supervised_tokens, pairs * 2 * SUFFIX as u64);
    let ratio = mask.supervised_tokens as f64 / preference.supervised_tokens as f64;
    assert!(mask.pairs.is_none() && (0.9..=1.1).contains(&ratio), "{ratio}");

    // The lines of each step are about the same pairs.
    let model = whole.join("preference");
    let written: Vec<PairEvent> = lines(&model);
    let steps: Vec<StepEvent> = lines(&model);
    assert_eq!(written.len() as u64, pairs);
    for step in &steps {
        let own = written.iter().filter(|pair| pair.step == step.step).count() as u64;
        assert_eq!(step.preference.as_ref().unwrap().pairs, own);
        assert_eq!(step.supervised, own * 2 * SUFFIX as u64);
    }
    assert!(written.iter().all(|pair| pair.rouge_l[0] < pair.rouge_l[1] && pair.document < 6));
    // Before the first update the model is its own reference.
    let first = steps.iter().find(|step| step.preference.as_ref().unwrap().pairs > 0).unwrap();
    assert!((first.loss - 2f64.ln()).abs() < 1e-5, "{first:?}");
    assert!(steps[39].preference.as_ref().unwrap().margin > 0.0);
    assert!(fs::read_to_string(whole.join("repair.html")).unwrap().contains("6 of 6 passages"));

    for (threads, stop_at) in [(3, Some(7)), (2, Some(13))] {
        let stopped = run(&options, &RepairMethod::ALL[..1], &cut, threads, stop_at).unwrap_err();
        assert!(stopped.stopped());
    }
    assert_eq!(run(&options, &RepairMethod::ALL[..1], &cut, 4, None).unwrap().arms, results.arms[..1]);
    assert_eq!(run(&options, &RepairMethod::ALL[1..], &cut, 2, None).unwrap(), results);
    for name in ["preference", "keep", "mask"] {
        assert_eq!(files(&whole.join(name)), files(&cut.join(name)), "{name}");
    }
    let other = RepairOptions { beta: 0.2, ..options };
    assert!(run(&other, &RepairMethod::ALL, &cut, 1, None).is_err());
}

#[test]
fn a_model_without_a_second_continuation_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let options = reciting(folder.path());
    // So cold that both continuations are the greedy one.
    let cold = RepairOptions { temperature: 1e-6, steps: 3, every: 2, ..options };
    let output = folder.path().join("cold");
    let results = run(&cold, &[RepairMethod::Preference], &output, 2, None).unwrap();
    assert_eq!(results.arms[0].pairs, Some((0, 12)));
    assert_eq!(results.arms[0].supervised_tokens, 0);
    let weights = |folder: &Path| fs::read(folder.join("model.safetensors")).unwrap();
    assert_eq!(weights(&cold.model), weights(&output.join("preference")));
    let points: Vec<ValidationEvent> = lines(&output.join("preference"));
    assert_eq!(points.iter().map(|point| point.step).collect::<Vec<_>>(), [0, 2, 3]);
}

#[test]
fn what_cannot_be_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let options = reciting(folder.path());
    let refused = |options: &RepairOptions, methods: &[RepairMethod], output: &str, words: &str| {
        let error = run(options, methods, &folder.path().join(output), 1, None).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    let preference = &[RepairMethod::Preference][..];
    refused(&options, &[RepairMethod::Mask], "mask", "preference, which is not finished");
    let alone = RepairOptions { other: Vec::new(), ..options.clone() };
    refused(&alone, &[RepairMethod::Keep], "keep", "other");
    refused(&RepairOptions { prefix: 100, ..options.clone() }, preference, "long", "sequence_length");
    let long = RepairOptions { prefix: 9, suffix: 8, ..options.clone() };
    refused(&long, preference, "none", "no document of 17 tokens");
    refused(&RepairOptions { beta: 0.0, ..options.clone() }, preference, "beta", "beta");
    refused(&RepairOptions { temperature: -1.0, ..options.clone() }, preference, "cold", "temperature");
    refused(&RepairOptions { validation: Vec::new(), ..options.clone() }, preference, "blind", "validation");
    // Preferences are against a checkpoint.
    let training = TrainOptions {
        shards: options.shards.clone(),
        validation: options.validation.clone(),
        vocab_size: Some(VOCABULARY as usize),
        recite: options.shards.clone(),
        recitation: RecitationOptions { prefix: PREFIX, suffix: SUFFIX },
        preference: Some(PreferenceOptions::default()),
        ..TrainOptions::default()
    };
    let error = train(&training, &folder.path().join("from"), false, &mut |_| ControlFlow::Continue(()));
    assert!(error.unwrap_err().to_string().contains("needs a checkpoint"));
}
