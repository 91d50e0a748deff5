//! Parquet files on a disk or in an object store.

use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use goldfish_storage::File;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::{ChunkReader, Length};

/// A file for the readers of the `parquet` crate.
///
/// What is read of an object in order is fetched ahead, for some columns at the same time.
#[derive(Debug)]
pub struct ParquetFile {
    file: Arc<File>,
    size: u64,
    /// The ranges of an object's column chunks, so that nothing is fetched that a reader of one doesn't read.
    chunks: Arc<[Range<u64>]>,
}

impl ParquetFile {
    /// A file of `size` bytes.
    #[must_use]
    pub fn new(file: File, size: u64) -> Self {
        Self { file: Arc::new(file), size, chunks: Arc::new([]) }
    }

    /// The same file, whose metadata is known now: nothing of an object is fetched after the end of a column chunk.
    #[must_use]
    pub fn with_metadata(mut self, metadata: &ParquetMetaData) -> Self {
        if self.file.disk().is_none() {
            let chunks = metadata.row_groups().iter().flat_map(|group| group.columns());
            let range = |chunk: &ColumnChunkMetaData| {
                let first = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
                let (start, bytes) =
                    (u64::try_from(first).ok()?, u64::try_from(chunk.compressed_size()).ok()?);
                Some(start..start.checked_add(bytes)?)
            };
            let mut chunks: Vec<_> = chunks.filter_map(range).collect();
            chunks.sort_by_key(|chunk| chunk.start);
            self.chunks = chunks.into();
        }
        self
    }

    /// Where a reader that starts at an offset will stop, as far as is known.
    fn end_of(&self, offset: u64) -> u64 {
        let before = self.chunks.partition_point(|chunk| chunk.start <= offset);
        let chunk = before.checked_sub(1).map(|last| &self.chunks[last]);
        chunk.filter(|chunk| chunk.contains(&offset)).map_or(self.size, |chunk| chunk.end)
    }

    /// Its size when it was opened, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Another handle, with nothing fetched ahead.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { file: Arc::new(self.file.try_clone()?), size: self.size, chunks: self.chunks.clone() })
    }
}

impl Length for ParquetFile {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for ParquetFile {
    type T = BufReader<PartReader>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(match self.file.disk() {
            Some(file) => BufReader::new(PartReader::Disk(file.get_read(start)?.into_inner())),
            None => BufReader::new(PartReader::Store {
                file: self.file.clone(),
                offset: start,
                end: self.end_of(start),
            }),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        if let Some(file) = self.file.disk() {
            return file.get_bytes(start, length);
        }
        let left = self.size.saturating_sub(start);
        if length as u64 > left {
            return Err(ParquetError::EOF(format!(
                "expected {length} bytes at {start}, but there are {left}"
            )));
        }
        let mut bytes = vec![0; length];
        let mut reader =
            PartReader::Store { file: self.file.clone(), offset: start, end: start + length as u64 };
        reader.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// A file from an offset on.
#[derive(Debug)]
pub enum PartReader {
    /// A handle with this position.
    Disk(std::fs::File),
    /// An object, whatever other readers of it do.
    Store {
        /// The object.
        file: Arc<File>,
        /// The offset, in bytes.
        offset: u64,
        /// Where its readers stop.
        end: u64,
    },
}

impl Read for PartReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Disk(file) => file.read(buffer),
            Self::Store { file, offset, end } => {
                let read = file.read_at_before(buffer, *offset, *end)?;
                *offset += read as u64;
                Ok(read)
            }
        }
    }
}
