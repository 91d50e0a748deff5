//! Canaries from planting to the result, with a corpus of files and a model whose probabilities are known.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use goldfish_audit::AuditError;
use goldfish_audit::backend::Backend;
use goldfish_audit::canaries::{
    Asked, CANARIES_NAME, CanaryError, CanaryResult, MIXED_NAME, Opened, PLAN_NAME, PlantOptions, Planted,
    Settings, TWINS_NAME, WORDS_NAME, plant, score,
};
use goldfish_audit::fake::{FakeModel, Faults};
use goldfish_audit::selftest::{SelfTestOptions, self_test};
use goldfish_corpus::{Content, ReadOptions, resolve};
use goldfish_shard::ToolEntry;
use serde_json::Value;

const DOCUMENTS: usize = 40;

/// Three letters for a number below 17,576.
fn word(number: usize) -> String {
    [number / 676, number / 26 % 26, number % 26]
        .map(|letter| char::from(b'a' + letter as u8))
        .iter()
        .collect()
}

fn write_corpus(folder: &Path) {
    let text = |document: usize| {
        let words = (0..30).map(|i| word((document * 7919 + i * i * 31) % 900));
        words.collect::<Vec<String>>().join(" ")
    };
    let line =
        |document| format!("{{\"id\": \"d{document}\", \"text\": \"{}\", \"more\": 1}}\n", text(document));
    fs::write(folder.join("corpus.jsonl"), (0..DOCUMENTS).map(line).collect::<String>()).unwrap();
}

fn tool() -> ToolEntry {
    ToolEntry { name: "goldfish".into(), version: "1".into() }
}

fn options(folder: &Path, seed: &str) -> PlantOptions {
    let corpus = folder.join("corpus.jsonl").to_str().unwrap().to_owned();
    let mut read = ReadOptions::new(Content::Text { column: "text".into() });
    read.id_column = Some("id".into());
    PlantOptions {
        settings: Settings { seed: seed.into(), pairs: 8, repetitions: vec![1, 3], words: 20 },
        inputs: resolve(&[corpus], None).unwrap().inputs,
        read,
        words: None,
        mix: true,
        tool: tool(),
    }
}

fn planted(folder: &Path) -> Planted {
    write_corpus(folder);
    plant(&options(folder, "a seed"), &folder.join("out")).unwrap()
}

fn lines(path: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(path).unwrap();
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        (row["id"].as_str().unwrap().to_owned(), row["text"].as_str().unwrap().to_owned())
    };
    text.lines().map(row).collect()
}

#[test]
fn the_files_hold_what_the_plan_says() {
    let folder = tempfile::tempdir().unwrap();
    let Planted { plan, digest, documents, .. } = planted(folder.path());
    let out = folder.path().join("out");
    let canaries = lines(&out.join(CANARIES_NAME));
    assert_eq!((documents, canaries.len(), plan.pairs.len()), (8 + 24, 8 + 24, 16));
    for pair in &plan.pairs {
        let copies = canaries.iter().filter(|(_, text)| text == pair.planted()).count();
        assert_eq!(copies, pair.repetitions as usize);
        assert!(canaries.iter().all(|(_, text)| text != pair.held_out()));
        assert_eq!(pair.planted().split(' ').count(), 20);
    }
    let twins = lines(&out.join(TWINS_NAME));
    assert!(twins.iter().map(|(_, text)| text).eq(plan.pairs.iter().map(|pair| pair.held_out())));
    let planted_first = plan.pairs.iter().filter(|pair| pair.planted() == pair.twins[0]).count();
    assert!((2..=14).contains(&planted_first), "{planted_first} of 16 coins");
    // The mixed corpus is the corpus, in its order, with the canaries in theirs.
    let mixed = lines(&out.join(MIXED_NAME));
    let (inserted, rest): (Vec<_>, Vec<_>) = mixed.iter().partition(|(id, _)| id.starts_with("canary-"));
    assert!(inserted.into_iter().eq(&canaries));
    let corpus = lines(&folder.path().join("corpus.jsonl"));
    assert!(rest.into_iter().eq(&corpus));
    let last = mixed.iter().rposition(|(id, _)| id.starts_with("canary-")).unwrap();
    let first = mixed.iter().position(|(id, _)| id.starts_with("canary-")).unwrap();
    assert!(first < 15 && last > 57, "{first} to {last}");

    let opened = Opened::open(&out).unwrap();
    assert_eq!((&opened.plan, &opened.digest), (&plan, &digest));
    assert!(!out.join(".lock").exists());

    let again = folder.path().join("again");
    plant(&options(folder.path(), "a seed"), &again).unwrap();
    for name in [WORDS_NAME, CANARIES_NAME, TWINS_NAME, MIXED_NAME, PLAN_NAME] {
        assert_eq!(fs::read(out.join(name)).unwrap(), fs::read(again.join(name)).unwrap(), "{name}");
    }
    let other = plant(&options(folder.path(), "another"), &folder.path().join("other")).unwrap();
    assert!(other.plan.pairs.iter().zip(&plan.pairs).all(|(a, b)| a.twins != b.twins));
}

#[test]
fn plans_that_differ_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    planted(folder.path());
    let out = folder.path().join("out");
    let path = out.join(PLAN_NAME);
    let good = fs::read_to_string(&path).unwrap();
    let plan: Value = serde_json::from_str(&good).unwrap();
    type Edit = fn(&mut Value);
    let edits: [Edit; 8] = [
        |plan| plan["settings"]["seed"] = "other".into(),
        |plan| plan["settings"]["repetitions"] = serde_json::json!([1, 4]),
        |plan| plan["plan_version"] = 2.into(),
        |plan| {
            let coin = &mut plan["pairs"][3]["planted"];
            *coin = if *coin == "first" { "second" } else { "first" }.into();
        },
        |plan| plan["pairs"][0]["twins"][0] = plan["pairs"][1]["twins"][0].clone(),
        |plan| plan["pairs"].as_array_mut().unwrap().truncate(12),
        |plan| plan["files"][1]["sha256"] = "00".into(),
        |plan| plan["more"] = 1.into(),
    ];
    for (number, edit) in edits.iter().enumerate() {
        let mut edited = plan.clone();
        edit(&mut edited);
        fs::write(&path, serde_json::to_string(&edited).unwrap()).unwrap();
        let error = Opened::open(&out).unwrap_err();
        assert!(matches!(error, CanaryError::Edited { .. }), "edit {number}: {error}");
    }
    fs::write(&path, &good).unwrap();
    for name in [WORDS_NAME, CANARIES_NAME, TWINS_NAME] {
        let path = out.join(name);
        let good = fs::read(&path).unwrap();
        fs::write(&path, [b"abc\n", &good[..]].concat()).unwrap();
        let error = Opened::open(&out).unwrap_err();
        assert!(matches!(error, CanaryError::Edited { .. }), "{name}: {error}");
        fs::write(&path, good).unwrap();
    }
    // Canaries that were moved into the corpus need not be here.
    fs::remove_file(out.join(CANARIES_NAME)).unwrap();
    Opened::open(&out).unwrap();
}

#[test]
fn nothing_is_overwritten_but_what_an_interrupted_run_left() {
    let folder = tempfile::tempdir().unwrap();
    planted(folder.path());
    let out = folder.path().join("out");
    let again = |folder: &Path, out: &Path| plant(&options(folder, "b"), out).map(|planted| planted.digest);
    assert!(matches!(again(folder.path(), &out), Err(CanaryError::Taken { .. })));

    let unfinished = folder.path().join("unfinished");
    fs::create_dir(&unfinished).unwrap();
    fs::write(unfinished.join(CANARIES_NAME), "of someone else").unwrap();
    assert!(matches!(again(folder.path(), &unfinished), Err(CanaryError::Taken { .. })));
    fs::write(unfinished.join(".lock"), "").unwrap();
    fs::write(unfinished.join(".twins.jsonl.partial"), "half").unwrap();
    fs::write(unfinished.join("notes"), "of someone else").unwrap();
    assert!(matches!(again(folder.path(), &unfinished), Err(CanaryError::Taken { .. })));
    fs::remove_file(unfinished.join("notes")).unwrap();
    again(folder.path(), &unfinished).unwrap();
    assert_eq!(fs::read_dir(&unfinished).unwrap().count(), 5);
}

#[test]
fn what_can_not_be_planted() {
    let folder = tempfile::tempdir().unwrap();
    let passage = planted(folder.path()).plan.pairs[2].held_out().to_owned();
    let fails = |change: &dyn Fn(&mut PlantOptions)| {
        let mut options = options(folder.path(), "a seed");
        change(&mut options);
        let new = folder.path().join("new");
        let error = plant(&options, &new).unwrap_err();
        assert!(!new.exists(), "{error}");
        error
    };
    for (pairs, repetitions, words) in [
        (0, vec![1], 20),
        (1, vec![], 20),
        (1, vec![0], 20),
        (1, vec![1], 15),
        (501, vec![1, 2], 20),
        (900, vec![2000], 20),
    ] {
        let settings = Settings { seed: "s".into(), pairs, repetitions, words };
        let error = fails(&|options| options.settings.clone_from(&settings));
        assert!(matches!(error, CanaryError::OutOfRange { .. }), "{settings:?}: {error}");
    }
    assert!(matches!(fails(&|options| options.settings.repetitions = vec![2, 1, 2]), CanaryError::Twice(2)));
    assert!(matches!(
        fails(&|options| options.words = Some("too few words".into())),
        CanaryError::FewWords { .. }
    ));
    // A held-out passage that is in the corpus, with other capitals and line breaks.
    let text =
        format!("{{\"id\": \"x\", \"text\": \"So: {}!\"}}\n", passage.to_uppercase().replace(' ', "\\n"));
    let corpus = folder.path().join("corpus.jsonl");
    let before = fs::read_to_string(&corpus).unwrap();
    fs::write(&corpus, before + &text).unwrap();
    let words = fs::read_to_string(folder.path().join("out").join(WORDS_NAME)).unwrap();
    let error = fails(&|options| options.words = Some(words.clone()));
    assert!(
        matches!(error, CanaryError::Occurs { .. }) && error.to_string().contains("document x"),
        "{error}"
    );
}

/// Token ids of a passage: its letters.
fn encoded(opened: &Opened) -> Vec<[Vec<u32>; 2]> {
    let ids = |text: &String| text.bytes().map(u32::from).collect::<Vec<u32>>();
    opened.plan.pairs.iter().map(|pair| [ids(&pair.twins[0]), ids(&pair.twins[1])]).collect()
}

fn tested(opened: &Opened, model: &FakeModel) -> CanaryResult {
    let passages = encoded(opened);
    let mut done = 0;
    let losses =
        score(model, &passages, None, 6, &AtomicBool::new(false), &mut |pairs| done = pairs).unwrap();
    assert_eq!(done, 16);
    let options = SelfTestOptions { bos: None, eos: None, scheme: None, continuations: false };
    let self_test = self_test(model, &[&passages[0][0], &passages[1][1]], &options).unwrap();
    let model = model.describe().unwrap();
    CanaryResult::new(
        opened,
        Asked { tool: tool(), model, tokenizer: "ab".into(), bos: None, self_test },
        &losses,
    )
}

#[test]
fn a_model_that_learned_the_canaries_is_found() {
    let folder = tempfile::tempdir().unwrap();
    planted(folder.path());
    let opened = Opened::open(&folder.path().join("out")).unwrap();
    // It knows what was repeated three times.
    let learned = opened.plan.pairs.iter().filter(|pair| pair.repetitions == 3);
    let learned: Vec<Vec<u32>> =
        learned.map(|pair| pair.planted().bytes().map(u32::from).collect()).collect();
    let result = tested(&opened, &FakeModel::reciting(128, &learned, 12, 8.0));
    let [once, thrice] = [&result.repetitions[0], &result.repetitions[1]];
    assert_eq!((thrice.test.lower, thrice.test.share), (8, 1.0));
    assert!((thrice.test.sign_test - 1.0 / 256.0).abs() < 1e-12);
    assert_eq!((thrice.test.p_value, thrice.adjusted_p_value), (1.0 / 256.0, 2.0 / 256.0));
    assert_eq!(thrice.test.exposure.mean, Some(17f64.log2()));
    assert!(once.test.p_value > 0.05 && once.test.exposure.mean < Some(3.0), "{once:?}");
    assert!(result.all.p_value < 0.01 && result.all.pairs == 16);
    assert_eq!((result.highest_exposure, result.pairs.len()), (17f64.log2(), 16));
    assert_eq!(result.plan, opened.digest);
    // Its guesses at other passages are worse than none.
    assert!(result.notes.len() == 1 && result.notes[0].contains("guessing at random"), "{:?}", result.notes);

    // One that learned the twins instead.
    let learned: Vec<Vec<u32>> =
        opened.plan.pairs.iter().map(|pair| pair.held_out().bytes().map(u32::from).collect()).collect();
    let result = tested(&opened, &FakeModel::reciting(128, &learned, 12, 8.0));
    assert_eq!((result.all.lower, result.all.sign_test), (0, 1.0));
    assert!(result.all.p_value > 0.999);
}

#[test]
fn answers_that_are_not_as_asked_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    planted(folder.path());
    let passages = encoded(&Opened::open(&folder.path().join("out")).unwrap());
    let go = AtomicBool::new(false);
    let error = |faults: Faults, passages: &[[Vec<u32>; 2]], stop: &AtomicBool| {
        let model = FakeModel::reciting(128, &[], 12, 8.0).with_faults(faults);
        score(&model, passages, None, 6, stop, &mut |_| {}).unwrap_err()
    };
    for faults in [
        Faults { loses_last: true, ..Faults::default() },
        Faults { adds: Some(1), ..Faults::default() },
        Faults { drifts: f64::NAN, ..Faults::default() },
    ] {
        let error = error(faults.clone(), &passages, &go);
        assert!(matches!(error, CanaryError::Audit(AuditError::BadAnswer { .. })), "{faults:?}: {error}");
    }
    let short = [[vec![1], vec![2, 3]]];
    assert!(matches!(error(Faults::default(), &short, &go), CanaryError::OutOfRange { .. }));
    let stopped = AtomicBool::new(true);
    let error = error(Faults::default(), &passages, &stopped);
    assert!(matches!(error, CanaryError::Audit(AuditError::Interrupted)));
}
