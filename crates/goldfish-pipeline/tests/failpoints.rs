//! Every operation on the disk fails once: as an error, and as if the process had ended there.
//!
//! Run with `cargo test -p goldfish-pipeline --features failpoints`; with the feature `object-stores` as well, the same
//! happens in a store.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use common::visible;
use goldfish_pipeline::{MaskJob, OnError, Outcome, Partition, PipelineError, mask_corpus};
use goldfish_shard::failpoints::{Then, arm, disarm, operations};
use goldfish_shard::{OutputMode, ShardError, merge, part_folder, verify};
use goldfish_storage::{exists, is_remote};

fn job(corpus: &Path, output: &Path, mode: OutputMode, k: u32) -> MaskJob {
    MaskJob { on_error: OnError::Skip, ..common::job(common::inputs(corpus), output, mode, k) }
}

fn run(job: &MaskJob) -> Result<Outcome, PipelineError> {
    mask_corpus(job, &AtomicBool::new(false), &|_| ())
}

/// Where outputs go: a folder on a disk, or a store in this process.
fn outputs(folder: &Path, in_store: bool) -> PathBuf {
    if in_store { PathBuf::from(format!("memory://outputs{}", folder.display())) } else { folder.to_owned() }
}

fn make_folder(path: &Path) {
    if !is_remote(path) {
        fs::create_dir_all(path).unwrap();
    }
}

fn remove_folder(path: &Path) {
    if is_remote(path) {
        goldfish_storage::remove_objects(path).unwrap();
    } else {
        fs::remove_dir_all(path).unwrap();
    }
}

fn make_corpus(folder: &Path) -> PathBuf {
    let corpus = folder.join("corpus");
    fs::create_dir(&corpus).unwrap();
    for file in ["a", "b"] {
        let mut text = String::new();
        for i in 0..260 {
            let ids: Vec<String> = (0..i % 90).map(|t| ((t * t + i) % 999).to_string()).collect();
            text += &format!(
                "{{\"input_ids\": [{}]}}\n",
                if i % 100 == 50 { "-1".into() } else { ids.join(",") }
            );
        }
        fs::write(corpus.join(file).with_extension("jsonl"), text).unwrap();
    }
    corpus
}

/// Runs with operation 0, 1, 2 ... failing until none fails any more, and resumes each run.
fn fail_everywhere(then: Then, over_old: bool, in_store: bool) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let corpus = make_corpus(folder.path());
    let whole = folder.path().join("whole");
    run(&job(&corpus, &whole, OutputMode::New, 4)).unwrap();
    let expected = visible(&whole);
    assert!(expected.len() > 6, "{} files", expected.len());
    let old = folder.path().join("old");
    run(&job(&corpus, &old, OutputMode::New, 3)).unwrap();
    let old = visible(&old);
    for number in 0.. {
        let output = outputs(folder.path(), in_store).join(format!("out-{number}"));
        if over_old {
            make_folder(&output);
            old.iter().for_each(|(name, bytes)| goldfish_storage::write(&output.join(name), bytes).unwrap());
        }
        let mode = if over_old { OutputMode::Overwrite } else { OutputMode::New };
        arm(number, then);
        let outcome = run(&job(&corpus, &output, mode, 4));
        let Some(failed) = disarm() else {
            outcome.unwrap();
            assert_eq!(visible(&output), expected);
            if !in_store {
                // No power cut leaves a manifest without its files.
                let operations = operations();
                let manifest = operations.iter().rposition(|operation| operation == "rename").unwrap();
                let around = [&operations[manifest - 1], &operations[manifest + 1]];
                assert_eq!(around, ["sync-folder"; 2], "{operations:?}");
            }
            return number;
        };
        let now = visible(&output);
        if outcome.is_err() {
            // A folder with a manifest is a complete one, old or new; without an end of the process, the old one.
            let complete = now == expected || (over_old && now == old);
            assert!(
                complete || !now.contains_key("manifest.json"),
                "{failed} {number}: a mixture is visible"
            );
            if then == Then::Recovers && failed != "remove" {
                assert!(now == if over_old { old.clone() } else { BTreeMap::new() }, "{failed} {number}");
                let partial = output.join(".partial");
                let journal = partial.join(if in_store { "journal-00000" } else { "journal" });
                assert!(!exists(&partial) || exists(&journal), "{failed} {number}: rubbish");
                assert!(
                    over_old || exists(&partial) || !exists(&output),
                    "{failed} {number}: an empty folder"
                );
            }
        }
        let resumed = run(&job(&corpus, &output, OutputMode::Resume, 4));
        match resumed {
            // Nothing of the new run was kept, so that the old one stands.
            Err(PipelineError::OtherJob { .. }) => {
                assert!(over_old && visible(&output) == old, "{failed} {number}");
                run(&job(&corpus, &output, OutputMode::Overwrite, 4)).unwrap();
            }
            resumed => {
                resumed.unwrap();
            }
        }
        assert_eq!(visible(&output), expected, "{failed} {number}");
        assert!(!exists(&output.join(".partial")));
        let (manifest, faults) = verify(&output, &mut |_, _| None).unwrap();
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(manifest.totals.documents_in, manifest.totals.documents_out + 6);
        remove_folder(&output);
    }
    unreachable!("a run has an end")
}

// One test, because the failing operation is chosen for the whole process.
#[test]
fn no_failing_operation_loses_or_mixes_anything() {
    for in_store in [false, true] {
        if in_store && !cfg!(feature = "object-stores") {
            break;
        }
        for then in [Then::Recovers, Then::Ends] {
            for over_old in [false, true] {
                let operations = fail_everywhere(then, over_old, in_store);
                assert!(operations > 30, "only {operations} operations");
                println!(
                    "{then:?}, over an old run: {over_old}, in a store: {in_store}: {operations} operations"
                );
            }
        }
        merge_fails_everywhere(in_store, false);
        merge_fails_everywhere(in_store, true);
    }
    an_interrupted_merge_removes_no_other_parts();
}

/// A merge that removes its parts is interrupted while it does so, and then other parts have their names.
fn an_interrupted_merge_removes_no_other_parts() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = make_corpus(folder.path());
    let make = |k: u32, name: &str| -> Vec<PathBuf> {
        let parts = (0..2).map(|rank| {
            let part = folder.path().join(name).join(part_folder(rank, 2));
            run(&MaskJob {
                partition: Some(Partition { rank, world: 2 }),
                ..job(&corpus, &part, OutputMode::New, k)
            })
            .unwrap();
            part
        });
        parts.collect()
    };
    let others = make(3, "others");
    let expected: Vec<_> = others.iter().map(|part| visible(part)).collect();
    let mut tried = 0;
    for number in 0.. {
        let (name, output) = (format!("parts-{number}"), folder.path().join(format!("out-{number}")));
        let parts = make(4, &name);
        arm(number, Then::Ends);
        let merged = merge(&parts, &output, false, true);
        let failed = disarm();
        if failed.is_none() {
            merged.unwrap();
            assert!(tried > 3, "{tried}");
            return;
        }
        if visible(&parts[0]).contains_key("manifest.json") {
            continue;
        }
        tried += 1;
        // The parts that are left are removed.
        let joined = visible(&output);
        assert!(joined.contains_key("manifest.json"));
        fs::remove_dir_all(folder.path().join(&name)).unwrap();
        for (other, part) in others.iter().zip(&parts) {
            fs::create_dir_all(part).unwrap();
            visible(other).iter().for_each(|(name, bytes)| fs::write(part.join(name), bytes).unwrap());
        }
        for remove in [false, true] {
            assert!(matches!(merge(&parts, &output, false, remove), Err(ShardError::Occupied { .. })));
            assert!(parts.iter().map(|part| visible(part)).eq(expected.iter().cloned()));
            assert_eq!(visible(&output), joined);
        }
    }
}

fn merge_fails_everywhere(in_store: bool, overwrite: bool) {
    let folder = tempfile::tempdir().unwrap();
    let corpus = make_corpus(folder.path());
    let parts: Vec<PathBuf> =
        (0..3).map(|rank| outputs(folder.path(), in_store).join(part_folder(rank, 3))).collect();
    for (rank, part) in (0..3).zip(&parts) {
        let partition = Some(Partition { rank, world: 3 });
        run(&MaskJob { partition, ..job(&corpus, part, OutputMode::New, 4) }).unwrap();
    }
    let before: Vec<_> = parts.iter().map(|part| visible(part)).collect();
    for number in 0.. {
        let output = outputs(folder.path(), in_store).join("merged");
        for then in [Then::Recovers, Then::Ends] {
            if overwrite {
                merge(&parts, &output, false, false).unwrap();
            }
            arm(number, then);
            let merged = merge(&parts, &output, overwrite, false);
            let failed = disarm();
            let now = visible(&output);
            if merged.is_err() && now.contains_key("manifest.json") {
                assert!(verify(&output, &mut |_, _| None).unwrap().1.is_empty(), "{failed:?} {number}");
            }
            assert!(parts.iter().map(|part| visible(part)).eq(before.iter().cloned()), "{failed:?} {number}");
            match merge(&parts, &output, false, false) {
                Err(ShardError::Occupied { .. }) => assert!(visible(&output).contains_key("manifest.json")),
                // Nothing was there, or the same merge was interrupted while files got their names, and is complete now.
                merged => drop(merged.unwrap()),
            }
            assert!(verify(&output, &mut |_, _| None).unwrap().1.is_empty(), "{failed:?} {number}");
            remove_folder(&output);
            if failed.is_none() {
                assert!(number > 10, "only {number} operations");
                return;
            }
        }
    }
}
