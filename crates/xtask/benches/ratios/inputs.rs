//! Generated inputs of the benchmarks.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Tokens in a document.
pub(crate) const DOCUMENT: usize = 1024;

/// Random ids below 50,000.
pub(crate) fn ids(count: usize) -> impl Iterator<Item = u32> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    (0..count).map(move |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % 50_000) as u32
    })
}

/// A sentence for each language.
pub(crate) const SENTENCES: [(&str, &str); 4] = [
    (
        "English",
        "The ship sailed at dawn, and by noon the harbour lay far behind her (as \"Annie\" had said). ",
    ),
    ("German", "Früh am Morgen lief das große Schiff aus, und mittags lag der Hafen schon weit zurück. "),
    ("Russian", "На рассвете корабль вышел в море, и к полудню гавань осталась далеко позади. "),
    ("Chinese", "黎明时分，船出海了；到了中午，港口已经远远落在后面。"),
];

/// Words of the first two sentences in random order, about this many bytes.
pub(crate) fn prose(bytes: usize) -> String {
    let words: Vec<&str> = SENTENCES[0].1.split(' ').chain(SENTENCES[1].1.split(' ')).collect();
    let mut text = String::with_capacity(bytes + 16);
    let mut order = ids(usize::MAX);
    while text.len() < bytes {
        text += words[order.next().unwrap() as usize % words.len()];
        text.push(if order.next().unwrap().is_multiple_of(12) { '\n' } else { ' ' });
    }
    text
}

/// Real text: documents and source files of this repository, repeated to about this many bytes, in documents of up to
/// 4 KiB.
pub(crate) fn documents(bytes: usize) -> Vec<String> {
    let mut texts = Vec::new();
    collect(&crate::measure::root().join("docs"), &mut texts);
    collect(&crate::measure::root().join("crates"), &mut texts);
    texts.sort();
    let mut documents: Vec<String> = Vec::new();
    let mut total = 0;
    for text in texts.iter().cycle() {
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (document, remainder) = rest.split_at(rest.floor_char_boundary(4096));
            total += document.len();
            documents.push(document.to_owned());
            rest = remainder;
            if total >= bytes {
                return documents;
            }
        }
    }
    documents
}

/// Collects text files below a folder.
fn collect(folder: &Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, texts);
        } else if path.extension().is_some_and(|ending| ["md", "rs", "py"].iter().any(|e| ending == *e)) {
            texts.push(fs::read_to_string(path).unwrap());
        }
    }
}

/// Writes JSON lines.
pub(crate) fn write_documents(path: &Path, documents: &[String]) {
    let mut file = BufWriter::new(fs::File::create(path).unwrap());
    for text in documents {
        writeln!(file, "{}", serde_json::json!({ "text": text })).unwrap();
    }
    file.into_inner().unwrap().sync_all().unwrap();
}

/// Writes 32-bit ids in documents of `tokens` ids, the last of which is 0.
pub(crate) fn write_memmap(path: &Path, bytes: u64, tokens: usize) {
    let mut file = BufWriter::with_capacity(1 << 20, fs::File::create(path).unwrap());
    for (i, id) in ids((bytes / 4) as usize).enumerate() {
        let id = if i % tokens == tokens - 1 { 0 } else { id.max(1) };
        file.write_all(&id.to_le_bytes()).unwrap();
    }
    file.into_inner().unwrap().sync_all().unwrap();
}
