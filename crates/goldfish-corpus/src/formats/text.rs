//! One document a file.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use arrow::array::LargeStringArray;
use arrow::datatypes::FieldRef;

use goldfish_digest::FileDigest;

use crate::batch::{BatchContent, DocumentBatch, default_ids};
use crate::error::CorpusError;
use crate::file::Decompressed;
use crate::input::{FormatTable, Input};
use crate::options::{Content, ReadOptions};
use crate::reject::RowError;
use crate::source::{Chunk, Part, Source};

const NAME: &str = "text";

pub(super) static FORMAT: FormatTable = FormatTable {
    from_stdin: true,
    compressed_endings: &[".txt", ".text", ".md"],
    is_divisible: |_| Ok(false),
    has_columns: false,
    ..FormatTable::new(NAME, "One document a file", &[".txt", ".text", ".md"], |input, options, part| {
        Ok(Box::new(TextSource::open(input, options, part)?))
    })
};

struct TextSource {
    input: Input,
    file: Decompressed,
    part: Part,
    row: u64,
    /// Longest text, in bytes.
    longest: usize,
}

impl TextSource {
    fn open(input: &Input, options: &ReadOptions, part: Part) -> Result<Self, CorpusError> {
        if matches!(options.content, Content::Ids { .. }) {
            return Err(CorpusError::NoIds { path: input.path.to_path_buf(), format: NAME });
        }
        input.check_columns(options, &[])?;
        Ok(Self {
            input: input.clone(),
            file: Decompressed::open(&input.path, NAME)?,
            part,
            row: 0,
            longest: options.max_bytes(),
        })
    }
}

impl Source for TextSource {
    fn carried(&self) -> &[FieldRef] {
        &[]
    }

    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>, CorpusError> {
        if self.row > 0 || !self.part.contains(0) {
            return Ok(None);
        }
        self.row = 1;
        let mut bytes = Vec::new();
        (&mut self.file)
            .take(self.longest as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| self.file.file().error(NAME, format!("{e}, after {} bytes of text", bytes.len())))?;
        if bytes.len() > self.longest {
            let reason = format!("the document is longer than {} bytes", self.longest);
            return Err(self.input.unreadable_document(RowError::too_long(&reason)));
        }
        let name = self.input.name.clone();
        Ok(Some(Box::new(TextChunk { name, bytes })))
    }

    fn row(&self) -> u64 {
        self.row
    }

    fn path(&self) -> &Path {
        &self.input.path
    }

    fn read_so_far(&self) -> Vec<FileDigest> {
        vec![self.file.file().read_so_far()]
    }

    fn position(&self) -> u64 {
        self.file.file().position()
    }

    fn finish(self: Box<Self>) -> Result<Vec<FileDigest>, CorpusError> {
        Ok(vec![self.file.finish()?])
    }
}

#[derive(Debug)]
struct TextChunk {
    name: Arc<str>,
    bytes: Vec<u8>,
}

impl Chunk for TextChunk {
    fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn documents(self: Box<Self>, _: &ReadOptions) -> Result<DocumentBatch, CorpusError> {
        let bytes = self.bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&self.bytes);
        let (text, rejects) = match std::str::from_utf8(bytes) {
            Ok(text) => (vec![text], Vec::new()),
            Err(error) => {
                let offset = (error.valid_up_to() + self.bytes.len() - bytes.len()) as u64;
                let reject = RowError::from("not UTF-8".to_owned()).reject(&self.name, 0, Some(offset));
                (Vec::new(), vec![reject])
            }
        };
        let rows = vec![0; text.len()];
        Ok(DocumentBatch {
            doc_ids: default_ids(&self.name, &rows),
            rows,
            content: BatchContent::Text(LargeStringArray::from(text)),
            weights: None,
            carried: Vec::new(),
            conditions: Vec::new(),
            rejects,
        })
    }
}
