use std::fs;

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
