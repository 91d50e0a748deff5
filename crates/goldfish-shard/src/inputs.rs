//! The inputs of a manifest, in it or in a table beside it.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, ListArray, RecordBatch, StringArray, StructArray, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema, UInt64Type};
use arrow::error::ArrowError;
use goldfish_digest::FileDigest;

use crate::manifest::{CompanionEntry, InputEntry, Manifest};
use crate::names::INPUTS_NAME;
use crate::table::{Row, TableReader};
use crate::{SetFile, ShardError};

impl Manifest {
    /// How many inputs there are, wherever they are listed.
    #[must_use]
    pub fn input_count(&self) -> u64 {
        self.input_table.as_ref().map_or(self.inputs.len() as u64, |table| table.rows)
    }

    /// The inputs in order, from the manifest or from the table in its folder.
    ///
    /// # Errors
    ///
    /// If the manifest tells of a table that is missing, changed or can't be read; each entry may fail in the same way.
    pub fn read_inputs(
        &self,
        folder: &Path,
    ) -> Result<impl Iterator<Item = Result<InputEntry, ShardError>> + use<'_>, ShardError> {
        let table = self.input_table.as_ref().map(|table| TableReader::open(folder, table, INPUTS_NAME));
        Ok(self.inputs.iter().cloned().map(Ok).chain(table.transpose()?.into_iter().flatten()))
    }
}

fn strings<'a>(values: impl Iterator<Item = &'a String>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn numbers(values: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(values))
}

fn companion_fields() -> Fields {
    Fields::from(vec![
        Field::new("suffix", DataType::Utf8, false),
        Field::new("size", DataType::UInt64, false),
        Field::new("hash", DataType::Utf8, false),
    ])
}

fn companion_item() -> Arc<Field> {
    Arc::new(Field::new_list_field(DataType::Struct(companion_fields()), false))
}

impl Row for InputEntry {
    fn fields() -> Vec<Field> {
        let field = |name: &str, of: DataType| Field::new(name, of, false);
        vec![
            field("name", DataType::Utf8),
            field("format", DataType::Utf8),
            field("size", DataType::UInt64),
            field("hash", DataType::Utf8),
            field("companions", DataType::List(companion_item())),
            field("documents", DataType::UInt64),
            field("rejected", DataType::UInt64),
            Field::new("first_row", DataType::UInt64, true),
            Field::new("end_row", DataType::UInt64, true),
            field("broken", DataType::Boolean),
        ]
    }

    fn encode(rows: &[Self], schema: Arc<Schema>) -> Result<RecordBatch, ArrowError> {
        let companions = || rows.iter().flat_map(|row| &row.companions);
        let values = StructArray::try_new(
            companion_fields(),
            vec![
                strings(companions().map(|companion| &companion.suffix)),
                numbers(companions().map(|companion| companion.digest.size)),
                strings(companions().map(|companion| &companion.digest.hash)),
            ],
            None,
        )?;
        let offsets = OffsetBuffer::from_lengths(rows.iter().map(|row| row.companions.len()));
        let companions = ListArray::try_new(companion_item(), offsets, Arc::new(values), None)?;
        let columns: Vec<ArrayRef> = vec![
            strings(rows.iter().map(|row| &row.name)),
            strings(rows.iter().map(|row| &row.format)),
            numbers(rows.iter().map(|row| row.size)),
            strings(rows.iter().map(|row| &row.hash)),
            Arc::new(companions),
            numbers(rows.iter().map(|row| row.documents)),
            numbers(rows.iter().map(|row| row.rejected)),
            Arc::new(rows.iter().map(|row| row.rows.map(|rows| rows.0)).collect::<UInt64Array>()),
            Arc::new(rows.iter().map(|row| row.rows.map(|rows| rows.1)).collect::<UInt64Array>()),
            Arc::new(rows.iter().map(|row| Some(row.broken)).collect::<BooleanArray>()),
        ];
        RecordBatch::try_new(schema, columns)
    }

    fn decode(batch: &RecordBatch) -> Option<Vec<Self>> {
        let column = |index: usize| batch.column(index);
        let (name, format) = (column(0).as_string_opt::<i32>()?, column(1).as_string_opt::<i32>()?);
        let (size, hash) = (column(2).as_primitive_opt::<UInt64Type>()?, column(3).as_string_opt::<i32>()?);
        let lists = column(4).as_list_opt::<i32>()?;
        let [documents, rejected] = [5, 6].map(|index| column(index).as_primitive_opt::<UInt64Type>());
        let (documents, rejected) = (documents?, rejected?);
        let [first, end] = [7, 8].map(|index| column(index).as_primitive_opt::<UInt64Type>());
        let (first, end, broken) = (first?, end?, column(9).as_boolean_opt()?);
        let required = [0, 1, 2, 3, 4, 5, 6, 9];
        if required.iter().any(|&index| column(index).null_count() > 0) {
            return None;
        }
        let companions = |row: usize| -> Option<Vec<CompanionEntry>> {
            let list = lists.value(row);
            let values = list.as_struct_opt()?;
            let [suffix, hash] = [0, 2].map(|index| values.column(index).as_string_opt::<i32>());
            let (suffix, hash) = (suffix?, hash?);
            let size = values.column(1).as_primitive_opt::<UInt64Type>()?;
            let entry = |index: usize| CompanionEntry {
                suffix: suffix.value(index).to_owned(),
                digest: FileDigest { size: size.value(index), hash: hash.value(index).to_owned() },
            };
            Some((0..values.len()).map(entry).collect())
        };
        let value = |numbers: &UInt64Array, row: usize| numbers.is_valid(row).then(|| numbers.value(row));
        let entry = |row: usize| {
            Some(Self {
                name: name.value(row).to_owned(),
                format: format.value(row).to_owned(),
                size: size.value(row),
                hash: hash.value(row).to_owned(),
                companions: companions(row)?,
                documents: documents.value(row),
                rejected: rejected.value(row),
                rows: value(first, row).zip(value(end, row)),
                broken: broken.value(row),
            })
        };
        (0..batch.num_rows()).map(entry).collect()
    }
}

impl Row for SetFile {
    fn fields() -> Vec<Field> {
        let field = |name: &str, of: DataType| Field::new(name, of, false);
        vec![
            field("name", DataType::Utf8),
            field("holds", DataType::Utf8),
            field("size", DataType::UInt64),
            field("hash", DataType::Utf8),
        ]
    }

    fn encode(rows: &[Self], schema: Arc<Schema>) -> Result<RecordBatch, ArrowError> {
        let columns = vec![
            strings(rows.iter().map(|row| &row.name)),
            strings(rows.iter().map(|row| &row.holds)),
            numbers(rows.iter().map(|row| row.size)),
            strings(rows.iter().map(|row| &row.hash)),
        ];
        RecordBatch::try_new(schema, columns)
    }

    fn decode(batch: &RecordBatch) -> Option<Vec<Self>> {
        let [name, holds, hash] = [0, 1, 3].map(|index| batch.column(index).as_string_opt::<i32>());
        let (name, holds, hash) = (name?, holds?, hash?);
        let size = batch.column(2).as_primitive_opt::<UInt64Type>()?;
        if batch.columns().iter().any(|column| column.null_count() > 0) {
            return None;
        }
        let file = |row: usize| Self {
            name: name.value(row).to_owned(),
            holds: holds.value(row).to_owned(),
            size: size.value(row),
            hash: hash.value(row).to_owned(),
        };
        Some((0..batch.num_rows()).map(file).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::table::{TableEntry, encode};

    fn entries() -> Vec<InputEntry> {
        let companion = |n: u64| CompanionEntry {
            suffix: ".idx".into(),
            digest: FileDigest { size: n, hash: format!("xxh3_128:{n:032x}") },
        };
        let entry = |n: u64| InputEntry {
            name: format!("folder/é{n}.bin"),
            format: "megatron".into(),
            size: u64::MAX - n,
            hash: format!("xxh3_128:{n:032x}"),
            companions: (0..n % 3).map(companion).collect(),
            documents: n,
            rejected: n / 2,
            rows: (n % 5 == 1).then_some((n, n + 4)),
            broken: n.is_multiple_of(7),
        };
        (0..3000).map(entry).collect()
    }

    fn files() -> Vec<SetFile> {
        let file =
            |n: u64| SetFile { name: format!("{n}.loss"), holds: "masks".into(), size: n, hash: "h".into() };
        (0..3000).map(file).collect()
    }

    fn read<R: Row>(folder: &Path, entry: &TableEntry) -> Result<Vec<R>, ShardError> {
        TableReader::open(folder, entry, INPUTS_NAME)?.collect()
    }

    #[test]
    fn rows_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let (entry, bytes) = encode(INPUTS_NAME, &entries()).unwrap();
        assert_eq!((entry.rows, entry.size), (3000, bytes.len() as u64));
        fs::write(folder.path().join(INPUTS_NAME), &bytes).unwrap();
        assert_eq!(read::<InputEntry>(folder.path(), &entry).unwrap(), entries());
        let (entry, bytes) = encode(INPUTS_NAME, &files()).unwrap();
        fs::write(folder.path().join(INPUTS_NAME), &bytes).unwrap();
        assert_eq!(read::<SetFile>(folder.path(), &entry).unwrap(), files());
    }

    #[test]
    fn only_the_table_that_the_manifest_tells_of_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(INPUTS_NAME);
        let (entry, bytes) = encode(INPUTS_NAME, &entries()).unwrap();
        let refusal = |entry: &TableEntry, words: &str| {
            let error = read::<InputEntry>(folder.path(), entry).unwrap_err();
            assert!(matches!(error, ShardError::BadManifest { .. }), "{error}");
            assert!(error.to_string().contains(words), "{error}");
        };
        refusal(&entry, "missing");
        fs::create_dir(&path).unwrap();
        refusal(&entry, "not a regular file");
        fs::remove_dir(&path).unwrap();
        fs::write(&path, &bytes[1..]).unwrap();
        refusal(&entry, "size or hash differ");
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 1;
        fs::write(&path, &flipped).unwrap();
        refusal(&entry, "size or hash differ");
        // A manifest that tells of a hostile table has its right hash.
        let FileDigest { hash, .. } = FileDigest::of(&flipped);
        let told = read::<InputEntry>(folder.path(), &TableEntry { hash, ..entry.clone() });
        assert!(told.is_err() || told.unwrap() != entries());
        fs::write(&path, &bytes).unwrap();
        refusal(&TableEntry { rows: 2999, ..entry.clone() }, "3000 rows");
        refusal(&TableEntry { rows: u64::MAX, ..entry.clone() }, "the manifest tells of");
        refusal(&TableEntry { name: "../inputs.pq".into(), ..entry.clone() }, "the manifest tells of");
        let (entry, bytes) = encode(INPUTS_NAME, &files()).unwrap();
        fs::write(&path, &bytes).unwrap();
        refusal(&entry, "the columns are not name, format");
    }
}
