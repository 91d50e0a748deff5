//! Reading an input: chunks in order, which are parsed later.

use std::fmt::Debug;
use std::path::Path;

use arrow::datatypes::FieldRef;
use goldfish_digest::FileDigest;

use crate::batch::DocumentBatch;
use crate::error::CorpusError;
use crate::options::ReadOptions;

/// Which documents of an input are read: those that start at the bytes `start..end` of its main file.
///
/// The start of a document is a number that rises from 0 with its row; for columns and indexed memmaps it is
/// that of the row group, record batch or tokens that hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// First byte.
    pub start: u64,
    /// Byte after the last one.
    pub end: u64,
}

impl Part {
    /// All of an input.
    pub const WHOLE: Self = Self { start: 0, end: u64::MAX };

    pub(crate) fn contains(self, offset: u64) -> bool {
        (self.start..self.end).contains(&offset)
    }
}

/// One input or a part of it, read from start to end in chunks of some hundred kibibytes.
///
/// Where chunks end depends on the input and the part alone, so that reading can resume after any of them.
pub trait Source: Send {
    /// The fields of the carried columns, in the order of [`ReadOptions::carry`].
    fn carried(&self) -> &[FieldRef];

    /// Reads the next whole documents; `None` at the end.
    ///
    /// # Errors
    ///
    /// If the file can't be read or is not well-formed; the rest of it can't be reached then.
    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>, CorpusError>;

    /// Row of the input after the last chunk.
    fn row(&self) -> u64;

    /// Skips the chunks before `row`, where one of them must end, without parsing them.
    ///
    /// # Errors
    ///
    /// If the file can't be read or is not well-formed, or no chunk ends at `row`, which means that it is not
    /// the file that was read before.
    fn skip_to(&mut self, row: u64) -> Result<(), CorpusError> {
        while self.row() < row && self.next_chunk()?.is_some() {}
        self.check_row(row)
    }

    /// Whether the last chunk ended at `row`, for [`Source::skip_to`].
    ///
    /// # Errors
    ///
    /// If not.
    fn check_row(&self, row: u64) -> Result<(), CorpusError> {
        if self.row() == row {
            return Ok(());
        }
        Err(CorpusError::NoChunkEnd { path: self.path().to_owned(), row })
    }

    /// The input's main file.
    fn path(&self) -> &Path;

    /// Size and hash of what was read for the chunks so far, or more: a prefix of each of the input's files, the
    /// main one first.
    fn read_so_far(&self) -> Vec<FileDigest>;

    /// Bytes of the main file before the end of the last chunk: an estimate, for progress bars.
    fn position(&self) -> u64;

    /// Size and hash of the input's files, the main one first; reads what was not read yet.
    ///
    /// # Errors
    ///
    /// If a file can't be read to its end or changed since it was opened.
    fn finish(self: Box<Self>) -> Result<Vec<FileDigest>, CorpusError>;
}

/// Consecutive whole documents of an input, not parsed yet.
pub trait Chunk: Debug + Send {
    /// Bytes of input in the chunk: its weight in memory and in progress bars.
    fn bytes(&self) -> usize;

    /// Parses the chunk. `options` must be those the source was opened with.
    ///
    /// # Errors
    ///
    /// If the chunk as a whole can't be used; a single bad row is a reject, not an error.
    fn documents(self: Box<Self>, options: &ReadOptions) -> Result<DocumentBatch, CorpusError>;
}
