//! The table of protected passages beside shards: made as the run ends, whatever interrupted it, and joined with the parts.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[allow(dead_code, reason = "other tests need more of it")]
mod runs;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use goldfish_shard::{
    Manifest, OutputFormat, OutputMode, PROTECTED_NAME, PartEntry, PassageRow, Problem, ProtectedEntry,
    ShardError, ShardWriter, merge, part_folder, prepare_folder, read_passages, verify,
};

use common::schema;
use runs::{BATCHES, DOCUMENTS, feed, files, json, manifest, options, passages, run, start, works};

const STREAM: OutputFormat = OutputFormat::ArrowStream;

fn problems(folder: &Path) -> Vec<(String, String)> {
    let problems = verify(folder, &mut |_, _| None).unwrap().1;
    problems.into_iter().map(|Problem { file, description }| (file, description)).collect()
}

fn rows(folder: &Path) -> Vec<PassageRow> {
    let manifest = Manifest::read(folder).unwrap();
    read_passages(folder, &manifest).unwrap().unwrap().map(Result::unwrap).collect()
}

/// What a run that nothing disturbed writes to a disk.
fn expected() -> BTreeMap<String, Vec<u8>> {
    let output = tempfile::tempdir().unwrap();
    run(&output.path().join("out"), OutputMode::New, STREAM).unwrap();
    files(&output.path().join("out"))
}

#[test]
fn the_table_has_all_passages_in_order() {
    let output = tempfile::tempdir().unwrap();
    for format in [STREAM, OutputFormat::ArrowFile, OutputFormat::Parquet] {
        let folder = output.path().join(format.extension()).join(format!("{format:?}"));
        run(&folder, OutputMode::New, format).unwrap();
        let all: Vec<PassageRow> = (0..BATCHES).flat_map(passages).collect();
        assert_eq!((rows(&folder), all.len()), (all.clone(), 12));
        let Some(ProtectedEntry { counts, table, .. }) = Manifest::read(&folder).unwrap().protected else {
            panic!("an entry of the works")
        };
        assert_eq!((counts.documents, counts.passages, counts.words), (6, 12, 720));
        let table = table.unwrap();
        let size = fs::metadata(folder.join(PROTECTED_NAME)).unwrap().len();
        assert_eq!((table.name.as_str(), table.rows, table.size), (PROTECTED_NAME, 12, size));
        assert_eq!(problems(&folder), []);
        assert!(!folder.join(".partial").exists());
    }
}

#[test]
fn long_ids_come_back() {
    let output = tempfile::tempdir().unwrap();
    let folder = output.path().join("out");
    let (mut writer, ..) = start(&folder, OutputMode::New, STREAM).unwrap().unwrap();
    let row = |number: usize| PassageRow {
        doc_id: format!("{number}{}", "x".repeat(number << 17)),
        ..passages(1)[0].clone()
    };
    // Together more than what is encoded at once.
    let long: Vec<PassageRow> = (0..20).map(row).collect();
    writer.write_passages(&long).unwrap();
    writer.finish(manifest(STREAM, 0..0), json(9)).unwrap_or_else(|(error, _)| panic!("{error}"));
    assert!(rows(&folder) == long);
}

#[test]
fn a_run_without_passages_has_an_empty_table() {
    let output = tempfile::tempdir().unwrap();
    let folder = output.path().join("out");
    let (writer, ..) = start(&folder, OutputMode::New, STREAM).unwrap().unwrap();
    let end = writer.finish(manifest(STREAM, 0..0), json(9)).unwrap_or_else(|(error, _)| panic!("{error}"));
    assert_eq!(end.protected.unwrap().table.unwrap().rows, 0);
    assert_eq!((rows(&folder), problems(&folder)), (vec![], vec![]));
}

#[test]
fn passages_need_works_in_the_manifest() {
    let output = tempfile::tempdir().unwrap();
    let folder = output.path().join("out");
    let (mut writer, ..) = start(&folder, OutputMode::New, STREAM).unwrap().unwrap();
    feed(&mut writer, 0, 0).unwrap();
    let without = Manifest { protected: None, ..manifest(STREAM, 0..1) };
    let end = writer.finish(without.clone(), json(9)).unwrap_or_else(|(error, _)| panic!("{error}"));
    assert!(read_passages(&folder, &end).unwrap().is_none());
    assert!(!String::from_utf8(end.to_bytes()).unwrap().contains("protected"));
    let (mut writer, ..) = start(&folder, OutputMode::Overwrite, STREAM).unwrap().unwrap();
    feed(&mut writer, 1, 0).unwrap();
    assert!(matches!(writer.finish(without, json(9)), Err((ShardError::BadManifest { .. }, _))));
}

#[test]
fn a_run_goes_on_behind_every_batch() {
    let expected = expected();
    let output = tempfile::tempdir().unwrap();
    let store = PathBuf::from(format!("memory://protected{}", output.path().display()));
    for root in [output.path(), &store] {
        if root == store && !cfg!(feature = "object-stores") {
            continue;
        }
        for batches in 1..=BATCHES {
            let path = root.join(format!("on-{batches}"));
            let (mut writer, ..) = start(&path, OutputMode::New, STREAM).unwrap().unwrap();
            (0..batches).for_each(|number| feed(&mut writer, number, 0).unwrap());
            // More passages than the last record tells of.
            writer.write_passages(&passages(1)).unwrap();
            assert!(writer.stop().unwrap().documents > 0);
            assert!(files(&path).is_empty());
            run(&path, OutputMode::Resume, STREAM).unwrap();
            assert_eq!(files(&path), expected, "{batches} batches");
            assert_eq!(problems(&path), []);
        }
    }
}

#[test]
fn a_shortened_or_foreign_list_is_not_resumed() {
    let output = tempfile::tempdir().unwrap();
    let path = output.path().join("out");
    let (mut writer, ..) = start(&path, OutputMode::New, STREAM).unwrap().unwrap();
    (0..3).for_each(|number| feed(&mut writer, number, 0).unwrap());
    assert!(writer.stop().is_some());
    let list = path.join(".partial/passages.jsonl");
    let whole = fs::read(&list).unwrap();
    for bytes in [&whole[..whole.len() - 1], b""] {
        fs::write(&list, bytes).unwrap();
        let error = run(&path, OutputMode::Resume, STREAM).unwrap_err();
        assert!(
            error.to_string().ends_with("the list of protected passages is missing or shortened"),
            "{error}"
        );
    }
    let mut other = whole.clone();
    other[0] = b'(';
    fs::write(&list, other).unwrap();
    let error = run(&path, OutputMode::Resume, STREAM).unwrap_err();
    assert!(matches!(error, ShardError::BadJournal { .. }), "{error}");
    fs::write(&list, whole).unwrap();
    run(&path, OutputMode::Resume, STREAM).unwrap();
    assert_eq!(files(&path), expected());
}

#[test]
fn the_table_is_replaced_and_removed_with_its_set() {
    let output = tempfile::tempdir().unwrap();
    let folder = output.path().join("out");
    run(&folder, OutputMode::New, STREAM).unwrap();
    run(&folder, OutputMode::Overwrite, STREAM).unwrap();
    assert_eq!(files(&folder), expected());
    let (mut writer, ..) = start(&folder, OutputMode::Overwrite, STREAM).unwrap().unwrap();
    feed(&mut writer, 0, 0).unwrap();
    let without = Manifest { protected: None, ..manifest(STREAM, 0..1) };
    writer.finish(without, json(9)).unwrap_or_else(|(error, _)| panic!("{error}"));
    assert!(!folder.join(PROTECTED_NAME).exists());
    assert_eq!(problems(&folder), []);
    // Somebody else's file of that name is in the way.
    fs::write(folder.join(PROTECTED_NAME), "mine").unwrap();
    assert!(matches!(prepare_folder(&folder, OutputMode::Overwrite), Err(ShardError::Occupied { .. })));
    assert_eq!(fs::read(folder.join(PROTECTED_NAME)).unwrap(), b"mine");
    assert_eq!(problems(&folder), [(PROTECTED_NAME.to_owned(), "not in the manifest".to_owned())]);
}

#[test]
fn a_changed_or_missing_table_is_a_fault() {
    let output = tempfile::tempdir().unwrap();
    for format in [STREAM, OutputFormat::Parquet] {
        let folder = output.path().join(format!("{format:?}"));
        run(&folder, OutputMode::New, format).unwrap();
        let table = folder.join(PROTECTED_NAME);
        let whole = fs::read(&table).unwrap();
        let faults = || -> Vec<String> {
            let found = problems(&folder);
            assert!(found.iter().all(|(file, _)| file == PROTECTED_NAME), "{found:?}");
            found.into_iter().map(|(_, description)| description).collect()
        };
        for at in (0..whole.len()).step_by(31) {
            let mut bad = whole.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&table, bad).unwrap();
            assert!(faults()[0].starts_with("not as it was written"), "byte {at}");
        }
        fs::write(&table, &whole[1..]).unwrap();
        assert!(faults()[0].starts_with("not as it was written"));
        fs::remove_file(&table).unwrap();
        assert!(faults()[0].starts_with("missing"));
        fs::write(&table, &whole).unwrap();
        assert_eq!(problems(&folder), []);

        let sealed = |change: fn(&mut ProtectedEntry)| {
            let mut manifest = Manifest::read(&folder).unwrap();
            let before = manifest.clone().seal().1;
            change(manifest.protected.as_mut().unwrap());
            fs::write(folder.join("manifest.json"), manifest.seal().1).unwrap();
            let mut found = problems(&folder);
            // Its fingerprint is that of the manifest.
            found.retain(|(file, _)| file != "state.json");
            fs::write(folder.join("manifest.json"), before).unwrap();
            found
        };
        assert_eq!(sealed(|_| ()), []);
        assert_eq!(sealed(|works| works.counts.passages += 1).len(), 1);
        assert!(!sealed(|works| works.table.as_mut().unwrap().rows += 1).is_empty());
        assert!(!sealed(|works| works.table.as_mut().unwrap().name = "other.parquet".into()).is_empty());
        assert_eq!(sealed(|works| works.table = None).len(), 1);
    }
}

/// Writes one of two parts, whose passages and bad rows are those of its batches.
fn part(root: &Path, rank: u32, change: fn(&mut Manifest)) -> PathBuf {
    let path = root.join(part_folder(rank, 2));
    let _ = fs::remove_dir_all(&path);
    let half = u64::from(rank) * 2;
    let folder = prepare_folder(&path, OutputMode::New).unwrap().folder().unwrap();
    let mut writer = ShardWriter::new(folder, schema(), options(STREAM), json("{}"));
    (half..half + 2).for_each(|number| feed(&mut writer, number, 0).unwrap());
    let mut manifest = manifest(STREAM, half..half + 2);
    manifest.part = Some(PartEntry { rank, world: 2, plan: "xxh3_128:2".into() });
    let read = 2 * (DOCUMENTS + 1);
    manifest.inputs[0].rows = Some((u64::from(rank) * read, u64::from(rank + 1) * read));
    change(&mut manifest);
    writer.finish(manifest, json(9)).unwrap_or_else(|(error, _)| panic!("{error}"));
    path
}

#[test]
fn parts_are_joined_in_the_order_of_their_ranks() {
    let output = tempfile::tempdir().unwrap();
    let root = output.path();
    let parts = [part(root, 1, |_| ()), part(root, 0, |_| ())];
    let joined = root.join("joined");
    let manifest = merge(&parts, &joined, false, false).unwrap();
    assert_eq!(problems(&joined), []);
    let expected = expected();
    assert_eq!(files(&joined)[PROTECTED_NAME], expected[PROTECTED_NAME]);
    let undivided: Manifest = serde_json::from_slice(&expected["manifest.json"]).unwrap();
    assert_eq!(manifest.protected, undivided.protected);

    let refused = |reason: &str| {
        let error = merge(&parts, &root.join("other"), false, false).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        assert!(!root.join("other").exists());
    };
    part(root, 1, |manifest| {
        manifest.protected = Some(ProtectedEntry { digest: "xxh3_128:3".into(), ..works() });
    });
    refused("the protected works or their rules differ");
    part(root, 1, |manifest| manifest.protected.as_mut().unwrap().most_edits = 5);
    refused("the protected works or their rules differ");
    part(root, 1, |_| ());
    let table = root.join(part_folder(1, 2)).join(PROTECTED_NAME);
    let mut bytes = fs::read(&table).unwrap();
    bytes[40] ^= 1;
    fs::write(&table, &bytes).unwrap();
    refused("not as it was written");

    let parts = [part(root, 1, |_| ()), part(root, 0, |_| ())];
    merge(&parts, &root.join("moved"), false, true).unwrap();
    assert_eq!(files(&root.join("moved")), files(&joined));
    assert!(parts.iter().all(|part| !part.exists()));
}
