//! Every broken Arrow and Parquet file of the fixtures, and how it ends: refused by its claims, or by a reader, or read.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};
use goldfish_columnar::{FILE_MAGIC, ParquetFile, check_ipc, check_parquet, guarded};
use goldfish_storage::File;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};

/// How each file's outcome starts.
const IPC: &[(&str, &str)] = &[
    (
        "arrow-body-huge.arrow",
        "refused: the message at byte 184 has a body of 1125899906842624 bytes, but the file ends 40056 bytes after it; it was cut off",
    ),
    ("arrow-body-negative.arrow", "refused: the message at byte 184 has a body of -64 bytes; it is damaged"),
    ("arrow-column-twice.arrow", "5 rows"),
    ("arrow-cut-before-end.arrow", "5 rows"),
    ("arrow-cut-behind-schema.arrow", "0 rows"),
    (
        "arrow-cut-in-batch-body.arrow",
        "refused: the message at byte 184 has a body of 48 bytes, but the file ends 10 bytes after it; it was cut off",
    ),
    (
        "arrow-cut-in-batch-metadata.arrow",
        "refused: the message at byte 184 has 184 bytes of metadata, but the file ends 40 bytes after it; it was cut off",
    ),
    ("arrow-cut-in-end.arrow", "broken: Io error:"),
    ("arrow-cut-in-prefix.arrow", "broken: Io error:"),
    (
        "arrow-cut-in-schema.arrow",
        "refused: the message at byte 0 has 176 bytes of metadata, but the file ends 40 bytes after it; it was cut off",
    ),
    ("arrow-dictionary-key-negative.arrow", "broken: Invalid argument error:"),
    ("arrow-dictionary-key-outside.arrow", "broken: Invalid argument error:"),
    (
        "arrow-file-block-past-end.arrow",
        "refused: the message at byte 896 lists a block of 192 and 48 bytes at byte 1099511627776 of 1170; it is damaged",
    ),
    (
        "arrow-file-cut-footer.arrow",
        "refused: the message at byte 1140 should be a footer of 786440 bytes, but the file has 1150; it was cut off or damaged",
    ),
    (
        "arrow-file-cut-last-magic.arrow",
        "refused: the message at byte 1154 should be a footer of 2097408 bytes, but the file has 1164; it was cut off or damaged",
    ),
    ("arrow-file-cut-magic.arrow", "broken: Io error:"),
    ("arrow-file-footer-empty.arrow", "broken: Parser error:"),
    (
        "arrow-file-footer-huge.arrow",
        "refused: the message at byte 1160 should be a footer of 2147483647 bytes, but the file has 1170; it was cut off or damaged",
    ),
    (
        "arrow-file-footer-negative.arrow",
        "refused: the message at byte 1160 should be a footer of 4294967295 bytes, but the file has 1170; it was cut off or damaged",
    ),
    ("arrow-file-footer-noise.arrow", "broken: Parser error:"),
    (
        "arrow-file-footer-past-start.arrow",
        "refused: the message at byte 1160 should be a footer of 1170 bytes, but the file has 1170; it was cut off or damaged",
    ),
    ("arrow-large-offsets-falling.arrow", "broken: Invalid argument error:"),
    ("arrow-large-offsets-huge.arrow", "broken: Invalid argument error:"),
    (
        "arrow-lz4-huge.arrow",
        "refused: the message at byte 184 is a batch of 1125899906842668 bytes, more than 2147483648; it is damaged, or must be written in smaller batches",
    ),
    ("arrow-lz4-negative.arrow", "broken: Ipc error:"),
    (
        "arrow-lz4-over-cap.arrow",
        "refused: the message at byte 184 is a batch of 8589934636 bytes, more than 2147483648; it is damaged, or must be written in smaller batches",
    ),
    ("arrow-lz4-short.arrow", "broken: Ipc error:"),
    (
        "arrow-metadata-huge.arrow",
        "refused: the message at byte 184 has 2147483632 bytes of metadata, but the file ends 40240 bytes after it; it was cut off",
    ),
    (
        "arrow-metadata-negative.arrow",
        "refused: the message at byte 184 has 4294967288 bytes of metadata, but the file ends 40240 bytes after it; it was cut off",
    ),
    ("arrow-offsets-largest.arrow", "broken: Invalid argument error:"),
    ("arrow-offsets-negative.arrow", "broken: Invalid argument error:"),
    ("arrow-offsets-past-end.arrow", "broken: Invalid argument error:"),
    (
        "arrow-rows-huge.arrow",
        "refused: the message at byte 184 is a batch of 1125899906842624 rows, not of 0 to 67108864; it is damaged, or must be written in smaller batches",
    ),
    ("arrow-rows-more.arrow", "broken: Invalid argument error:"),
    (
        "arrow-rows-negative.arrow",
        "refused: the message at byte 184 is a batch of -1 rows, not of 0 to 67108864; it is damaged, or must be written in smaller batches",
    ),
    ("arrow-text-cut-character.arrow", "broken: Invalid argument error:"),
    ("arrow-text-not-utf8.arrow", "broken: Invalid argument error:"),
    ("arrow-text-offsets-falling.arrow", "broken: Invalid argument error:"),
    ("arrow-text-offsets-past-end.arrow", "broken: Invalid argument error:"),
    (
        "arrow-zstd-huge.arrow",
        "refused: the message at byte 184 is a batch of 1125899906842668 bytes, more than 2147483648; it is damaged, or must be written in smaller batches",
    ),
    ("arrow-zstd-negative.arrow", "broken: Ipc error:"),
    (
        "arrow-zstd-over-cap.arrow",
        "refused: the message at byte 184 is a batch of 8589934636 bytes, more than 2147483648; it is damaged, or must be written in smaller batches",
    ),
    ("arrow-zstd-short.arrow", "broken: Io error:"),
    ("empty.arrow", "broken: Ipc error:"),
    ("falling-offsets.arrow", "broken: Invalid argument error:"),
    ("ids-float-ids.arrow", "5 rows"),
    ("ids-id-over-i32.arrow", "5 rows"),
    ("ids-id-over-u32.arrow", "5 rows"),
    ("ids-ids-not-lists.arrow", "3 rows"),
    ("ids-negative-id.arrow", "5 rows"),
    ("ids-null-element.arrow", "5 rows"),
    ("ids-null-row.arrow", "5 rows"),
    ("legal-dictionary.arrow", "5 rows"),
    ("legal-no-batches.arrow", "0 rows"),
    ("legal-sliced.arrow", "5 rows"),
    ("legal-views.arrow", "5 rows"),
    (
        "noise.arrow",
        "refused: the message at byte 0 has 50462976 bytes of metadata, but the file ends 396 bytes after it; it was cut off",
    ),
    ("truncated-file.arrow", "broken: Parser error:"),
    ("truncated-stream.arrow", "4 rows"),
    (
        "wrong-magic.arrow",
        "refused: the message at byte 0 has 1330795073 bytes of metadata, but the file ends 1166 bytes after it; it was cut off",
    ),
];

/// How each file's outcome starts.
const PARQUET: &[(&str, &str)] = &[
    (
        "damaged-pages.parquet",
        "broken: Parquet argument error: Parquet error: Unexpected struct field type 15",
    ),
    ("empty.parquet", "broken: EOF:"),
    ("ids-float-ids.parquet", "5 rows"),
    ("ids-id-over-i32.parquet", "5 rows"),
    ("ids-id-over-u32.parquet", "5 rows"),
    ("ids-ids-not-lists.parquet", "3 rows"),
    ("ids-negative-id.parquet", "5 rows"),
    ("ids-null-element.parquet", "5 rows"),
    ("ids-null-row.parquet", "5 rows"),
    ("legal-dictionary.parquet", "5 rows"),
    ("legal-empty-lists.parquet", "3 rows"),
    ("legal-fixed-lists.parquet", "2 rows"),
    ("legal-large-strings.parquet", "5 rows"),
    ("legal-no-groups.parquet", "0 rows"),
    ("legal-no-rows.parquet", "0 rows"),
    ("legal-views.parquet", "5 rows"),
    ("no-text-column.parquet", "5 rows"),
    ("null-text.parquet", "5 rows"),
    (
        "parquet-brotli.parquet",
        "broken: Parquet argument error: Parquet error: Disabled feature at compile time: brotli",
    ),
    ("parquet-cut-before-magic.parquet", "broken: Parquet error:"),
    ("parquet-cut-in-footer.parquet", "broken: Parquet error:"),
    ("parquet-doubled.parquet", "broken: Parquet error:"),
    ("parquet-encrypted.parquet", "broken: Parquet error:"),
    ("parquet-footer-empty.parquet", "broken: EOF:"),
    ("parquet-footer-huge.parquet", "broken: EOF:"),
    ("parquet-footer-noise.parquet", "broken: EOF:"),
    ("parquet-footer-past-start.parquet", "broken: EOF:"),
    ("parquet-ids-booleans.parquet", "1 rows"),
    ("parquet-ids-nested.parquet", "2 rows"),
    ("parquet-ids-null.parquet", "3 rows"),
    ("parquet-ids-strings.parquet", "2 rows"),
    ("parquet-ids-struct.parquet", "1 rows"),
    ("parquet-magic-only.parquet", "broken: EOF:"),
    (
        "parquet-pages-missing.parquet",
        "broken: Parquet argument error: Parquet error: Required field num_values is missing",
    ),
    (
        "parquet-pages-zero.parquet",
        "broken: Parquet argument error: Parquet error: Required field type_ is missing",
    ),
    ("parquet-text-binary.parquet", "2 rows"),
    ("parquet-text-lists.parquet", "1 rows"),
    ("parquet-two-magics.parquet", "broken: EOF:"),
    ("text-is-number.parquet", "5 rows"),
    ("truncated.parquet", "broken: Parquet error:"),
    ("wrong-magic.parquet", "broken: Parquet error:"),
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Opens a file for a reader.
type Open = fn(&Path) -> Result<Batches, String>;

/// What a reader returns.
type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>>>;

fn open_ipc(path: &Path) -> Result<Batches, String> {
    let mut file = File::open(path).unwrap();
    check_ipc(&mut file).map_err(|error| format!("refused: {error}"))?;
    let broken = |error: ArrowError| format!("broken: {error}");
    Ok(if fs::read(path).unwrap().starts_with(FILE_MAGIC) {
        Box::new(FileReader::try_new(BufReader::new(file), None).map_err(broken)?)
    } else {
        Box::new(StreamReader::try_new(BufReader::new(file), None).map_err(broken)?)
    })
}

fn open_parquet(path: &Path) -> Result<Batches, String> {
    let file = ParquetFile::new(File::open(path).unwrap(), fs::metadata(path).unwrap().len());
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::default());
    let metadata = metadata.map_err(|error| format!("broken: {error}"))?;
    check_parquet(&file, metadata.metadata(), |_| true).map_err(|error| format!("refused: {error}"))?;
    let reader =
        ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata).with_batch_size(1).build();
    Ok(Box::new(reader.map_err(|error| format!("broken: {error}"))?))
}

/// `refused: ...` by a check, `broken: ...` to a reader, or how many rows were read.
fn outcome(path: &Path, open: Open) -> String {
    let read = || -> Result<String, String> {
        let mut rows = 0;
        for batch in open(path)? {
            rows += batch.map_err(|error| format!("broken: {error}"))?.num_rows();
        }
        Ok(format!("{rows} rows"))
    };
    match guarded(read) {
        Ok(Ok(outcome) | Err(outcome)) => outcome,
        Err(panic) => format!("panic: {panic}"),
    }
}

fn check(ending: &str, table: &[(&str, &str)], open: Open) {
    let folder = repository().join("fixtures/malformed");
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<String> = files.filter(|name| name.ends_with(ending)).collect();
    files.sort();
    let found = files.iter().map(|name| (name.as_str(), outcome(&folder.join(name), open)));
    let found: Vec<_> = found.collect();
    let matches = found.len() == table.len()
        && found.iter().zip(table).all(|(found, table)| found.0 == table.0 && found.1.starts_with(table.1));
    let lines: Vec<String> =
        found.iter().map(|(name, outcome)| format!("    ({name:?}, {outcome:?}),")).collect();
    assert!(matches, "the table is now:\n{}", lines.join("\n"));
}

#[test]
fn ipc_files() {
    check(".arrow", IPC, open_ipc);
}

#[test]
fn parquet_files() {
    check(".parquet", PARQUET, open_parquet);
}

#[test]
fn a_dictionary_of_billions_of_values_is_refused() {
    let path = repository().join("crates/fuzz/seeds/parquet/dictionary-of-billions.parquet");
    let outcome = outcome(&path, open_parquet);
    assert!(
        outcome.starts_with("refused: the dictionary of column") && outcome.ends_with("it is damaged"),
        "{outcome}"
    );
}

/// Metadata is not read before its length was compared with the file's.
#[test]
fn more_metadata_than_the_file_has_is_refused() {
    use goldfish_columnar::{ColumnarError, MAX_METADATA_BYTES};

    let claim = |bytes: &[u8]| check_ipc(&mut std::io::Cursor::new(bytes.to_vec()));
    let length = (MAX_METADATA_BYTES as u32 + 8).to_le_bytes();
    // More than the file has.
    let error = claim(&[&[0xFF; 4][..], &length, &[0; 64]].concat()).unwrap_err();
    assert!(
        matches!(&error, ColumnarError::Claim { offset: 0, .. }) && error.to_string().contains("cut off")
    );
    // Nothing is claimed: the rest is left to the reader.
    for bytes in [&b""[..], b"ARROW1", &[0xFF; 7], &[0; 16]] {
        claim(bytes).unwrap();
    }
}

#[test]
fn panics_of_readers_become_errors() {
    use goldfish_columnar::is_guarded;

    assert_eq!(guarded(is_guarded), Ok(true));
    assert!(!is_guarded());
    let index = guarded(|| -> u32 { panic!("index {} out of bounds", 3) });
    assert_eq!(index, Err("index 3 out of bounds".into()));
    assert_eq!(guarded(|| -> u32 { panic!("short") }), Err("short".into()));
    assert!(!is_guarded());
}

#[test]
fn shared_values_count_once_a_row() {
    use arrow::array::{DictionaryArray, Int32Array, StringArray, StringViewArray};
    use goldfish_columnar::expanded_bytes;

    let long = "a".repeat(1000);
    let values = std::sync::Arc::new(StringArray::from(vec![long.as_str(), "b"]));
    let keys = Int32Array::from(vec![Some(0), Some(0), None, Some(1)]);
    let dictionary = DictionaryArray::new(keys, values);
    let shared = expanded_bytes(&dictionary).unwrap();
    assert!((2001..=3001).contains(&shared), "{shared}");
    let views = StringViewArray::from(vec![long.as_str(); 5]);
    assert_eq!(expanded_bytes(&views).unwrap(), 5000);
    let none = DictionaryArray::<arrow::datatypes::Int32Type>::from_iter([None::<&str>, None]);
    assert_eq!(expanded_bytes(&none).unwrap(), 0);
    assert_eq!(expanded_bytes(&Int32Array::from(vec![1, 2, 3])).unwrap(), 12);
}
