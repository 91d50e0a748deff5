//! The record batches of Parquet and Arrow files, in units that can be read on their own: row groups, batches.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};
use goldfish_columnar::{FILE_MAGIC, ParquetFile};
use goldfish_storage::File;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};

use crate::Part;

/// Last bytes of a complete Arrow IPC stream.
pub(crate) const STREAM_END: [u8; 8] = [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];

/// Whether the file is of the Arrow IPC file format; leaves it at its start.
pub(crate) fn is_arrow_file(file: &mut File) -> std::io::Result<bool> {
    let mut magic = Vec::new();
    file.rewind()?;
    file.by_ref().take(FILE_MAGIC.len() as u64).read_to_end(&mut magic)?;
    file.rewind()?;
    Ok(magic == FILE_MAGIC)
}

/// Whether the file ends with `marker`; leaves the file at its start.
pub(crate) fn ends_with(file: &mut File, marker: &[u8; 8]) -> std::io::Result<bool> {
    let mut last = [0; 8];
    let long_enough = file.seek(SeekFrom::End(0))? >= 8;
    if long_enough {
        file.seek(SeekFrom::End(-8))?;
        file.read_exact(&mut last)?;
    }
    file.rewind()?;
    Ok(long_enough && last == *marker)
}

/// The record batches of a part of a file.
pub(crate) enum Batches {
    RowGroups(RowGroups),
    File(Box<FileBatches>),
    /// A stream can't be divided: all of it, or nothing.
    Stream(Option<Box<WholeStream>>),
}

impl Batches {
    pub(crate) fn next(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        match self {
            Self::RowGroups(groups) => groups.next(),
            Self::File(batches) => batches.next(),
            Self::Stream(stream) => stream.as_mut()?.next(),
        }
    }

    /// Passes over units from row `at` on that end before or at `row`; returns the row that comes next.
    pub(crate) fn pass_over(&mut self, at: u64, row: u64) -> Result<u64, ArrowError> {
        match self {
            Self::RowGroups(groups) => Ok(groups.pass_over(at, row)),
            Self::File(batches) => batches.pass_over(at, row),
            Self::Stream(_) => Ok(at),
        }
    }
}

/// Which units belong to a part of a file of `size` bytes, whose places in it are as their weights.
fn choose(weights: impl Iterator<Item = u64> + Clone, size: u64, part: Part) -> Range<usize> {
    let total: u128 = weights.clone().map(u128::from).sum();
    let mut before = 0u128;
    let places = weights.map(|weight| {
        let place = (u128::from(size) * before).checked_div(total).unwrap_or(0) as u64;
        before += u128::from(weight);
        place
    });
    let places: Vec<u64> = places.collect();
    let start = places.partition_point(|&place| place < part.start);
    start..places.partition_point(|&place| place < part.end).max(start)
}

/// Row groups of a Parquet file. No batch crosses from one into another, so that each can be read on its own.
pub(crate) struct RowGroups {
    file: ParquetFile,
    metadata: ArrowReaderMetadata,
    projection: ProjectionMask,
    batch_size: usize,
    groups: Range<usize>,
    current: Option<ParquetRecordBatchReader>,
}

impl RowGroups {
    /// The row groups of a part of a file of some size, and the row where they start.
    pub(crate) fn new(
        file: ParquetFile,
        metadata: ArrowReaderMetadata,
        projection: ProjectionMask,
        batch_size: usize,
        (size, part): (u64, Part),
    ) -> (Self, u64) {
        let all = metadata.metadata().row_groups();
        let groups = choose(all.iter().map(|group| group.compressed_size().max(0) as u64), size, part);
        let row = all[..groups.start].iter().map(|group| group.num_rows().max(0) as u64).sum();
        (Self { file, metadata, projection, batch_size, groups, current: None }, row)
    }

    fn next(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        loop {
            if let Some(batch) = self.current.as_mut().and_then(Iterator::next) {
                return Some(batch);
            }
            let group = self.groups.next()?;
            match self.open(group) {
                Ok(reader) => self.current = Some(reader),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn open(&self, group: usize) -> Result<ParquetRecordBatchReader, ArrowError> {
        let file = self.file.try_clone()?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
        let builder = builder.with_row_groups(vec![group]).with_projection(self.projection.clone());
        Ok(builder.with_batch_size(self.batch_size).build()?)
    }

    fn pass_over(&mut self, mut at: u64, row: u64) -> u64 {
        while let Some(group) = self.groups.clone().next() {
            let end = at + self.metadata.metadata().row_group(group).num_rows().max(0) as u64;
            if end > row {
                break;
            }
            self.groups.next();
            at = end;
        }
        at
    }
}

/// Record batches of the Arrow IPC file format.
pub(crate) struct FileBatches {
    file: File,
    reader: FileReader<BufReader<File>>,
    batches: Range<usize>,
}

impl FileBatches {
    /// The batches of a part of a file of some size, and the row where they start.
    pub(crate) fn new(
        file: File,
        reader: FileReader<BufReader<File>>,
        (size, part): (u64, Part),
    ) -> Result<(Self, u64), ArrowError> {
        let chosen = choose(std::iter::repeat_n(1, reader.num_batches()), size, part);
        let mut this = Self { file, reader, batches: 0..chosen.start };
        let row = this.pass_over(0, u64::MAX)?;
        this.batches = chosen;
        Ok((this, row))
    }

    fn next(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        let index = self.batches.next()?;
        if let Err(error) = self.reader.set_index(index) {
            return Some(Err(error));
        }
        self.reader.next()
    }

    /// Nothing but the batches themselves tells how many rows they have.
    fn pass_over(&mut self, mut at: u64, row: u64) -> Result<u64, ArrowError> {
        if self.batches.is_empty() || at >= row {
            return Ok(at);
        }
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        let mut counting = FileReader::try_new(BufReader::new(file), Some(Vec::new()))?;
        while let Some(index) = self.batches.clone().next() {
            counting.set_index(index)?;
            let rows = counting.next().transpose()?.map_or(0, |batch| batch.num_rows() as u64);
            if at + rows > row {
                break;
            }
            self.batches.next();
            at += rows;
        }
        Ok(at)
    }
}

/// A stream that must end where its file ends: what another stream behind it holds would be lost.
pub(crate) struct WholeStream(StreamReader<BufReader<File>>);

impl WholeStream {
    pub(crate) fn new(reader: StreamReader<BufReader<File>>) -> Self {
        Self(reader)
    }

    fn next(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        if let Some(batch) = self.0.next() {
            return Some(batch);
        }
        match self.0.get_mut().fill_buf() {
            Ok([]) => None,
            Ok(_) => {
                let reason =
                    "the stream ends before the file does; if several streams were joined, split them";
                Some(Err(ArrowError::IpcError(reason.into())))
            }
            Err(error) => Some(Err(error.into())),
        }
    }
}
