use std::io::Write;

use goldfish_corpus::{Part, ReadOptions};

use crate::{found, ids, named, read, refused, text};

#[test]
fn rows_and_rejects() {
    let lines = b"{\"text\": \"a\"}\n\n{\"text\": 1}\n{\"body\": \"b\"}\n{\"text\": \"c\"}";
    let (documents, rejects) = read(&[("a.jsonl", lines)], &text()).unwrap();
    let expected = [("a.jsonl:0".to_owned(), vec![97]), ("a.jsonl:4".into(), vec![99])];
    assert_eq!(documents, expected);
    assert!(
        rejects[0].starts_with("2: line 3: ") && rejects[0].contains("a string in \"text\""),
        "{rejects:?}"
    );
    assert_eq!(rejects[1], "3: line 4: no \"text\" in this line; its keys are \"body\"");
    let options = ReadOptions { vocab_size: Some(8), ..ids() };
    let (documents, rejects) =
        read(&[("a.jsonl", b"{\"input_ids\": [1, 7]}\n{\"input_ids\": [8]}")], &options).unwrap();
    assert_eq!(documents, [("a.jsonl:0".to_owned(), vec![1, 7])]);
    assert!(rejects[0].contains("token id 8 is not in the tokenizer's vocabulary of 8"), "{rejects:?}");
}

#[test]
fn compressed_files() {
    let line = b"{\"text\": \"a\"}\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(line).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&line[..], 1).unwrap();
    for (name, bytes) in [("a.jsonl.gz", &gzip), ("a.json.gz", &gzip), ("a.ndjson.zst", &zstd)] {
        assert_eq!(read(&[(name, bytes)], &text()).unwrap().0.len(), 1, "{name}");
        refused(&[(name, &bytes[..bytes.len() - 5])], &text(), "not a readable jsonl file", "");
        refused(&[(name, line)], &text(), "not a readable jsonl file", "");
        let input = crate::input(name, "jsonl");
        assert!(!input.is_divisible().unwrap());
    }
    assert!(crate::input("a.jsonl", "jsonl").is_divisible().unwrap());
}

#[test]
fn long_lines() {
    let options = ReadOptions { max_document: 16, ..text() };
    let line = b"{\"text\": \"a long one\"}\n{\"text\": \"b\"}";
    let (documents, rejects) = read(&[("a.jsonl", line)], &options).unwrap();
    assert_eq!((documents.len(), &*rejects[0]), (1, "0: line 1: 22 bytes, more than 16; split it"));
    let endless = vec![b'a'; 600 << 10];
    refused(
        &[("a.jsonl", &endless)],
        &options,
        "line 1 is longer than 16 bytes; split it",
        "give max_document to read it whole",
    );
}

#[test]
fn names_and_parts() {
    let names = ["a.jsonl", "b.ndjson.zst", "c.json", "d.json.gz", "e.JSONL", "f.jsonl.bz2"];
    let expected = ["a.jsonl", "b.ndjson.zst", "d.json.gz", "e.JSONL"].map(|name| named(name, "jsonl"));
    assert_eq!(found(&names), expected);
    assert!(crate::input("no.jsonl", "jsonl").open(&text(), Part::WHOLE).is_err());
}
