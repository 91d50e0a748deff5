use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::ShardError;
use crate::file_set::SetFile;
use crate::staged::StagedFile;

/// Row groups are closed at about this size, in bytes: readers hold one of them in memory for a row of it.
const ROW_GROUP_BYTES: usize = 16 << 20;

/// A Parquet file in the making.
pub(super) struct ParquetFile {
    writer: ArrowWriter<StagedFile>,
    path: std::path::PathBuf,
}

impl ParquetFile {
    pub(super) fn new(file: StagedFile, schema: SchemaRef) -> Result<Self, ShardError> {
        let path = file.path().to_owned();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by("goldfish".into())
            .build();
        let writer = ArrowWriter::try_new(file, schema, Some(properties));
        Ok(Self { writer: writer.map_err(ShardError::parquet(&path))?, path })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), ShardError> {
        self.writer.write(batch).map_err(ShardError::parquet(&self.path))?;
        if self.writer.in_progress_size() >= ROW_GROUP_BYTES {
            self.writer.flush().map_err(ShardError::parquet(&self.path))?;
        }
        Ok(())
    }

    pub(super) fn finish(self, holds: &str) -> Result<SetFile, ShardError> {
        self.writer.into_inner().map_err(ShardError::parquet(&self.path))?.finish(holds)
    }
}
