//! The copy tasks: from shards to figures.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use goldfish_audit::backend::{
    Backend, BackendError, Capabilities, Decoding, GenerateRequest, Generated, ModelDescription,
    ScoreRequest, Scored, TextTokenizer, Wants,
};
use goldfish_backends::local::Checkpoint;
use goldfish_lab::{
    CopyOptions, CopyResults, CopyTask, Event, ExperimentError, PromptedOptions, TrainEvent, copy,
    copy_prompted,
};
use goldfish_mask::RuleSpec;
use goldfish_mask::rules::Static;
use goldfish_pipeline::{MadeWith, recompute};
use goldfish_shard::Manifest;
use goldfish_tokenize::Tokenizer;

/// One or two letters, which a small model learns to copy in seconds.
fn options() -> CopyOptions {
    CopyOptions {
        tokens: 20_000,
        samples: 20,
        lengths: vec![1, 2, 4],
        shortest: 1,
        context: 9,
        width: 32,
        heads: 4,
        learning_rate: 1e-2,
        batch: 4,
        ..CopyOptions::new(CopyTask::Copy, 2)
    }
}

/// Trains in a folder; stops at a step of the first model, if one is given.
fn run(folder: &Path, architectures: &[&str], stop_at: Option<u64>) -> Result<CopyResults, ExperimentError> {
    let stop = AtomicBool::new(false);
    let names: Vec<String> = architectures.iter().map(|name| (*name).to_owned()).collect();
    copy(&options(), &names, folder, &stop, &mut |event| {
        if let Event::Train(TrainEvent::Step(step)) = event
            && Some(step.step) == stop_at
        {
            stop.store(true, Ordering::Relaxed);
        }
    })
}

#[test]
fn a_task_is_trained_stopped_resumed_and_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, cut) = (folder.path().join("whole"), folder.path().join("cut"));
    let results = run(&whole, &["llama", "nope"], None).unwrap();
    assert_eq!(results.arms.len(), 2);
    let lengths: Vec<usize> = results.arms[0].lengths.iter().map(|found| found.length).collect();
    assert_eq!(lengths, [1, 2, 4]);
    for arm in &results.arms {
        assert!(arm.loss < 26_f64.ln(), "{arm:?}");
        assert_eq!((arm.lengths[2].strings.n, arm.lengths[2].characters.n), (20, 80));
    }

    // The lengths of training are answered.
    assert!(results.arms[0].lengths[1].strings.rate >= 0.9, "{results:?}");

    assert!(run(&cut, &["llama"], Some(7)).unwrap_err().stopped());
    assert_eq!(run(&cut, &["llama"], None).unwrap().arms, results.arms[..1]);
    // Another call adds a model.
    assert_eq!(run(&cut, &["nope"], None).unwrap(), results);
    for file in ["results.json", "shards/manifest.json", "arms/llama/model/model.safetensors"] {
        assert_eq!(fs::read(whole.join(file)).unwrap(), fs::read(cut.join(file)).unwrap(), "{file}");
    }

    let (manifest, problems) = recompute(&whole.join("shards"), MadeWith::default(), &mut |_| ()).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(manifest.existing_mask.as_deref(), Some("the answers of copy"));
    assert_eq!(manifest.totals.tokens - manifest.totals.dropped, results.arms[0].supervised_tokens);

    // As text without examples a model gets the same questions, and writes the answers that are right with the right letters before.
    let model = whole.join("arms/llama/model");
    let tokenizer = Arc::new(Tokenizer::from_file(&model.join("tokenizer.json")).unwrap());
    let asked = copy_prompted(
        &PromptedOptions {
            shape: options().shape,
            lengths: options().lengths,
            examples: 0,
            samples: 20,
            bos: tokenizer.bos_id(),
            seed: 0,
        },
        &Checkpoint::open(&model, None).unwrap(),
        Some(&tokenizer),
        &folder.path().join("asked"),
        &AtomicBool::new(false),
        &mut |_| (),
    )
    .unwrap();
    let strings = |lengths: &[goldfish_report::CopyLength]| -> Vec<u64> {
        lengths.iter().map(|found| found.strings.positives).collect()
    };
    assert_eq!(strings(&asked.lengths), strings(&results.arms[0].lengths));
}

/// A model that copies what it is asked for, with the last letter of every third answer wrong; its tokens are characters.
struct Copier {
    asked: Mutex<Vec<String>>,
}

impl TextTokenizer for Copier {
    fn decode(&self, ids: &[u32]) -> Result<String, BackendError> {
        Ok(ids.iter().filter_map(|id| char::from_u32(*id)).collect())
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>, BackendError> {
        Ok(text.chars().map(u32::from).collect())
    }
}

impl Backend for Copier {
    fn describe(&self) -> Result<ModelDescription, BackendError> {
        Ok(ModelDescription {
            name: "copier".into(),
            fingerprint: "none".into(),
            backend: "fake".into(),
            vocab_size: None,
            context_length: None,
            memory: None,
            template: None,
        })
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { score: false, moments: false, schemes: false, generate: true, candidates: false }
    }

    fn score(&self, _: &[ScoreRequest<'_>], _: &Wants) -> Result<Vec<Scored>, BackendError> {
        panic!("nothing is scored")
    }

    fn generate(
        &self,
        requests: &[GenerateRequest<'_>],
        _: &Decoding,
    ) -> Result<Vec<Generated>, BackendError> {
        let mut asked = self.asked.lock().unwrap();
        let answer = |request: &GenerateRequest<'_>| {
            let prompt = self.decode(request.prompt).unwrap();
            let question = prompt.lines().last().unwrap();
            let mut answer = question.trim_end_matches('|').to_owned();
            asked.push(prompt.clone());
            if asked.len().is_multiple_of(3) {
                answer.pop();
            }
            let ids = self.encode(&format!("{answer}\nand more")).unwrap();
            Generated { ids: ids[..request.tokens].to_vec(), ..Generated::default() }
        };
        Ok(requests.iter().map(answer).collect())
    }

    fn tokenizer(&self) -> Option<&dyn TextTokenizer> {
        Some(self)
    }
}

#[test]
fn prompts_have_examples_and_resume_after_a_finished_length() {
    let folder = tempfile::tempdir().unwrap();
    let model = Copier { asked: Mutex::default() };
    let options = PromptedOptions { lengths: vec![5, 8], samples: 6, ..PromptedOptions::default() };
    let ask = |stop: bool| {
        let stop = AtomicBool::new(stop);
        copy_prompted(&options, &model, None, folder.path(), &stop, &mut |_| ())
    };
    assert!(ask(true).unwrap_err().stopped());
    let results = ask(false).unwrap();
    for (found, length) in results.lengths.iter().zip([5, 8]) {
        assert_eq!((found.length, found.strings.positives, found.strings.n), (length, 4, 6));
        assert_eq!(found.characters.positives, 6 * length as u64 - 2);
    }
    let asked = model.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 12);
    let mut questions = BTreeSet::new();
    for (number, prompt) in asked.iter().enumerate() {
        let length = if number < 6 { 5 } else { 8 };
        let lines: Vec<&str> = prompt.lines().collect();
        let [examples @ .., question] = lines.as_slice() else { panic!("{prompt}") };
        assert_eq!((examples.len(), question.len()), (3, length + 1));
        for example in examples {
            let (text, answer) = example.split_once('|').unwrap();
            assert!(text == answer && text.len() == length && !question.starts_with(text));
        }
        questions.insert((*question).to_owned());
    }
    assert_eq!(questions.len(), 12);
    assert_eq!(ask(false).unwrap(), results);
    assert_eq!(model.asked.lock().unwrap().len(), 12, "nothing is asked again");
    let other = PromptedOptions { examples: 1, ..options.clone() };
    let refused = copy_prompted(&other, &model, None, folder.path(), &AtomicBool::new(false), &mut |_| ());
    assert!(refused.unwrap_err().to_string().contains("other options"));
}

#[test]
fn options_that_cannot_be_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("output");
    let refused = |options: CopyOptions, word: &str| {
        let found = copy(&options, &["llama".into()], &output, &AtomicBool::new(false), &mut |_| ());
        let error = found.unwrap_err().to_string();
        assert!(error.starts_with(word), "{error}");
    };
    refused(CopyOptions { shortest: 9, ..options() }, "shortest");
    refused(CopyOptions { context: 6, ..options() }, "context");
    refused(CopyOptions { samples: 0, ..options() }, "samples");
    refused(CopyOptions { lengths: vec![3], ..CopyOptions::new(CopyTask::SuffixKey, 20) }, "length");
    assert!(!output.exists());
}

#[test]
fn existing_masks_may_exclude_more_than_the_rule_and_not_less() {
    let folder = tempfile::tempdir().unwrap();
    let shards = folder.path().join("shards");
    // Masks that drop every fourth token from the third on.
    common::write(&shards, &common::documents(&[40, 9, 17], 50));
    let described = |start: u64, k: u32, existing: Option<&str>| {
        let mut manifest = Manifest::read(&shards).unwrap();
        manifest.rule = RuleSpec::new(Static::new(k).start(start));
        manifest.existing_mask = existing.map(str::to_owned);
        fs::write(shards.join("manifest.json"), manifest.seal().1).unwrap();
        let problems = recompute(&shards, MadeWith::default(), &mut |_| ()).unwrap().1;
        problems.iter().filter(|problem| problem.description.contains("loss_mask")).count()
    };
    assert_eq!(described(2, 4, None), 0);
    assert!(described(2, 8, None) > 0);
    assert_eq!(described(2, 8, Some("answers")), 0);
    assert!(described(1, 8, Some("answers")) > 0);
}
