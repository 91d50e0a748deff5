//! Rows in Parquet files.

use std::fs::File;
use std::io;
use std::path::Path;

use goldfish_storage::Folder;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::columns::{Row, Value};
use crate::error::AuditError;
use crate::files::open_file;
use crate::rows::{ProbeRow, ResultRow};

/// Where a table's metadata has the key of its run.
const KEY: &str = "goldfish.run";

/// Rows that become columns at once.
const BATCH: usize = 4096;

/// Writes a whole table of the run with this key, crash-safe.
///
/// # Errors
///
/// If the disk refuses.
pub fn write_rows<R: Row>(folder: &Folder, name: &str, key: &str, rows: &[R]) -> Result<(), AuditError> {
    write_batches(folder, name, key, rows.chunks(BATCH))
}

/// Writes a table as [`write_rows`] does, some rows after the other.
///
/// # Errors
///
/// If the disk refuses.
pub fn write_batches<R: Row, B: AsRef<[R]>>(
    folder: &Folder,
    name: &str,
    key: &str,
    batches: impl Iterator<Item = B>,
) -> Result<(), AuditError> {
    let written = folder.replace(name, |file| {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by("goldfish".into())
            .set_key_value_metadata(Some(vec![KeyValue::new(KEY.into(), key.to_owned())]))
            .build();
        let writer = ArrowWriter::try_new(file, R::schema(), Some(properties));
        let mut writer = writer.map_err(io::Error::other)?;
        for rows in batches {
            let batch = R::batch(rows.as_ref()).map_err(io::Error::other)?;
            writer.write(&batch).map_err(io::Error::other)?;
        }
        writer.close().map(drop).map_err(io::Error::other)
    });
    written.map_err(AuditError::io(&folder.join(name), "writing"))
}

/// Checks that a table is one of the run with this key.
///
/// # Errors
///
/// If it isn't, or can't be read.
pub fn check_key(path: &Path, key: &str) -> Result<(), AuditError> {
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(open_file(path)?).map_err(AuditError::parquet(path))?;
    let metadata = builder.metadata().file_metadata().key_value_metadata();
    let found = metadata
        .into_iter()
        .flatten()
        .find(|entry| entry.key == KEY)
        .and_then(|entry| entry.value.as_deref());
    if found == Some(key) {
        return Ok(());
    }
    let other = found.map_or("no run".into(), |found| format!("the run {found}"));
    Err(AuditError::bad_run(path, format!("the table is one of {other}, not of {key}")))
}

/// Reads a whole table.
pub(crate) fn read_rows<R: Row>(path: &Path) -> Result<Vec<R>, AuditError> {
    stream_rows(path)?.collect()
}

/// Reads one column of text of a table; the others stay unread.
pub(crate) fn read_texts<R: Row>(path: &Path, column: &str) -> Result<Vec<String>, AuditError> {
    let builder = open::<R>(path)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), [column]);
    let builder = builder.with_projection(mask).with_batch_size(BATCH);
    let mut texts = Vec::new();
    for batch in builder.build().map_err(AuditError::parquet(path))? {
        let batch = batch.map_err(AuditError::arrow(path))?;
        texts.extend((0..batch.num_rows()).map(|row| String::read(batch.column(0), row)));
    }
    Ok(texts)
}

/// Opens a table, if it has the right columns.
fn open<R: Row>(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, AuditError> {
    let file = open_file(path)?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(AuditError::parquet(path))?;
    if builder.schema().fields() != R::schema().fields() {
        return Err(AuditError::bad_run(path, "the columns are not those of this version; start a new run"));
    }
    Ok(builder)
}

/// Reads a table row by row, with a batch of it in memory.
///
/// # Errors
///
/// If it can't be read or has other columns; each row may fail in the same way.
pub fn stream_rows<R: Row>(
    path: &Path,
) -> Result<impl Iterator<Item = Result<R, AuditError>> + use<R>, AuditError> {
    let batches = open::<R>(path)?.with_batch_size(BATCH).build().map_err(AuditError::parquet(path))?;
    let path = path.to_owned();
    Ok(batches.flat_map(move |batch| match batch {
        Ok(batch) => (0..batch.num_rows()).map(|row| Ok(R::read(batch.columns(), row))).collect(),
        Err(error) => vec![Err(AuditError::arrow(&path)(error))],
    }))
}

/// Reads `results.parquet` of a run.
///
/// # Errors
///
/// If it can't be read or has other columns.
pub fn read_results(path: &Path) -> Result<Vec<ResultRow>, AuditError> {
    read_rows(path)
}

/// Reads `probes.parquet` of a run.
///
/// # Errors
///
/// If it can't be read or has other columns.
pub fn read_probes(path: &Path) -> Result<Vec<ProbeRow>, AuditError> {
    read_rows(path)
}
