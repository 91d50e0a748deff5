//! One document a file.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use arrow::array::LargeStringArray;
use arrow::datatypes::FieldRef;

use crate::batch::default_ids;
use crate::file::Decompressed;
use crate::source::{Chunk, ChunkKind, Part, Source};
use crate::{
    BatchContent, Content, CorpusError, DocumentBatch, FileDigest, Format, Input, ReadOptions, Reject,
};

pub(crate) struct TextSource {
    input: Input,
    file: Decompressed,
    part: Part,
    row: u64,
    /// Longest text, in bytes.
    longest: usize,
}

impl TextSource {
    pub(crate) fn open(input: &Input, options: &ReadOptions, part: Part) -> Result<Self, CorpusError> {
        let refuse =
            |reason: &str| CorpusError::Options { path: input.path.to_path_buf(), reason: reason.into() };
        if matches!(options.content, Content::Ids { .. }) {
            return Err(refuse("a text file holds no token ids; give a --tokenizer and no --ids-column"));
        }
        if options.id_column.is_some() || !options.carry.is_empty() {
            return Err(refuse("a text file has no columns; leave out --id-column and --carry"));
        }
        Ok(Self {
            input: input.clone(),
            file: Decompressed::open(&input.path, input.format)?,
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

    fn next_chunk(&mut self) -> Result<Option<Chunk>, CorpusError> {
        if self.row > 0 || !self.part.holds(0) {
            return Ok(None);
        }
        self.row = 1;
        let fault = |reason: String| CorpusError::malformed(&self.input.path, Format::Text, reason);
        let mut bytes = Vec::new();
        (&mut self.file).take(self.longest as u64 + 1).read_to_end(&mut bytes).map_err(|e| {
            self.file.file().fault(Format::Text, format!("{e}, after {} bytes of text", bytes.len()))
        })?;
        let longest = self.longest;
        if bytes.len() > longest {
            return Err(fault(format!(
                "the document is longer than {longest} bytes; split it, or give --max-document"
            )));
        }
        let name = self.input.name.clone();
        Ok(Some(Chunk(ChunkKind::Text(TextChunk { name, bytes }))))
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
pub(crate) struct TextChunk {
    name: Arc<str>,
    bytes: Vec<u8>,
}

impl TextChunk {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn documents(self) -> DocumentBatch {
        let bytes = self.bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&self.bytes);
        let (text, rejects) = match std::str::from_utf8(bytes) {
            Ok(text) => (vec![text], Vec::new()),
            Err(error) => {
                let reject = Reject {
                    file: self.name.to_string(),
                    row: 0,
                    offset: Some((error.valid_up_to() + self.bytes.len() - bytes.len()) as u64),
                    reason: "not UTF-8".into(),
                };
                (Vec::new(), vec![reject])
            }
        };
        let rows = vec![0; text.len()];
        DocumentBatch {
            doc_ids: default_ids(&self.name, &rows),
            rows,
            content: BatchContent::Text(LargeStringArray::from(text)),
            carried: Vec::new(),
            rejects,
        }
    }
}
