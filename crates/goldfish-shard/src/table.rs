//! Lists that are too long for a manifest: Parquet files beside it.

use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;
use goldfish_columnar::{ColumnarError, MAX_BATCH_BYTES, ParquetFile, check_parquet, guarded};
use goldfish_digest::{FileDigest, HashingReader};
use goldfish_storage::File;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ShardError;

/// Inputs that a manifest lists; more of them are in a table next to it.
pub const MAX_LISTED_INPUTS: usize = 4096;

/// Inputs that a run may have.
pub const MAX_INPUTS: u64 = 1 << 24;

/// Rows that are encoded or decoded at once.
pub(crate) const BATCH_ROWS: usize = 1024;

/// Parquet row groups, of shards too, are closed at about this size, in bytes.
pub(crate) const ROW_GROUP_BYTES: usize = 64 << 20;

/// Most rows of a row group of a table.
const ROW_GROUP_ROWS: usize = 1 << 20;

/// A list in a Parquet file beside the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableEntry {
    /// File name in the folder.
    pub name: String,
    /// Rows.
    pub rows: u64,
    /// Bytes in the file.
    pub size: u64,
    /// `xxh3_128:` and 32 hex digits over the file.
    pub hash: String,
}

/// An entry of a manifest that can be a row of a table.
pub(crate) trait Row: Sized {
    /// Rows that a table may have.
    const MOST: u64 = MAX_INPUTS;

    /// The columns.
    fn fields() -> Vec<Field>;

    /// Rows as a batch of those columns.
    fn encode(rows: &[Self], schema: Arc<Schema>) -> Result<RecordBatch, ArrowError>;

    /// The rows of a batch, whose columns are those; `None` if a value is missing.
    fn decode(batch: &RecordBatch) -> Option<Vec<Self>>;
}

/// The file of a table, and what the manifest says about it.
pub(crate) fn encode<R: Row>(name: &str, rows: &[R]) -> Result<(TableEntry, Vec<u8>), ShardError> {
    let write = || -> Result<_, ParquetError> {
        let mut writer = TableWriter::new::<R>(Vec::new())?;
        rows.chunks(BATCH_ROWS).try_for_each(|rows| writer.write(rows))?;
        writer.finish()
    };
    let (rows, bytes) = write().map_err(ShardError::parquet(Path::new(name)))?;
    let FileDigest { size, hash } = FileDigest::of(&bytes);
    Ok((TableEntry { name: name.to_owned(), rows, size, hash }, bytes))
}

/// Writes a table, of which one row group is in memory.
pub(crate) struct TableWriter<W: Write + Send> {
    writer: ArrowWriter<W>,
    schema: Arc<Schema>,
    rows: u64,
}

impl<W: Write + Send> TableWriter<W> {
    pub(crate) fn new<R: Row>(sink: W) -> Result<Self, ParquetError> {
        let schema = Arc::new(Schema::new(R::fields()));
        // Names and hashes differ in each row, so that a dictionary would only add to them; rows are never looked up by order.
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_created_by("goldfish".into())
            .build();
        let writer = ArrowWriter::try_new(sink, schema.clone(), Some(properties))?;
        Ok(Self { writer, schema, rows: 0 })
    }

    /// Adds rows, which are encoded together. They are of the type that the table was made for.
    pub(crate) fn write<R: Row>(&mut self, rows: &[R]) -> Result<(), ParquetError> {
        self.writer.write(&R::encode(rows, self.schema.clone())?)?;
        self.rows += rows.len() as u64;
        if self.writer.in_progress_size() >= ROW_GROUP_BYTES { self.writer.flush() } else { Ok(()) }
    }

    /// Ends the table; returns its rows, and where it was written to.
    pub(crate) fn finish(self) -> Result<(u64, W), ParquetError> {
        Ok((self.rows, self.writer.into_inner()?))
    }
}

/// Reads a table row by row. After an error there are no more rows.
pub(crate) struct TableReader<R> {
    path: PathBuf,
    batches: Option<ParquetRecordBatchReader>,
    rows: std::vec::IntoIter<R>,
}

impl<R: Row> TableReader<R> {
    /// Opens a table, if it is the one in the manifest. `name` is what such a table is called.
    ///
    /// # Errors
    ///
    /// If there is none, it is another one, or it can't be read.
    pub(crate) fn open(folder: &Path, entry: &TableEntry, name: &str) -> Result<Self, ShardError> {
        Self::open_at(folder.join(name), entry, name)
    }

    /// Opens a table as [`TableReader::open`] does, wherever it is now.
    pub(crate) fn open_at(path: PathBuf, entry: &TableEntry, name: &str) -> Result<Self, ShardError> {
        let bad = |reason: String| ShardError::BadManifest { path: path.clone(), reason };
        if entry.name != name || entry.rows > R::MOST {
            return Err(bad(format!("the manifest says {} rows in {:?}", entry.rows, entry.name)));
        }
        let (mut file, metadata) = File::open_regular(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => bad("missing, but in the manifest; restore it from a copy".into()),
            io::ErrorKind::InvalidInput => bad(error.to_string()),
            _ => ShardError::io(&path, "opening")(error),
        })?;
        if metadata.size == entry.size {
            let read = HashingReader::new(file).finish();
            let (digest, read) = read.map_err(ShardError::io(&path, "reading"))?;
            file = read;
            if digest.hash == entry.hash && digest.size == entry.size {
                file.rewind().map_err(ShardError::io(&path, "reading"))?;
                let file = ParquetFile::new(file, entry.size);
                let opened = guarded(|| Self::batches(&path, file, entry.rows));
                let batches =
                    opened.unwrap_or_else(|panic| Err(bad(format!("its reader failed: {panic}"))))?;
                return Ok(Self { path, batches: Some(batches), rows: Vec::new().into_iter() });
            }
        }
        Err(bad(
            "not as it was written: size or hash differ from those in the manifest; restore it from a copy"
                .into(),
        ))
    }

    fn batches(path: &Path, file: ParquetFile, rows: u64) -> Result<ParquetRecordBatchReader, ShardError> {
        let bad = |reason: String| ShardError::BadManifest { path: path.to_owned(), reason };
        let pages = file.try_clone().map_err(ShardError::io(path, "opening"))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(ShardError::parquet(path))?;
        let claim = check_parquet(&pages, builder.metadata(), |_| true).map_err(|error| match error {
            ColumnarError::Io(source) => ShardError::io(path, "reading")(source),
            claim => bad(claim.to_string()),
        })?;
        let types = |fields: &mut dyn Iterator<Item = &Field>| -> Vec<_> {
            fields.map(|field| (field.name().clone(), field.data_type().clone())).collect()
        };
        let found = types(&mut builder.schema().fields().iter().map(|field| &**field));
        let expected = types(&mut R::fields().iter());
        if found != expected {
            let names: Vec<_> = expected.into_iter().map(|(name, _)| name).collect();
            return Err(bad(format!("not a table of goldfish: the columns are not {}", names.join(", "))));
        }
        let counted = builder.metadata().file_metadata().num_rows();
        if u64::try_from(counted).ok() != Some(rows) {
            return Err(bad(format!("{counted} rows, but the manifest says {rows}")));
        }
        let most = MAX_BATCH_BYTES / 32 / claim.largest_dictionary.max(1);
        let at_once = usize::try_from(most).unwrap_or(usize::MAX).clamp(1, BATCH_ROWS);
        builder.with_batch_size(at_once).build().map_err(ShardError::parquet(path))
    }

    fn next_batch(&mut self) -> Option<Result<Vec<R>, ShardError>> {
        let batches = self.batches.as_mut()?;
        let bad = |reason: String| ShardError::BadManifest { path: self.path.clone(), reason };
        let decoded = guarded(|| {
            let batch = batches.next()?;
            let decoded = batch.map_err(ShardError::arrow(&self.path));
            Some(decoded.and_then(|batch| {
                R::decode(&batch).ok_or_else(|| bad("not a table of goldfish: values are missing".into()))
            }))
        });
        decoded.unwrap_or_else(|panic| Some(Err(bad(format!("its reader failed: {panic}")))))
    }
}

impl<R: Row> Iterator for TableReader<R> {
    type Item = Result<R, ShardError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.rows.next() {
                return Some(Ok(row));
            }
            match self.next_batch() {
                Some(Ok(rows)) => self.rows = rows.into_iter(),
                Some(Err(error)) => {
                    self.batches = None;
                    return Some(Err(error));
                }
                None => return None,
            }
        }
    }
}
