use arrow::datatypes::FieldRef;

use crate::columnar::{self, ColumnChunk};
use crate::jsonl::{self, LineChunk};
use crate::packed::PackedChunk;
use crate::text::{self, TextChunk};
use crate::{CorpusError, DocumentBatch, FileDigest, Format, Input, ReadOptions, datatrove, megatron, olmo};

/// Which documents of an input are read: those that start at the bytes `start..end` of its main file.
///
/// Where a document starts is a number that rises from 0 with its row; for columns and indexed memmaps it is
/// that of the row group, record batch or tokens that hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// First byte.
    pub start: u64,
    /// Byte behind the last one.
    pub end: u64,
}

impl Part {
    /// All of an input.
    pub const WHOLE: Self = Self { start: 0, end: u64::MAX };

    pub(crate) fn holds(self, place: u64) -> bool {
        (self.start..self.end).contains(&place)
    }
}

/// One input or a part of it, read from start to end in chunks of some hundred kibibytes.
///
/// Where chunks end depends on the input and the part alone, so that reading can be taken up at any of them.
pub trait Source: Send {
    /// The fields of the carried columns, in the order of [`ReadOptions::carry`].
    fn carried(&self) -> &[FieldRef];

    /// Reads the next stretch of whole documents; `None` at the end.
    ///
    /// # Errors
    ///
    /// If the file can't be read or is not well-formed; the rest of it is out of reach then.
    fn next_chunk(&mut self) -> Result<Option<Chunk>, CorpusError>;

    /// Row of the input behind the last chunk.
    fn row(&self) -> u64;

    /// Passes over the chunks before `row`, where one of them must end, without parsing them.
    ///
    /// # Errors
    ///
    /// If the file can't be read or is not well-formed, or no chunk ends at `row`, which means that it is not
    /// the file that was read before.
    fn skip_to(&mut self, row: u64) -> Result<(), CorpusError> {
        while self.row() < row && self.next_chunk()?.is_some() {}
        if self.row() == row { Ok(()) } else { Err(self.not_a_place(row)) }
    }

    /// The error of [`Source::skip_to`] for a row where no chunk ends.
    fn not_a_place(&self, row: u64) -> CorpusError;

    /// Size and hash of what has gone into the chunks so far, or more: a start of each of the input's files, the
    /// main one first.
    fn read_so_far(&self) -> Vec<FileDigest>;

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

/// Opens an input, to read a part of it. One that can't be [divided](Input::is_divisible) is read whole where the
/// part holds its start, else not at all.
///
/// # Errors
///
/// If the file (or a companion) can't be opened, its head is not of the format, a column is missing or of
/// the wrong type, or the options don't fit the format.
pub fn open(input: &Input, options: &ReadOptions, part: Part) -> Result<Box<dyn Source>, CorpusError> {
    Ok(match input.format {
        Format::Jsonl => Box::new(jsonl::JsonlSource::open(input, options, part)?),
        Format::Text => Box::new(text::TextSource::open(input, options, part)?),
        Format::Parquet => Box::new(columnar::ColumnarSource::open_parquet(input, options, part)?),
        Format::Arrow => Box::new(columnar::ColumnarSource::open_arrow(input, options, part)?),
        Format::Megatron => Box::new(megatron::MegatronSource::open(input, options, part)?),
        Format::Olmo => Box::new(olmo::OlmoSource::open(input, options, part)?),
        Format::Datatrove => Box::new(datatrove::DatatroveSource::open(input, options, part)?),
    })
}
