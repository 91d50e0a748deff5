//! JSONL and text, compared with `serde_json` line by line.

use std::io::Write;

use goldfish_corpus::{Content, ReadOptions};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::harness::{Document, Reading, file, read};

/// The text without a byte order mark.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

/// JSON lines: text or ids, with or without an id column and a carried column, plain or compressed.
pub fn jsonl(data: &[u8]) {
    // The length chooses the options, so that any file is a seed.
    let choice = data.len() % 8;
    let is_text = choice & 1 == 0;
    let column = if is_text { "text" } else { "input_ids" };
    let content = if is_text {
        Content::Text { column: column.into() }
    } else {
        Content::Ids { column: column.into() }
    };
    let mut options = ReadOptions::new(content);
    if choice & 2 != 0 {
        options.id_column = Some("id".into());
        options.carry = vec!["source".into()];
    }
    if choice & 4 != 0 {
        options.vocab_size = Some(5000);
        // As an archive the bytes are almost never valid; as its contents they always are.
        read(file("in.jsonl.gz", data), "jsonl", &options);
        read(file("in.jsonl.zst", data), "jsonl", &options);
        let mut archive = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        archive.write_all(data).unwrap();
        let compressed = read(file("in.jsonl.gz", &archive.finish().unwrap()), "jsonl", &options);
        let plain = read(file("in.jsonl", data), "jsonl", &options);
        assert_eq!(compressed.documents, plain.documents);
        assert_eq!(compressed.rejects, plain.rejects);
        return;
    }
    let reading = read(file("in.jsonl", data), "jsonl", &options);
    check_lines(data, &reading, &options, is_text);
    if data.len() > 2000 && data.ends_with(b"\n") && !data.starts_with(b"\xEF\xBB\xBF") {
        check_repeated(data, &reading, &options);
    }
}

/// Checks that each line is a document, a reject or blank, and that documents agree with the JSON value.
fn check_lines(data: &[u8], reading: &Reading, options: &ReadOptions, is_text: bool) {
    assert!(reading.whole, "plain files are read to the end");
    let lines: Vec<&[u8]> = without_mark(data).split(|&byte| byte == b'\n').collect();
    let blank = |line: &&[u8]| line.trim_ascii().is_empty();
    let trailing = |line: &&[u8]| line.trim_ascii_end().is_empty();
    assert_eq!(
        lines.iter().filter(|line| !trailing(line)).count(),
        reading.rows().len(),
        "a line is missing"
    );
    for (row, id, document) in &reading.documents {
        let line = lines[*row as usize];
        assert!(!blank(&line));
        let is_json = |line: &[u8]| serde_json::from_slice::<IgnoredAny>(line).is_ok();
        // Python's non-finite numbers are accepted in columns that are not read.
        let finite = String::from_utf8_lossy(line).replace("Infinity", "0").replace("NaN", "0");
        assert!(is_json(line) || is_json(finite.as_bytes()), "a document is not JSON");
        // Columns that are not read may contain half a surrogate pair or numbers out of the range of a double, which
        // `Value` rejects.
        if let Ok(value) = serde_json::from_slice::<Value>(line) {
            let same = match document {
                Document::Text(text) => value["text"].as_str() == Some(text),
                Document::Ids(ids) => {
                    let expected = value["input_ids"].as_array().expect("a list");
                    expected.iter().map(Value::as_i64).eq(ids.iter().map(|&id| Some(i64::from(id))))
                }
            };
            assert!(same, "row {row} differs from its JSON value");
        }
        if options.id_column.is_none() {
            assert_eq!(*id, format!("in:{row}"));
        }
    }
    for reject in &reading.rejects {
        let line = lines[reject.row as usize];
        assert!(
            reject.offset.is_some_and(|offset| data[offset as usize..].starts_with(line) || reject.row == 0),
            "the offset of a reject is not that of its line"
        );
        let Ok(Value::Object(object)) = serde_json::from_slice::<Value>(line) else { continue };
        // A repeated key, even with another escape, is rejected, but a `Value` does not show it.
        if !is_text || options.id_column.is_some() || line.contains(&b'\\') {
            continue;
        }
        let twice = String::from_utf8_lossy(line).matches("\"text\"").count() > 1;
        assert!(
            twice || !object.get("text").is_some_and(Value::is_string),
            "a valid line was rejected: {}",
            reject.reason
        );
    }
}

/// Repeats the lines until they take several chunks; the documents must repeat as well.
fn check_repeated(data: &[u8], once: &Reading, options: &ReadOptions) {
    let times = (600 << 10) / data.len() + 1;
    let many = read(file("in.jsonl", &data.repeat(times)), "jsonl", options);
    assert!(many.whole);
    assert_eq!(many.documents.len(), once.documents.len() * times);
    assert_eq!(many.rejects.len(), once.rejects.len() * times);
    let rows = many.rows();
    assert_eq!(rows.len(), once.rows().len() * times);
    for (i, (_, _, document)) in many.documents.iter().enumerate() {
        assert_eq!(
            *document,
            once.documents[i % once.documents.len()].2,
            "a chunk boundary changed a document"
        );
    }
}

/// A text file: one document or one reject.
pub fn text(data: &[u8]) {
    let options = ReadOptions::new(Content::Text { column: "text".into() });
    let reading = read(file("in.txt", data), "text", &options);
    assert!(reading.whole);
    reading.assert_gapless();
    match std::str::from_utf8(without_mark(data)) {
        Ok(expected) => assert_eq!(reading.documents[0].2, Document::Text(expected.to_owned())),
        Err(_) => {
            let offset = reading.rejects[0].offset.expect("an offset") as usize;
            assert!(
                std::str::from_utf8(&data[..offset]).is_ok()
                    && std::str::from_utf8(&data[..=offset]).is_err()
            );
        }
    }
    for name in ["in.txt.gz", "in.txt.zst"] {
        let reading = read(file(name, data), "text", &options);
        assert!(!reading.whole || reading.rows().len() == 1);
    }
    let archive = zstd::bulk::compress(data, 1).unwrap();
    let compressed = read(file("in.txt.zst", &archive), "text", &options);
    assert_eq!((compressed.documents, compressed.rejects), (reading.documents, reading.rejects));
}
