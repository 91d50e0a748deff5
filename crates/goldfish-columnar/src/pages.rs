//! The page headers of a Parquet file.

use std::sync::Arc;

use parquet::basic::Type;
use parquet::column::page::{Page, PageReader};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::serialized_reader::SerializedPageReader;

use crate::{ColumnarError, ParquetFile};

/// Values (nulls and the ends of lists included) that the column of any row group may have.
pub const MAX_LEVELS: u64 = 1 << 26;

/// Values a row group's column may have besides, for each byte of the file.
pub const MAX_LEVELS_A_BYTE: u64 = 64;

/// What the pages of the columns to be read say about themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PagesClaim {
    /// Bytes of the largest dictionary, any of whose values may be in every row.
    pub largest_dictionary: u64,
}

/// Reads the page headers and dictionaries of the columns whose root `wanted` accepts by name.
///
/// A run of equal values takes a few bytes, however long it is: only what the pages announce distinguishes a file that
/// fills the memory from others. Pages that can't be read are left to the reader itself.
///
/// # Errors
///
/// If the pages of a row group's column announce more than [`MAX_LEVELS`] values and [`MAX_LEVELS_A_BYTE`] more for each
/// byte of the file, or a dictionary more values than fit its bytes.
pub fn check_parquet(
    file: &ParquetFile,
    metadata: &ParquetMetaData,
    wanted: impl Fn(&str) -> bool,
) -> Result<PagesClaim, ColumnarError> {
    let size = file.size();
    let file = Arc::new(file.try_clone()?);
    let most = MAX_LEVELS.saturating_add(size.saturating_mul(MAX_LEVELS_A_BYTE));
    let mut claim = PagesClaim::default();
    for (group, chunks) in metadata.row_groups().iter().enumerate() {
        let rows = usize::try_from(chunks.num_rows()).unwrap_or(0);
        let mut broken = false;
        for chunk in chunks.columns() {
            let root = chunk.column_path().parts().first();
            if !root.is_some_and(|root| wanted(root)) {
                continue;
            }
            let column = || chunk.column_path().string();
            match walk(&file, chunk, rows, most, &mut claim) {
                Ok(Walk::Sound) => {}
                Ok(Walk::Levels(levels)) => {
                    return Err(ColumnarError::Levels { column: column(), group, levels, size });
                }
                Ok(Walk::Dictionary { values, bytes }) => {
                    return Err(ColumnarError::Dictionary { column: column(), group, values, bytes });
                }
                Err(_) => broken = true,
            }
        }
        if broken {
            // The reader stops at this group, and reports the error.
            break;
        }
    }
    Ok(claim)
}

/// How a walk over the pages of a column ended.
enum Walk {
    Sound,
    /// So many values are announced.
    Levels(u64),
    /// So many values are announced for a dictionary of so many bytes.
    Dictionary {
        values: u64,
        bytes: u64,
    },
}

fn walk(
    file: &Arc<ParquetFile>,
    chunk: &ColumnChunkMetaData,
    rows: usize,
    most: u64,
    claim: &mut PagesClaim,
) -> parquet::errors::Result<Walk> {
    // Bytes of a value, at least: strings have their lengths before them.
    let width = match chunk.column_type() {
        Type::BOOLEAN => 1,
        Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 4,
        Type::INT64 | Type::DOUBLE => 8,
        Type::INT96 => 12,
        Type::FIXED_LEN_BYTE_ARRAY => u64::try_from(chunk.column_descr().type_length()).unwrap_or(1).max(1),
    };
    let mut pages = SerializedPageReader::new(file.clone(), chunk, rows, None)?;
    let mut levels = 0u64;
    while let Some(page) = pages.peek_next_page()? {
        if page.is_dict {
            if let Some(Page::DictionaryPage { buf, num_values, .. }) = pages.get_next_page()? {
                let (values, bytes) = (u64::from(num_values), buf.len() as u64);
                if values > bytes / width {
                    return Ok(Walk::Dictionary { values, bytes });
                }
                claim.largest_dictionary = claim.largest_dictionary.max(bytes);
            }
            continue;
        }
        let values = page.num_levels.or(page.num_rows).unwrap_or(0);
        levels = levels.saturating_add(values as u64);
        if levels > most {
            return Ok(Walk::Levels(levels));
        }
        pages.skip_next_page()?;
    }
    Ok(Walk::Sound)
}
