//! Edited copies of a corpus, as JSON lines.

use std::collections::BTreeMap;

use goldfish_corpus::{BatchContent, Input, Part, ReadOptions};
use goldfish_mask::document_key;
use serde::Serialize;

use crate::edits::{Edit, EditedCopy, Material, edited, words};
use crate::error::LabError;
use crate::experiment::error::ExperimentError;

/// What copies of a corpus are made of.
#[derive(Debug, Clone)]
pub struct CorruptOptions {
    /// The documents.
    pub inputs: Vec<Input>,
    /// How they are read: as text.
    pub read: ReadOptions,
    /// What is done to each copy.
    pub edits: Vec<Edit>,
    /// Words to insert or put in place of others; those of each document if there are none.
    pub words: Vec<String>,
    /// Copies of each document, each with other random numbers.
    pub copies: u32,
    /// Determines the random numbers, with a document's id and a copy's number.
    pub seed: u64,
}

/// Edited copies of a corpus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Corrupted {
    /// Documents of the corpus.
    pub documents: u64,
    /// Copies.
    pub copies: u64,
    /// Words of the documents, in all copies before the edits.
    pub words: u64,
    /// Stretches that were edited, by kind of edit.
    pub edits: BTreeMap<&'static str, u64>,
    /// Bytes of the copies.
    pub bytes: u64,
    /// Those that equal bytes of the originals.
    pub equal_bytes: u64,
    /// The copies: a line of JSON each, with `id`, `original` (the document's id), `text` and `alignment`.
    #[serde(skip)]
    pub lines: String,
}

#[derive(Serialize)]
struct Line<'a> {
    id: String,
    original: &'a str,
    #[serde(flatten)]
    copy: &'a EditedCopy,
}

/// Makes edited copies of every document. A passage is quoted in the text of the document after it; the last one's in the first.
///
/// All documents are in memory.
///
/// # Errors
///
/// If an input can't be read, or a row of it is no document.
pub fn corrupt(options: &CorruptOptions) -> Result<Corrupted, ExperimentError> {
    let documents = documents(options)?;
    let mut made = Corrupted {
        documents: documents.len() as u64,
        copies: 0,
        words: 0,
        edits: BTreeMap::new(),
        bytes: 0,
        equal_bytes: 0,
        lines: String::new(),
    };
    for (number, (id, text)) in documents.iter().enumerate() {
        let next = documents.get((number + 1) % documents.len()).filter(|(other, _)| other != id);
        let material =
            Material { words: &options.words, surroundings: next.map_or("", |(_, text)| text.as_str()) };
        let words = words(text).len() as u64;
        for copy in 0..options.copies {
            let key = [options.seed, document_key(id), copy.into()];
            let edited = edited(text, &options.edits, &material, &key);
            made.add(&Line { id: format!("{id}/{copy}"), original: id, copy: &edited });
            made.words += words;
        }
    }
    Ok(made)
}

impl Corrupted {
    fn add(&mut self, line: &Line<'_>) {
        self.copies += 1;
        self.bytes += line.copy.text.len() as u64;
        for stretch in &line.copy.alignment {
            match stretch.edit {
                None => self.equal_bytes += stretch.copy.len() as u64,
                Some(edit) => *self.edits.entry(edit.name()).or_default() += 1,
            }
        }
        // Strings and numbers only: serialization has nothing to fail at.
        self.lines += &serde_json::to_string(line).unwrap_or_default();
        self.lines += "\n";
    }
}

/// The ids and texts of all documents.
fn documents(options: &CorruptOptions) -> Result<Vec<(String, String)>, ExperimentError> {
    let mut documents = Vec::new();
    for input in &options.inputs {
        let mut source = input.open(&options.read, Part::WHOLE)?;
        while let Some(chunk) = source.next_chunk()? {
            let batch = chunk.documents(&options.read)?;
            if let Some(reject) = batch.rejects.first() {
                return Err(LabError::BadRow {
                    file: reject.file.clone(),
                    row: reject.row,
                    reason: reject.reason.clone(),
                    remedies: reject.remedies.clone(),
                }
                .into());
            }
            if let BatchContent::Text(texts) = &batch.content {
                let text = |row: usize| (batch.doc_ids.value(row).to_owned(), texts.value(row).to_owned());
                documents.extend((0..batch.len()).map(text));
            }
        }
    }
    Ok(documents)
}
