//! Parquet and Arrow IPC, against a reading of the Arrow crates without any of ours.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use goldfish_corpus::{Content, Format, ReadOptions};

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

/// Reads the same file with each choice of columns; every row of a file that can be read is accounted for.
fn all_choices(path: PathBuf, format: Format, rows: Option<u64>) {
    for choice in 0..6 {
        let reading = read(path.clone(), format, &options(choice));
        reading.assert_gapless();
        if let (true, Some(rows)) = (reading.whole, rows) {
            assert_eq!(reading.rows().len() as u64, rows, "rows were lost");
        }
    }
}

/// A Parquet file.
pub fn parquet(data: &[u8]) {
    all_choices(file("in.parquet", data), Format::Parquet, None);
}

/// An Arrow IPC file or stream.
pub fn arrow(data: &[u8]) {
    let path = file("in.arrow", data);
    // Rows by the Arrow crate alone, where it can read the whole file.
    let rows = guarded(|| -> Option<u64> {
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
    all_choices(path, Format::Arrow, rows.flatten());
}
