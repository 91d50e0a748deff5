//! Parquet and Arrow IPC, compared with the Arrow crates alone.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use goldfish_corpus::{Content, ReadOptions};

use crate::harness::{file, guarded, read};

fn options(choice: usize) -> ReadOptions {
    let content = match choice & 1 {
        0 => Content::Ids { column: "input_ids".into() },
        _ => Content::Text { column: "text".into() },
    };
    let mut options = ReadOptions::new(content);
    if choice & 2 != 0 {
        options.id_column = Some("id".into());
    }
    if choice & 4 != 0 {
        options.carry = vec!["source".into()];
    }
    options
}

/// Reads columns chosen by the length of the input, and checks that every row of a readable file is accounted for.
fn check_columns(path: PathBuf, format: &str, length: usize, rows: Option<u64>) {
    let reading = read(path, format, &options(length % 6));
    reading.assert_gapless();
    if let (true, Some(rows)) = (reading.whole, rows) {
        assert_eq!(reading.rows().len() as u64, rows, "rows were lost");
    }
}

/// A Parquet file.
pub fn parquet(data: &[u8]) {
    check_columns(file("in.parquet", data), "parquet", data.len(), None);
}

/// An Arrow IPC file or stream.
pub fn arrow(data: &[u8]) {
    let path = file("in.arrow", data);
    // The row count of the Arrow crate, if it can read the whole file.
    let rows = guarded(|| -> Option<u64> {
        // The crate allocates whatever the file claims to need.
        goldfish_columnar::check_ipc(&mut File::open(&path).ok()?).ok()?;
        let reader = BufReader::new(File::open(&path).ok()?);
        let mut rows = 0;
        if data.starts_with(b"ARROW1") {
            for batch in arrow::ipc::reader::FileReader::try_new(reader, None).ok()? {
                rows += batch.ok()?.num_rows() as u64;
            }
        } else {
            for batch in arrow::ipc::reader::StreamReader::try_new(reader, None).ok()? {
                rows += batch.ok()?.num_rows() as u64;
            }
        }
        Some(rows)
    });
    check_columns(path, "arrow", data.len(), rows.flatten());
}
