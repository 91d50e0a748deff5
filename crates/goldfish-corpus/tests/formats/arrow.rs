use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, RecordBatch};
use arrow::datatypes::Int32Type;
use arrow::ipc::writer::StreamWriter;
use goldfish_corpus::{BatchContent, Part};
use goldfish_digest::FileDigest;

use crate::{fixture, found, ids, named, read, refused, text};

#[test]
fn streams_and_files() {
    let stream = fixture("formats/ids-stream.arrow");
    let file = fixture("formats/ids-file.arrow");
    let documents = read(&[("a.arrow", &stream)], &ids()).unwrap().0;
    assert!(!documents.is_empty());
    assert_eq!(read(&[("a.arrow", &file)], &ids()).unwrap().0, documents);
    let folder = tempfile::tempdir().unwrap();
    for (bytes, divisible) in [(&stream, false), (&file, true)] {
        let path = folder.path().join("a.arrow");
        fs::write(&path, bytes).unwrap();
        assert_eq!(crate::input(path.to_str().unwrap(), "arrow").is_divisible().unwrap(), divisible);
    }
}

#[test]
fn damaged_files() {
    let stream = fixture("formats/ids-stream.arrow");
    let file = fixture("formats/ids-file.arrow");
    refused(&[("a.arrow", &stream[..stream.len() - 8])], &ids(), "the stream has no end marker", "");
    refused(&[("a.arrow", &stream[..stream.len() / 2])], &ids(), "it was cut off", "");
    refused(
        &[("a.arrow", &[&stream[..], &stream].concat())],
        &ids(),
        "the stream ends before the file does",
        "",
    );
    refused(&[("a.arrow", &file[..file.len() - 1])], &ids(), "not a readable arrow file", "");
    refused(&[("a.arrow", b"")], &ids(), "not a readable arrow file", "");
    refused(&[("a.arrow", b"{\"text\": \"a\"}\n")], &ids(), "not a readable arrow file", "");
    refused(
        &[("a.arrow", &stream)],
        &text(),
        "no column \"text\"",
        "give text_column and tokenizer to read text, or give ids_column to read token ids",
    );
}

#[test]
fn names() {
    let expected = ["a.arrow", "b.feather", "c.ipc", "d.arrows"].map(|name| named(name, "arrow"));
    assert_eq!(found(&["a.arrow", "b.feather", "c.ipc", "d.arrows", "e.arrow.zst"]), expected);
}

/// Tokens of a document of [`stream`].
const TOKENS: i32 = 1000;

/// A stream of batches with so many documents; all ids of document `n` are `n`.
fn stream(batches: &[i32]) -> Vec<u8> {
    let mut first = 0;
    let mut batch = |rows: i32| {
        let lists = (first..first + rows).map(|id| Some(vec![Some(id); TOKENS as usize]));
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists));
        first += rows;
        RecordBatch::try_from_iter([("input_ids", lists)]).unwrap()
    };
    let mut writer = StreamWriter::try_new(Vec::new(), &batch(0).schema()).unwrap();
    batches.iter().for_each(|&rows| writer.write(&batch(rows)).unwrap());
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn streams_are_hashed_while_they_are_read_whatever_the_size_of_their_batches() {
    // A chunk holds 65 documents: batches of less than one, of several, and some that are too large to be kept until all its chunks are
    // dealt with.
    let batches = [3, 70, 700, 0, 2300];
    let bytes = stream(&batches);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.arrow");
    fs::write(&path, &bytes).unwrap();
    let input = crate::input(path.to_str().unwrap(), "arrow");
    let mut source = input.open(&ids(), Part::WHOLE).unwrap();
    let (mut next, mut read, mut chunks) = (0, 0, Vec::new());
    while let Some(chunk) = source.next_chunk().unwrap() {
        assert!(chunk.bytes() <= 256 << 10);
        chunks.push(chunk);
        let so_far = source.read_so_far().remove(0);
        assert!(so_far.size >= read && so_far.size == source.position());
        read = so_far.size;
        assert_eq!(so_far, FileDigest::of(&bytes[..read as usize]));
    }
    // The batches that they are slices of are gone from the reader by now.
    assert_eq!(source.finish().unwrap(), [FileDigest::of(&bytes)]);
    for chunk in chunks {
        let BatchContent::Ids { offsets, ids } = chunk.documents(&ids()).unwrap().content else { panic!() };
        for ends in offsets.windows(2) {
            assert_eq!(ids[ends[0] as usize..ends[1] as usize], vec![next; TOKENS as usize]);
            next += 1;
        }
    }
    assert_eq!(next, batches.iter().sum::<i32>());

    let mut nothing = input.open(&ids(), Part { start: 1, end: u64::MAX }).unwrap();
    assert!(nothing.next_chunk().unwrap().is_none());
    assert_eq!(nothing.finish().unwrap(), [FileDigest::of(&bytes)]);
}
