//! Masks beside memmaps, with every operation on the disk failing once: as an error, and as if the process had ended
//! there.
//!
//! Run with `cargo test -p goldfish-pipeline --features failpoints`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

#[allow(dead_code, reason = "other tests use the rest")]
mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use goldfish_pipeline::{PipelineError, SidecarJob, SidecarOutcome, mask_sidecars};
use goldfish_shard::failpoints::{Then, arm, disarm, operations};
use goldfish_shard::{OutputMode, Placement, verify_file_set};

const MANIFEST: &str = "goldfish.json";

fn run(data: &Path, k: u32, mode: OutputMode) -> Result<SidecarOutcome, PipelineError> {
    run_until(data, k, mode, false)
}

fn run_until(data: &Path, k: u32, mode: OutputMode, stop: bool) -> Result<SidecarOutcome, PipelineError> {
    let mask = common::job(common::inputs(data), data, mode, k);
    let job = SidecarJob { mask, placement: Placement::Beside };
    mask_sidecars(&job, &AtomicBool::new(stop), &|_| ())
}

/// Every file below a folder but for what is staged.
fn visible(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_file() {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(&path).unwrap());
            } else if !path.ends_with(".goldfish-partial") {
                folders.push(path);
            }
        }
    }
    files
}

fn make_data(folder: &Path) {
    for name in ["a", "deep/b"] {
        let path = folder.join(name).with_extension("ds");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let (mut tokens, mut ends, mut at) = (Vec::new(), Vec::new(), 0u64);
        for i in 0..200u64 {
            let length = i % 70;
            tokens.extend((0..length).flat_map(|t| (((t * t + i) % 999) as u16).to_le_bytes()));
            at += length;
            ends.extend(at.to_le_bytes());
        }
        fs::write(&path, tokens).unwrap();
        fs::write(path.with_extension("ds.index"), ends).unwrap();
    }
}

fn copy(files: &BTreeMap<String, Vec<u8>>, to: &Path) {
    for (name, bytes) in files {
        fs::create_dir_all(to.join(name).parent().unwrap()).unwrap();
        fs::write(to.join(name), bytes).unwrap();
    }
}

fn fail_everywhere(then: Then, over_old: bool) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    make_data(&at("data"));
    let data = visible(&at("data"));
    // The earlier masks are those of one memmap, so that the new run brings names that were not there.
    fs::create_dir_all(at("old")).unwrap();
    for (name, bytes) in data.iter().filter(|(name, _)| name.starts_with("a.")) {
        fs::write(at("old").join(name), bytes).unwrap();
    }
    run(&at("old"), 3, OutputMode::New).unwrap();
    copy(&data, &at("old"));
    let before = if over_old { visible(&at("old")) } else { data.clone() };
    run(&at("data"), 4, OutputMode::New).unwrap();
    let expected = visible(&at("data"));
    assert_eq!(expected.len(), data.len() + 3);
    let mut went_on = 0;
    for number in 0.. {
        let place = at(&format!("run-{number}"));
        copy(&before, &place);
        arm(number, then);
        let outcome = run(&place, 4, if over_old { OutputMode::Overwrite } else { OutputMode::New });
        let Some(failed) = disarm() else {
            outcome.unwrap();
            assert_eq!(visible(&place), expected);
            names_last_before_the_manifest(&operations());
            assert!(went_on > 3, "only {went_on} of {number} runs could be taken up");
            return number;
        };
        let now = visible(&place);
        assert!(
            data.iter().all(|(name, bytes)| now.get(name) == Some(bytes)),
            "{failed} {number}: data touched"
        );
        if outcome.is_err() {
            let complete = now == expected || now == before;
            assert!(complete || !now.contains_key(MANIFEST), "{failed} {number}: a mixture is visible");
            if then == Then::Recovers && failed != "remove" {
                assert_eq!(now, before, "{failed} {number}");
                let kept = matches!(outcome, Err(PipelineError::UnfinishedMasks { .. }));
                assert_eq!(place.join(".goldfish-partial").exists(), kept, "{failed} {number}");
            }
        }
        went_on += u64::from(goes_on(&place, &expected, &before));
        // A next run that fails leaves no file that no manifest names.
        assert!(matches!(run_until(&place, 4, OutputMode::Overwrite, true), Err(PipelineError::Interrupted)));
        let now = visible(&place);
        assert!(now == expected || now == before, "{failed} {number}: strays {:?}", now.keys());
        assert!(!place.join(".goldfish-partial").exists(), "{failed} {number}: rubbish");
        run(&place, 4, OutputMode::Overwrite).unwrap();
        assert_eq!(visible(&place), expected, "{failed} {number}");
        assert!(!place.join(".goldfish-partial").exists());
        assert_eq!(verify_file_set(&place).unwrap().1, []);
        fs::remove_dir_all(&place).unwrap();
    }
    unreachable!("a run has an end")
}

/// Resumes a copy of a run; returns whether there was something to resume after.
fn goes_on(place: &Path, expected: &BTreeMap<String, Vec<u8>>, before: &BTreeMap<String, Vec<u8>>) -> bool {
    let again = place.with_extension("again");
    copy_folder(place, &again);
    let started = again.join(".goldfish-partial/journal").exists();
    match run(&again, 4, OutputMode::Resume) {
        Ok(_) => assert_eq!(visible(&again), *expected),
        Err(PipelineError::OtherJob { .. }) if !started => assert_eq!(visible(&again), *before),
        Err(error) => panic!("{error}"),
    }
    assert!(!again.join(".goldfish-partial").exists());
    fs::remove_dir_all(&again).unwrap();
    started
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

/// A power cut may keep any operation that was not flushed from the disk: the manifest gets its name when those of its files,
/// in two folders, last.
fn names_last_before_the_manifest(operations: &[String]) {
    let manifest = operations.iter().rposition(|operation| operation == "rename").unwrap();
    let flushed =
        operations[..manifest].iter().rev().take_while(|operation| *operation == "sync-folder").count();
    assert!(flushed >= 2, "{operations:?}");
    assert_eq!(operations[manifest + 1], "sync-folder", "{operations:?}");
}

// One test, because the failing operation is chosen for the whole process.
#[test]
fn no_failing_operation_touches_data_or_mixes_masks() {
    for then in [Then::Recovers, Then::Ends] {
        for over_old in [false, true] {
            let operations = fail_everywhere(then, over_old);
            assert!(operations > 10, "only {operations} operations");
            println!("{then:?}, over old masks: {over_old}: {operations} operations");
        }
    }
}
