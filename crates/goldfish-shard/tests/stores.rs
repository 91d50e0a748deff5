//! Folders in a store: the same bytes as on a disk, and of two runs into one folder one stops.
//!
//! Run with `cargo test -p goldfish-shard --features object-stores`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow::array::StringArray;
use arrow::buffer::OffsetBuffer;
use arrow::record_batch::RecordBatch;
use goldfish_shard::{
    Manifest, OutputFormat, OutputMode, Prepared, ShardError, ShardWriter, WriterOptions, prepare_folder,
    verify,
};
use serde_json::value::RawValue;

use common::schema;

/// Batches of a whole run, each with a rejected row and documents for three shards.
const BATCHES: u64 = 4;
const DOCUMENTS: u64 = 9;

fn manifest() -> Manifest {
    common::manifest(&options(), BATCHES * DOCUMENTS, BATCHES)
}

fn options() -> WriterOptions {
    WriterOptions { format: OutputFormat::ArrowStream, shard_size: 400 }
}

fn json(value: impl std::fmt::Display) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).unwrap()
}

fn batch(number: u64, first_id: i32) -> RecordBatch {
    let names: StringArray = (0..DOCUMENTS).map(|row| Some(format!("a:{number}:{row}"))).collect();
    let ids: Vec<i32> = (0..DOCUMENTS as i32 * 8).map(|id| first_id + id).collect();
    let mask: Vec<u8> = (0..ids.len()).map(|place| u8::from(place % 8 % 4 != 0)).collect();
    let offsets = OffsetBuffer::from_lengths(vec![8; DOCUMENTS as usize]);
    schema().batch(names, offsets, ids.into(), mask.into(), Vec::new()).unwrap()
}

/// Writes a batch after its rejected row, as the pipeline does.
fn feed(writer: &mut ShardWriter, number: u64, skip: u64, first_id: i32) -> Result<(), ShardError> {
    let before = writer.lists();
    writer.write_reject(&format!("{{\"row\":{number},\"reason\":\"is \\\"bad\\\"\"}}"))?;
    writer.write(&batch(number, first_id), skip, before, || json(number))
}

fn new(path: &Path, mode: OutputMode) -> ShardWriter {
    match prepare_folder(path, mode).unwrap() {
        Prepared::Fresh(folder) => ShardWriter::new(folder, schema(), options(), json("{}")),
        other => panic!("{other:?}"),
    }
}

/// Resumes after what is there, and runs to the end.
fn resume(path: &Path) {
    let (mut writer, number, rows) = take_up(prepare_folder(path, OutputMode::Resume).unwrap()).unwrap();
    feed(&mut writer, number, rows, 0).unwrap();
    (number + 1..BATCHES).for_each(|number| feed(&mut writer, number, 0, 0).unwrap());
    writer.finish(manifest(), json(9)).map_err(|(error, _)| error).unwrap();
}

fn take_up(prepared: Prepared) -> Result<(ShardWriter, u64, u64), ShardError> {
    let Prepared::Unfinished(folder, unfinished) = prepared else { panic!("{prepared:?}") };
    let number = unfinished.states.last().unwrap().get().parse().unwrap();
    let rows = unfinished.rows;
    Ok((ShardWriter::resume(folder, schema(), options(), *unfinished)?, number, rows))
}

fn whole(path: &Path) {
    let mut writer = new(path, OutputMode::New);
    (0..BATCHES).for_each(|number| feed(&mut writer, number, 0, 0).unwrap());
    writer.finish(manifest(), json(9)).map_err(|(error, _)| error).unwrap();
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let paths = goldfish_storage::list(folder).unwrap();
    paths.iter().map(|path| (name(path), goldfish_storage::read(path, u64::MAX).unwrap())).collect()
}

/// What a run that nothing disturbed writes to a disk.
fn expected() -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    whole(&folder.path().join("out"));
    files(&folder.path().join("out"))
}

/// A folder of its own in a store of this process.
fn place(name: &str) -> PathBuf {
    PathBuf::from(format!("memory://shards/{name}"))
}

fn is_busy(error: &ShardError) -> bool {
    matches!(error, ShardError::Occupied { reason, .. } if reason.starts_with("another goldfish is writing"))
}

#[test]
fn the_bytes_are_those_of_a_disk() {
    let path = place("bytes");
    whole(&path);
    assert_eq!(files(&path), expected());
    let (_, problems) = verify(&path, &mut |_, _| None).unwrap();
    assert_eq!(problems, []);
    assert!(matches!(prepare_folder(&path, OutputMode::Resume).unwrap(), Prepared::Finished(_)));
    assert!(prepare_folder(&path, OutputMode::New).is_err());
}

#[test]
fn a_run_goes_on_behind_every_batch() {
    let expected = expected();
    for batches in 1..=BATCHES {
        let path = place(&format!("on-{batches}"));
        let mut writer = new(&path, OutputMode::New);
        (0..batches).for_each(|number| feed(&mut writer, number, 0, 0).unwrap());
        // The machine dies: what is in memory goes, and nothing is tidied.
        std::mem::forget(writer);
        assert!(!files_without_staging(&path).contains_key("manifest.json"));
        let refused = prepare_folder(&path, OutputMode::New).unwrap_err().to_string();
        assert!(refused.contains("unfinished run (process"), "{refused}");
        resume(&path);
        assert_eq!(files(&path), expected);
    }
}

fn files_without_staging(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = goldfish_storage::entries(path).unwrap();
    let files = entries.into_iter().filter(|entry| !entry.is_folder());
    files
        .map(|entry| {
            (entry.path.display().to_string(), goldfish_storage::read(&entry.path, u64::MAX).unwrap())
        })
        .collect()
}

#[test]
fn of_two_that_begin_one_is_refused() {
    let path = place("begin");
    let first = prepare_folder(&path, OutputMode::Resume).unwrap();
    assert!(prepare_folder(&path, OutputMode::New).is_err());
    // The second one takes over, since the first may be dead; the first then neither writes nor tidies.
    let mut second = new(&path, OutputMode::Resume);
    let mut first = ShardWriter::new(first.folder().unwrap(), schema(), options(), json("{}"));
    assert!(is_busy(&feed(&mut first, 0, 0, 0).unwrap_err()));
    assert!(first.stop().is_none());
    (0..BATCHES).for_each(|number| feed(&mut second, number, 0, 0).unwrap());
    second.finish(manifest(), json(9)).map_err(|(error, _)| error).unwrap();
    assert_eq!(files(&path), expected());
}

#[test]
fn a_run_that_was_taken_over_stops_at_its_next_record() {
    let path = place("taken");
    let mut first = new(&path, OutputMode::New);
    feed(&mut first, 0, 0, 0).unwrap();
    let (mut second, number, rows) = take_up(prepare_folder(&path, OutputMode::Resume).unwrap()).unwrap();
    assert!(is_busy(&feed(&mut first, 1, 0, 0).unwrap_err()));
    assert!(first.stop().is_none());
    feed(&mut second, number, rows, 0).unwrap();
    (number + 1..BATCHES).for_each(|number| feed(&mut second, number, 0, 0).unwrap());
    second.finish(manifest(), json(9)).map_err(|(error, _)| error).unwrap();
    assert_eq!(files(&path), expected());
}

#[test]
fn a_run_that_lives_is_not_taken_over_from_behind() {
    let path = place("lives");
    let mut first = new(&path, OutputMode::New);
    feed(&mut first, 0, 0, 0).unwrap();
    let seen = prepare_folder(&path, OutputMode::Resume).unwrap();
    feed(&mut first, 1, 0, 0).unwrap();
    assert!(take_up(seen).is_err_and(|error| is_busy(&error)));
    (2..BATCHES).for_each(|number| feed(&mut first, number, 0, 0).unwrap());
    let ended = prepare_folder(&path, OutputMode::Resume).unwrap();
    first.finish(manifest(), json(9)).map_err(|(error, _)| error).unwrap();
    assert!(take_up(ended).is_err_and(|error| is_busy(&error)));
    assert_eq!(files(&path), expected());
}

#[test]
fn another_job_may_replace_one_that_still_runs() {
    let path = place("replaced");
    let mut first = new(&path, OutputMode::New);
    (0..2).for_each(|number| feed(&mut first, number, 0, 5000).unwrap());
    let mut second = new(&path, OutputMode::Overwrite);
    (0..BATCHES).for_each(|number| feed(&mut second, number, 0, 0).unwrap());
    assert!(is_busy(&feed(&mut first, 2, 0, 5000).unwrap_err()));
    assert!(first.stop().is_none());
    second.finish(manifest(), json(9)).map_err(|(error, _)| error).unwrap();
    assert_eq!(files(&path), expected());
}

#[test]
fn two_that_end_at_once_end_well() {
    let path = place("ends");
    let mut first = new(&path, OutputMode::New);
    (0..BATCHES).for_each(|number| feed(&mut first, number, 0, 0).unwrap());
    let (mut second, number, rows) = take_up(prepare_folder(&path, OutputMode::Resume).unwrap()).unwrap();
    feed(&mut second, number, rows, 0).unwrap();
    (number + 1..BATCHES).for_each(|number| feed(&mut second, number, 0, 0).unwrap());
    let ends = [first, second].map(|writer| {
        std::thread::spawn(move || {
            writer.finish(manifest(), json(9)).map_err(|(error, kept)| (error, kept.is_some()))
        })
    });
    let [first, second] = ends.map(|thread| thread.join().unwrap());
    assert!(first.is_err_and(|(error, kept)| is_busy(&error) && !kept));
    second.unwrap();
    assert_eq!(files(&path), expected());
}

#[test]
fn an_old_set_stays_until_the_new_one_is_complete() {
    let path = place("old");
    whole(&path);
    let old = files(&path);
    let mut other = new(&path, OutputMode::Overwrite);
    (0..BATCHES).for_each(|number| feed(&mut other, number, 0, 5000).unwrap());
    assert_eq!(files_without_staging(&path).len(), old.len());
    assert!(other.stop().unwrap().documents > 0);
    // Given up and started again.
    whole_over(&path);
    assert_eq!(files(&path), old);
}

fn whole_over(path: &Path) {
    let mut writer = new(path, OutputMode::Overwrite);
    (0..BATCHES).for_each(|number| feed(&mut writer, number, 0, 0).unwrap());
    writer.finish(manifest(), json(9)).map_err(|(error, _)| error).unwrap();
}

#[test]
fn faults_are_found() {
    let path = place("problems");
    whole(&path);
    let problems = || verify(&path, &mut |_, _| None).unwrap().1;
    let shards: Vec<String> = files(&path).into_keys().filter(|name| name.starts_with("data-")).collect();
    assert!(shards.len() > 5, "{shards:?}");
    let shard = path.join(&shards[3]);
    let bytes = goldfish_storage::read(&shard, u64::MAX).unwrap();
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    goldfish_storage::write(&shard, &flipped).unwrap();
    assert!(problems()[0].description.starts_with("hash "), "{:?}", problems());
    goldfish_storage::remove_file(&shard).unwrap();
    assert_eq!(problems()[0].description, "missing");
    goldfish_storage::write(&shard, &bytes).unwrap();
    let extra = path.join("data-00099-of-00100.arrow");
    goldfish_storage::write(&extra, &bytes).unwrap();
    assert_eq!(problems()[0].description, "not in the manifest");
    goldfish_storage::remove_file(&extra).unwrap();
    assert_eq!(problems(), []);
}
