//! Passages of documents that copy protected works: lines while shards are written, in the end a table beside them.

use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, UInt32Type};
use arrow::error::ArrowError;
use goldfish_digest::{FileDigest, HashingWriter};
use goldfish_storage::Output;
use serde::{Deserialize, Serialize};

use crate::lists::{LineList, List};
use crate::manifest::Manifest;
use crate::names::StagedName;
use crate::protected::PROTECTED_NAME;
use crate::staging::PreparedFolder;
use crate::table::{BATCH_ROWS, Row, TableEntry, TableReader, TableWriter};
use crate::{ShardError, disk};

/// A batch of rows is encoded before its ids exceed this, in bytes, unless one row does: the offsets of a column have 31 bits.
const BATCH_BYTES: usize = 16 << 20;

/// A passage of a document that copies a protected work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassageRow {
    /// The work.
    pub work_id: String,
    /// The document.
    pub doc_id: String,
    /// First word of the passage in the work, from 0.
    pub work_start: u32,
    /// The word of the work after its last one.
    pub work_end: u32,
    /// First word of the passage in the document, from 0.
    pub doc_start: u32,
    /// The word of the document after its last one.
    pub doc_end: u32,
    /// Words that work and document have in common there.
    pub words: u32,
    /// Edits, in words, between the two.
    pub edits: u32,
}

/// Reads the table of a folder, row group by row group; `None` where its manifest has none.
///
/// # Errors
///
/// If the table is missing, changed or can't be read; each row may fail in the same way. After an error there are no
/// more rows.
pub fn read_passages(
    folder: &Path,
    manifest: &Manifest,
) -> Result<Option<impl Iterator<Item = Result<PassageRow, ShardError>> + use<>>, ShardError> {
    let table = manifest.protected.as_ref().and_then(|protected| protected.table.as_ref());
    table.map(|table| TableReader::<PassageRow>::open(folder, table, PROTECTED_NAME)).transpose()
}

/// A row without the names of its values, as a line has it: a store's journal holds all lines.
type Values = (String, String, [u32; 6]);

impl PassageRow {
    /// The row as a line of a list.
    pub(crate) fn to_line(&self) -> String {
        let values = (&self.work_id, &self.doc_id, self.numbers());
        // Strings and numbers only: serialization can't fail.
        serde_json::to_string(&values).unwrap_or_default()
    }

    fn of_line(line: &str) -> Option<Self> {
        let (work_id, doc_id, numbers): Values = serde_json::from_str(line).ok()?;
        Some(Self::of_numbers(work_id, doc_id, numbers))
    }

    /// The numbers in the order of the columns.
    fn numbers(&self) -> [u32; 6] {
        [self.work_start, self.work_end, self.doc_start, self.doc_end, self.words, self.edits]
    }

    fn of_numbers(work_id: String, doc_id: String, numbers: [u32; 6]) -> Self {
        let [work_start, work_end, doc_start, doc_end, words, edits] = numbers;
        Self { work_id, doc_id, work_start, work_end, doc_start, doc_end, words, edits }
    }
}

impl Row for PassageRow {
    // They are never in memory together.
    const MOST: u64 = u64::MAX;

    fn fields() -> Vec<Field> {
        let numbers = ["work_start", "work_end", "doc_start", "doc_end", "words", "edits"];
        let ids = ["work_id", "doc_id"].into_iter().map(|name| Field::new(name, DataType::Utf8, false));
        ids.chain(numbers.into_iter().map(|name| Field::new(name, DataType::UInt32, false))).collect()
    }

    fn encode(rows: &[Self], schema: Arc<Schema>) -> Result<RecordBatch, ArrowError> {
        let works = StringArray::from_iter_values(rows.iter().map(|row| &row.work_id));
        let docs = StringArray::from_iter_values(rows.iter().map(|row| &row.doc_id));
        let ids: [ArrayRef; 2] = [Arc::new(works), Arc::new(docs)];
        let numbers = (0..6).map(|column| {
            let values = rows.iter().map(|row| row.numbers()[column]);
            Arc::new(UInt32Array::from_iter_values(values)) as ArrayRef
        });
        RecordBatch::try_new(schema, ids.into_iter().chain(numbers).collect())
    }

    fn decode(batch: &RecordBatch) -> Option<Vec<Self>> {
        if batch.columns().iter().any(|column| column.null_count() > 0) {
            return None;
        }
        let [works, docs] = [0, 1].map(|index| batch.column(index).as_string_opt::<i32>());
        let (works, docs) = (works?, docs?);
        let numbers: Vec<_> = batch.columns()[2..]
            .iter()
            .map(|column| column.as_primitive_opt::<UInt32Type>())
            .collect::<Option<_>>()?;
        let numbers: [&UInt32Array; 6] = numbers.try_into().ok()?;
        let row = |row: usize| {
            let [work_id, doc_id] = [works, docs].map(|ids| ids.value(row).to_owned());
            Self::of_numbers(work_id, doc_id, numbers.map(|column| column.value(row)))
        };
        Some((0..batch.num_rows()).map(row).collect())
    }
}

/// Makes the table of a list and brings it to disk in the staging folder. Without a list it is empty.
pub(crate) fn stage_list(
    folder: &PreparedFolder,
    list: Option<LineList>,
) -> Result<(TableEntry, StagedName), ShardError> {
    let mut table = PassageTable::create(folder)?;
    if let Some(list) = list {
        let path = folder.staging.join(List::Passages.name());
        list.read(folder, |line| match PassageRow::of_line(line) {
            Some(row) => table.push(row),
            None => {
                let reason = "holds a line that is no passage".into();
                Err(ShardError::BadJournal { path: path.clone(), reason })
            }
        })?;
    }
    table.finish()
}

/// Makes one table of those of several folders, in their order, and brings it to disk in the staging folder.
pub(crate) fn stage_joined<'a>(
    folder: &PreparedFolder,
    parts: impl Iterator<Item = (&'a Path, &'a Manifest)>,
) -> Result<(TableEntry, StagedName), ShardError> {
    let mut table = PassageTable::create(folder)?;
    for (path, manifest) in parts {
        let Some(rows) = read_passages(path, manifest)? else {
            return Err(ShardError::part(path, "its manifest names no table of protected passages", []));
        };
        for row in rows {
            table.push(row?)?;
        }
    }
    table.finish()
}

/// A table that is being written. It depends on its rows alone, and not on how they came.
struct PassageTable {
    name: String,
    path: PathBuf,
    writer: TableWriter<HashingWriter<BufWriter<Output>>>,
    /// Rows that are yet to be encoded.
    waiting: Vec<PassageRow>,
    /// Bytes of their ids.
    bytes: usize,
}

impl PassageTable {
    fn create(folder: &PreparedFolder) -> Result<Self, ShardError> {
        let name = folder.staged(PROTECTED_NAME);
        let path = folder.staging.join(&name);
        let sink = HashingWriter::new(BufWriter::new(disk::create(&folder.staging, &name)?));
        let writer = TableWriter::new::<PassageRow>(sink).map_err(ShardError::parquet(&path))?;
        Ok(Self { name, path, writer, waiting: Vec::new(), bytes: 0 })
    }

    fn push(&mut self, row: PassageRow) -> Result<(), ShardError> {
        let bytes = row.work_id.len() + row.doc_id.len();
        if self.waiting.len() == BATCH_ROWS || self.bytes + bytes > BATCH_BYTES {
            self.encode()?;
        }
        self.bytes += bytes;
        self.waiting.push(row);
        Ok(())
    }

    fn encode(&mut self) -> Result<(), ShardError> {
        self.writer.write(&self.waiting).map_err(ShardError::parquet(&self.path))?;
        self.waiting.clear();
        self.bytes = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<(TableEntry, StagedName), ShardError> {
        self.encode()?;
        let Self { name, path, writer, .. } = self;
        let (rows, sink) = writer.finish().map_err(ShardError::parquet(&path))?;
        let (FileDigest { size, hash }, file) = sink.finish();
        let mut file = file.into_inner().map_err(|e| ShardError::io(&path, "writing")(e.into_error()))?;
        disk::sync(&mut file, &path)?;
        let table = TableEntry { name: PROTECTED_NAME.to_owned(), rows, size, hash };
        Ok((table, (name, PROTECTED_NAME.to_owned())))
    }
}
