//! Apache Parquet.

use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use goldfish_columnar::{MAX_BATCH_BYTES, ParquetFile, check_parquet};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};

use crate::columnar::{Batches, ColumnarSource, Columns, claim_error, units_of_part};
use crate::error::CorpusError;
use crate::file::{LibraryFile, OpenedFile};
use crate::head::Head;
use crate::input::{FormatTable, Input};
use crate::options::{CHUNK_BYTES, ReadOptions};
use crate::paths::head_of_schema;
use crate::source::{Part, Source};

const NAME: &str = "parquet";

pub(super) static FORMAT: FormatTable = FormatTable {
    is_written: true,
    head: Some(head),
    ..FormatTable::new(NAME, "Apache Parquet", &[".parquet"], open)
};

fn head(input: &Input, paths: &[&str]) -> Result<Head, CorpusError> {
    let file = OpenedFile::open(&input.path)?;
    let parquet = ParquetFile::new(file.handle()?, file.size());
    let metadata = ArrowReaderMetadata::load(&parquet, ArrowReaderOptions::default());
    let metadata = metadata.map_err(|error| file.error(NAME, error.to_string()))?;
    Ok(head_of_schema(metadata.schema(), paths))
}

fn open(input: &Input, options: &ReadOptions, part: Part) -> Result<Box<dyn Source>, CorpusError> {
    let file = OpenedFile::open(&input.path)?;
    let error = |e: &dyn ToString| file.error(NAME, e.to_string());
    let parquet = ParquetFile::new(file.handle()?, file.size());
    let metadata = ArrowReaderMetadata::load(&parquet, ArrowReaderOptions::default());
    let metadata = metadata.map_err(|e| error(&e))?;
    let parquet = parquet.with_metadata(metadata.metadata());
    let columns = Columns::find(&input.path, metadata.schema(), options)?;
    let projection = ProjectionMask::roots(metadata.parquet_schema(), columns.projection.iter().copied());
    let groups = metadata.metadata().row_groups();
    let rows = groups.iter().map(|group| group.num_rows().max(0)).fold(0, i64::saturating_add);
    let bytes: i64 = groups
        .iter()
        .flat_map(|group| group.columns())
        .filter(|column| {
            let root = column.column_path().parts().first();
            root.is_some_and(|name| columns.names.contains(name))
        })
        .map(|column| column.uncompressed_size().max(0))
        .fold(0, i64::saturating_add);
    let wanted = |root: &str| columns.names.iter().any(|name| name == root);
    let claim = check_parquet(&parquet, metadata.metadata(), wanted).map_err(|e| claim_error(input, e))?;
    // Every row may hold the longest value of a dictionary, which counts once in the size of the column.
    let most = i64::try_from(MAX_BATCH_BYTES / 32 / claim.largest_dictionary.max(1)).unwrap_or(i64::MAX);
    let batch_size = (CHUNK_BYTES as i64 / (bytes / rows.max(1)).max(1)).min(most);
    let bytes_a_row = file.size() / (rows as u64).max(1);
    let batch_size = batch_size.clamp(1, 1 << 16) as usize;
    let part = (file.size(), part);
    let file = LibraryFile::Hashed(file.hash()?);
    let (groups, row) = RowGroups::new(parquet, metadata, projection, batch_size, part);
    Ok(Box::new(ColumnarSource::new(input, file, columns, (Box::new(groups), row), bytes_a_row)))
}

/// Row groups. No batch crosses from one into another, so that each can be read on its own.
struct RowGroups {
    file: ParquetFile,
    metadata: ArrowReaderMetadata,
    projection: ProjectionMask,
    batch_size: usize,
    groups: Range<usize>,
    current: Option<ParquetRecordBatchReader>,
}

impl RowGroups {
    /// The row groups of a part of a file of some size, and the row where they start.
    fn new(
        file: ParquetFile,
        metadata: ArrowReaderMetadata,
        projection: ProjectionMask,
        batch_size: usize,
        (size, part): (u64, Part),
    ) -> (Self, u64) {
        let all = metadata.metadata().row_groups();
        let groups = units_of_part(all.iter().map(|group| group.compressed_size().max(0) as u64), size, part);
        let row = all[..groups.start].iter().map(|group| group.num_rows().max(0) as u64).sum();
        (Self { file, metadata, projection, batch_size, groups, current: None }, row)
    }

    fn open(&self, group: usize) -> Result<ParquetRecordBatchReader, ArrowError> {
        let file = self.file.try_clone()?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
        let builder = builder.with_row_groups(vec![group]).with_projection(self.projection.clone());
        Ok(builder.with_batch_size(self.batch_size).build()?)
    }
}

impl Batches for RowGroups {
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

    fn skip(&mut self, mut at: u64, row: u64) -> Result<u64, ArrowError> {
        while let Some(group) = self.groups.clone().next() {
            let end = at + self.metadata.metadata().row_group(group).num_rows().max(0) as u64;
            if end > row {
                break;
            }
            self.groups.next();
            at = end;
        }
        Ok(at)
    }
}
