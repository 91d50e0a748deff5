//! The encoding of shards.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::ipc::writer::{FileWriter, StreamWriter};
use goldfish_digest::HashingWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::ShardError;
use crate::schema::{OutputFormat, ShardSchema};
use crate::table::ROW_GROUP_BYTES;

/// Encodes batches into a file.
pub(crate) enum Encoder<W: Write + Send> {
    Stream(Box<StreamWriter<W>>),
    File(Box<FileWriter<W>>),
    Parquet(Box<ArrowWriter<W>>),
}

impl<W: Write + Send> Encoder<W> {
    /// `path` is what errors name.
    pub(crate) fn new(
        sink: W,
        schema: &ShardSchema,
        format: OutputFormat,
        path: &Path,
    ) -> Result<Self, ShardError> {
        let schema = schema.arrow();
        Ok(match format {
            OutputFormat::ArrowStream => {
                Self::Stream(Box::new(StreamWriter::try_new(sink, schema).map_err(ShardError::arrow(path))?))
            }
            OutputFormat::ArrowFile => {
                Self::File(Box::new(FileWriter::try_new(sink, schema).map_err(ShardError::arrow(path))?))
            }
            OutputFormat::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_created_by("goldfish".into())
                    .build();
                let writer = ArrowWriter::try_new(sink, schema.clone(), Some(properties));
                Self::Parquet(Box::new(writer.map_err(ShardError::parquet(path))?))
            }
        })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch, path: &Path) -> Result<(), ShardError> {
        match self {
            Self::Stream(writer) => writer.write(batch).map_err(ShardError::arrow(path)),
            Self::File(writer) => writer.write(batch).map_err(ShardError::arrow(path)),
            Self::Parquet(writer) => {
                writer.write(batch).map_err(ShardError::parquet(path))?;
                if writer.in_progress_size() < ROW_GROUP_BYTES {
                    return Ok(());
                }
                writer.flush().map_err(ShardError::parquet(path))
            }
        }
    }

    /// Ends the file.
    pub(crate) fn finish(self, path: &Path) -> Result<W, ShardError> {
        match self {
            Self::Stream(mut writer) => {
                writer.finish().and_then(|()| writer.into_inner()).map_err(ShardError::arrow(path))
            }
            Self::File(mut writer) => {
                writer.finish().and_then(|()| writer.into_inner()).map_err(ShardError::arrow(path))
            }
            Self::Parquet(writer) => writer.into_inner().map_err(ShardError::parquet(path)),
        }
    }
}

/// A shard that is encoded and hashed, and goes nowhere: for how large it would be, and how long it takes.
pub struct UnwrittenShard(Encoder<BufWriter<HashingWriter<io::Sink>>>);

impl UnwrittenShard {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// If the columns can't be encoded.
    pub fn new(schema: &ShardSchema, format: OutputFormat) -> Result<Self, ShardError> {
        let sink = BufWriter::new(HashingWriter::new(io::sink()));
        Ok(Self(Encoder::new(sink, schema, format, Path::new("a shard"))?))
    }

    /// Appends the rows of a batch.
    ///
    /// # Errors
    ///
    /// If the batch doesn't have the shard's columns.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), ShardError> {
        self.0.write(batch, Path::new("a shard"))
    }

    /// The size of the whole file, in bytes.
    ///
    /// # Errors
    ///
    /// If the last rows can't be encoded.
    pub fn finish(self) -> Result<u64, ShardError> {
        let path = Path::new("a shard");
        let sink = self.0.finish(path)?.into_inner();
        let sink = sink.map_err(|error| ShardError::io(path, "encoding")(error.into_error()))?;
        Ok(sink.finish().0.size)
    }
}
