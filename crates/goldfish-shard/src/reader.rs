use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Float32Type, Int32Type, SchemaRef, UInt8Type};
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};
use goldfish_columnar::{ColumnarError, MAX_BATCH_BYTES, ParquetFile, check_ipc, check_parquet, guarded};
use goldfish_storage::File;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::ShardError;
use crate::manifest::{Manifest, POLICY_COLUMN};
use crate::schema::{ExtraColumn, OutputFormat};

/// Bytes read ahead: columns of a batch are mostly larger, and then come straight from the file.
const BUFFER: usize = 64 << 10;

/// Rows read at once from a Parquet shard.
const PARQUET_ROWS: usize = 1024;

/// Reads one shard in record batches.
pub struct ShardReader {
    path: PathBuf,
    schema: SchemaRef,
    batches: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>,
}

impl ShardReader {
    /// Opens a shard.
    ///
    /// # Errors
    ///
    /// If it can't be opened, isn't of the format, or lacks the columns of a shard.
    pub fn open(path: &Path, format: OutputFormat) -> Result<Self, ShardError> {
        guarded(|| Self::open_unguarded(path, format)).unwrap_or_else(|panic| Err(panicked(path, &panic)))
    }

    fn open_unguarded(path: &Path, format: OutputFormat) -> Result<Self, ShardError> {
        let (mut file, metadata) = File::open_regular(path).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => {
                let reason = format!("{error}; verify the folder");
                ShardError::BadShard { path: path.to_owned(), reason }
            }
            _ => ShardError::io(path, "opening")(error),
        })?;
        if format != OutputFormat::Parquet {
            check_ipc(&mut file).map_err(|error| claimed(path, error))?;
        }
        let (schema, batches): (_, Box<dyn Iterator<Item = _> + Send>) = match format {
            OutputFormat::ArrowStream => {
                let reader = StreamReader::try_new(BufReader::with_capacity(BUFFER, file), None);
                let reader = reader.map_err(ShardError::arrow(path))?;
                (reader.schema(), Box::new(reader))
            }
            OutputFormat::ArrowFile => {
                let reader = FileReader::try_new(BufReader::with_capacity(BUFFER, file), None);
                let reader = reader.map_err(ShardError::arrow(path))?;
                (reader.schema(), Box::new(reader))
            }
            OutputFormat::Parquet => {
                let file = ParquetFile::new(file, metadata.size);
                let pages = file.try_clone().map_err(ShardError::io(path, "opening"))?;
                let builder =
                    ParquetRecordBatchReaderBuilder::try_new(file).map_err(ShardError::parquet(path))?;
                let claim = check_parquet(&pages, builder.metadata(), |_| true)
                    .map_err(|error| claimed(path, error))?;
                let most = MAX_BATCH_BYTES / 32 / claim.largest_dictionary.max(1);
                let rows = usize::try_from(most).unwrap_or(usize::MAX).clamp(1, PARQUET_ROWS);
                let schema = builder.schema().clone();
                let reader = builder.with_batch_size(rows).build().map_err(ShardError::parquet(path))?;
                (schema, Box::new(reader))
            }
        };
        let fixed = ["doc_id: Utf8", "input_ids: List(Int32)", "loss_mask: List(UInt8)"];
        for (index, expected) in fixed.iter().enumerate() {
            let found = schema.fields().get(index).map(|f| format!("{}: {}", f.name(), f.data_type()));
            if found.as_deref() != Some(expected) {
                let reason = format!(
                    "column {index} should be {expected}, but is {}",
                    found.unwrap_or("missing".into())
                );
                return Err(ShardError::BadShard { path: path.to_owned(), reason });
            }
        }
        Ok(Self { path: path.to_owned(), schema, batches })
    }

    /// All columns of the shard.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl Iterator for ShardReader {
    type Item = Result<ShardBatch, ShardError>;

    fn next(&mut self) -> Option<Self::Item> {
        match guarded(|| self.batches.next()) {
            Ok(batch) => Some(batch?.map_err(ShardError::arrow(&self.path)).map(ShardBatch)),
            Err(panic) => {
                // The state of a reader after a panic is unknown.
                self.batches = Box::new(std::iter::empty());
                Some(Err(panicked(&self.path, &panic)))
            }
        }
    }
}

/// A shard that claims what goldfish never writes.
fn claimed(path: &Path, error: ColumnarError) -> ShardError {
    match error {
        ColumnarError::Io(source) => ShardError::io(path, "reading")(source),
        claim => ShardError::BadShard { path: path.to_owned(), reason: claim.to_string() },
    }
}

fn panicked(path: &Path, panic: &str) -> ShardError {
    let reason = format!(
        "damaged: its reader failed: {panic}; mask the corpus again, or restore the file from a copy"
    );
    ShardError::BadShard { path: path.to_owned(), reason }
}

/// Consecutive rows of a shard.
#[derive(Debug, Clone)]
pub struct ShardBatch(RecordBatch);

impl ShardBatch {
    /// Number of documents.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.num_rows()
    }

    /// Whether there are no documents.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All columns.
    #[must_use]
    pub fn record_batch(&self) -> &RecordBatch {
        &self.0
    }

    /// One id a document.
    #[must_use]
    pub fn doc_ids(&self) -> &StringArray {
        self.0.column(0).as_string()
    }

    /// Token ids of document `row`, as stored (`int32`).
    ///
    /// # Panics
    ///
    /// If there is no such row.
    #[must_use]
    pub fn ids(&self, row: usize) -> &[i32] {
        let list = self.0.column(1).as_list::<i32>();
        let ends = &list.value_offsets()[row..row + 2];
        &list.values().as_primitive::<Int32Type>().values()[ends[0] as usize..ends[1] as usize]
    }

    /// Position of the first id of document `row` that is below 0, which no shard should have.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    #[must_use]
    pub fn negative_id(&self, row: usize) -> Option<usize> {
        let ids = self.ids(row);
        // Without a branch for each id; nearly always there is none.
        let any = ids.iter().fold(0, |all, id| all | id) < 0;
        if any { ids.iter().position(|&id| id < 0) } else { None }
    }

    /// Loss mask of document `row`: 1 for a token in the loss.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    #[must_use]
    pub fn mask(&self, row: usize) -> &[u8] {
        let list = self.0.column(2).as_list::<i32>();
        let ends = &list.value_offsets()[row..row + 2];
        &list.values().as_primitive::<UInt8Type>().values()[ends[0] as usize..ends[1] as usize]
    }

    /// The number of the rule that decided document `row`, among [`Manifest::rules`].
    ///
    /// # Errors
    ///
    /// If there is a policy, and the column `policy` names none of its entries.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    pub fn rule(&self, manifest: &Manifest, row: usize) -> Result<usize, String> {
        if manifest.policy.is_empty() {
            return Ok(0);
        }
        let column = self.0.column_by_name(POLICY_COLUMN).and_then(|array| array.as_string_opt::<i32>());
        let Some(names) = column.filter(|names| !names.is_null(row)) else {
            return Err(format!("the column {POLICY_COLUMN} does not say which rule decided it"));
        };
        let name = names.value(row);
        let entry = manifest.policy.iter().position(|entry| entry.name == name);
        entry.ok_or_else(|| format!("the policy has no entry {name:?}, which is to have decided it"))
    }

    /// What the loss of each token of document `row` is multiplied with, where the shards have the column `loss_weights`.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    #[must_use]
    pub fn weights(&self, row: usize) -> Option<&[f32]> {
        let list = self.0.column_by_name(ExtraColumn::LossWeights.name())?.as_list_opt::<i32>()?;
        let ends = &list.value_offsets()[row..row + 2];
        let values = list.values().as_primitive_opt::<Float32Type>()?;
        Some(&values.values()[ends[0] as usize..ends[1] as usize])
    }
}
