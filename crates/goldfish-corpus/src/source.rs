use arrow::datatypes::FieldRef;

use crate::columnar::{self, ColumnChunk};
use crate::jsonl::{self, LineChunk};
use crate::packed::PackedChunk;
use crate::text::{self, TextChunk};
use crate::{CorpusError, DocumentBatch, FileDigest, Format, Input, ReadOptions, datatrove, megatron, olmo};

/// One input, read from its start in chunks of some hundred kibibytes.
pub trait Source: Send {
    /// The fields of the carried columns, in the order of [`ReadOptions::carry`].
    fn carried(&self) -> &[FieldRef];

    /// Reads the next stretch of whole documents; `None` at the end.
    ///
    /// # Errors
    ///
    /// If the file can't be read or is not well-formed; the rest of it is out of reach then.
    fn next_chunk(&mut self) -> Result<Option<Chunk>, CorpusError>;

    /// Bytes of the main file that lie behind the last chunk: an estimate, for progress bars.
    fn position(&self) -> u64;

    /// Size and hash of the input's files, the main one first; reads what was not read yet.
    ///
    /// # Errors
    ///
    /// If a file can't be read to its end or changed since it was opened.
    fn finish(self: Box<Self>) -> Result<Vec<FileDigest>, CorpusError>;
}

/// A stretch of an input that holds whole documents and is not parsed yet.
#[derive(Debug)]
pub struct Chunk(pub(crate) ChunkKind);

#[derive(Debug)]
pub(crate) enum ChunkKind {
    Lines(LineChunk),
    Text(TextChunk),
    Columns(ColumnChunk),
    Packed(PackedChunk),
}

impl Chunk {
    /// Bytes of input in the chunk: its weight in memory and in progress bars.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.0 {
            ChunkKind::Lines(chunk) => chunk.bytes(),
            ChunkKind::Text(chunk) => chunk.bytes(),
            ChunkKind::Columns(chunk) => chunk.bytes(),
            ChunkKind::Packed(chunk) => chunk.bytes(),
        }
    }

    /// Parses the chunk. `options` must be those the source was opened with.
    ///
    /// # Errors
    ///
    /// If the chunk as a whole can't be used; a single bad row is a reject, not an error.
    pub fn documents(self, options: &ReadOptions) -> Result<DocumentBatch, CorpusError> {
        match self.0 {
            ChunkKind::Lines(chunk) => Ok(chunk.documents(options)),
            ChunkKind::Text(chunk) => Ok(chunk.documents()),
            ChunkKind::Columns(chunk) => chunk.documents(options),
            ChunkKind::Packed(chunk) => Ok(chunk.documents(options)),
        }
    }
}

/// Opens an input.
///
/// # Errors
///
/// If the file (or a companion) can't be opened, its head is not of the format, a column is missing or of
/// the wrong type, or the options don't fit the format.
pub fn open(input: &Input, options: &ReadOptions) -> Result<Box<dyn Source>, CorpusError> {
    Ok(match input.format {
        Format::Jsonl => Box::new(jsonl::JsonlSource::open(input, options)?),
        Format::Text => Box::new(text::TextSource::open(input, options)?),
        Format::Parquet => Box::new(columnar::ColumnarSource::open_parquet(input, options)?),
        Format::Arrow => Box::new(columnar::ColumnarSource::open_arrow(input, options)?),
        Format::Megatron => Box::new(megatron::MegatronSource::open(input, options)?),
        Format::Olmo => Box::new(olmo::OlmoSource::open(input, options)?),
        Format::Datatrove => Box::new(datatrove::DatatroveSource::open(input, options)?),
    })
}
