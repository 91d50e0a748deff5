//! A format of the tests: what one takes is this file and its lines in `mod.rs`.

use std::path::Path;

use arrow::array::LargeStringArray;
use arrow::datatypes::FieldRef;
use goldfish_digest::FileDigest;

use crate::batch::{BatchContent, DocumentBatch, default_ids};
use crate::error::CorpusError;
use crate::file::HashingFile;
use crate::input::{FormatTable, Input};
use crate::options::ReadOptions;
use crate::source::{Chunk, Part, Source};

/// Documents that end at a semicolon.
pub(super) static FORMAT: FormatTable = FormatTable {
    is_divisible: |_| Ok(false),
    ..FormatTable::new("toy", "Documents that end at a semicolon", &[".toy"], |input, _, part| {
        let file = HashingFile::open(&input.path)?;
        Ok(Box::new(ToySource { input: input.clone(), file, row: 0, done: !part.contains(0) }))
    })
};

struct ToySource {
    input: Input,
    file: HashingFile,
    row: u64,
    done: bool,
}

impl Source for ToySource {
    fn carried(&self) -> &[FieldRef] {
        &[]
    }

    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>, CorpusError> {
        if std::mem::replace(&mut self.done, true) {
            return Ok(None);
        }
        let text = std::io::read_to_string(&mut self.file).map_err(|error| self.input.malformed(error))?;
        let documents: Vec<String> = text.split_terminator(';').map(Into::into).collect();
        self.row = documents.len() as u64;
        Ok(Some(Box::new(ToyChunk { name: self.input.name.to_string(), documents })))
    }

    fn row(&self) -> u64 {
        self.row
    }

    fn path(&self) -> &Path {
        &self.input.path
    }

    fn read_so_far(&self) -> Vec<FileDigest> {
        vec![self.file.read_so_far()]
    }

    fn position(&self) -> u64 {
        self.file.position()
    }

    fn finish(self: Box<Self>) -> Result<Vec<FileDigest>, CorpusError> {
        Ok(vec![self.file.finish()?])
    }
}

#[derive(Debug)]
struct ToyChunk {
    name: String,
    documents: Vec<String>,
}

impl Chunk for ToyChunk {
    fn bytes(&self) -> usize {
        self.documents.iter().map(String::len).sum()
    }

    fn documents(self: Box<Self>, _: &ReadOptions) -> Result<DocumentBatch, CorpusError> {
        let rows: Vec<u64> = (0..self.documents.len() as u64).collect();
        Ok(DocumentBatch {
            doc_ids: default_ids(&self.name, &rows),
            rows,
            content: BatchContent::Text(LargeStringArray::from(self.documents)),
            weights: None,
            carried: Vec::new(),
            conditions: Vec::new(),
            rejects: Vec::new(),
        })
    }
}

#[test]
#[allow(clippy::unwrap_used, reason = "test")]
fn a_format_of_one_file_is_found_read_and_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.toy"), "one;two;").unwrap();
    std::fs::write(folder.path().join("b.unknown"), "").unwrap();
    let resolve = |path: &Path| crate::resolve(&[path.to_str().unwrap().to_owned()], None);
    let inputs = resolve(folder.path()).unwrap().inputs;
    assert_eq!(inputs.iter().map(|input| &*input.name).collect::<Vec<_>>(), ["a.toy"]);
    let options = ReadOptions::new(crate::Content::Text { column: "text".into() });
    let mut source = inputs[0].open(&options, Part::WHOLE).unwrap();
    let batch = source.next_chunk().unwrap().unwrap().documents(&options).unwrap();
    assert_eq!(batch.doc_ids.iter().flatten().collect::<Vec<_>>(), ["a.toy:0", "a.toy:1"]);
    assert_eq!(source.finish().unwrap()[0].size, 8);
    assert_eq!(crate::Format::named("toy").unwrap().about(), FORMAT.about);
    assert!(resolve(&folder.path().join("b.unknown")).unwrap_err().to_string().contains(".toy"));
}
