//! Parquet files on a disk or in an object store.

use std::io::{self, BufReader, Read};
use std::sync::Arc;

use bytes::Bytes;
use goldfish_storage::File;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

/// A file for the readers of the `parquet` crate.
///
/// What is read of an object in order is fetched ahead, for some columns at the same time.
#[derive(Debug)]
pub struct ParquetFile {
    file: Arc<File>,
    size: u64,
}

impl ParquetFile {
    /// A file of `size` bytes.
    #[must_use]
    pub fn new(file: File, size: u64) -> Self {
        Self { file: Arc::new(file), size }
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
        Ok(Self::new(self.file.try_clone()?, self.size))
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
            Some(file) => {
                let (file, buffered) = (file.get_read(start)?.into_inner(), PartReader::Disk);
                BufReader::new(buffered(file))
            }
            None => BufReader::new(PartReader::Store { file: self.file.clone(), place: start }),
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
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// A file from some place on.
#[derive(Debug)]
pub enum PartReader {
    /// A handle that stands there.
    Disk(std::fs::File),
    /// An object, whatever other readers of it do.
    Store {
        /// The object.
        file: Arc<File>,
        /// The place, in bytes.
        place: u64,
    },
}

impl Read for PartReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Disk(file) => file.read(buffer),
            Self::Store { file, place } => {
                let read = file.read_at(buffer, *place)?;
                *place += read as u64;
                Ok(read)
            }
        }
    }
}
