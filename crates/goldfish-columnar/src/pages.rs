//! The page headers of a Parquet file.

use std::fs::File;
use std::sync::Arc;

use parquet::basic::Type;
use parquet::column::page::{Page, PageReader};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::serialized_reader::SerializedPageReader;

use crate::ColumnarError;

/// Values (nulls and the ends of lists included) that the column of any row group may have.
pub const MAX_LEVELS: u64 = 1 << 26;

/// Values a row group's column may have besides, for each byte of the file.
pub const MAX_LEVELS_A_BYTE: u64 = 64;

/// What the pages of the columns to be read say about themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PagesClaim {
    /// Bytes of the largest dictionary of byte arrays, each of whose values may stand in every row.
    pub largest_dictionary: u64,
}

/// Walks over the pages of the columns that `wanted` takes by the name of their root, reading headers and dictionaries.
///
/// A run of equal values takes a few bytes, however long it is: what the pages announce is all that tells a file which
/// fills the memory from others. Pages that can't be read are left to the reader proper.
///
/// # Errors
///
/// If the pages of a row group's column announce more than [`MAX_LEVELS`] values and [`MAX_LEVELS_A_BYTE`] more for each
/// byte of the file.
pub fn check_parquet(
    file: &File,
    metadata: &ParquetMetaData,
    wanted: impl Fn(&str) -> bool,
) -> Result<PagesClaim, ColumnarError> {
    let size = file.metadata()?.len();
    let file = Arc::new(file.try_clone()?);
    let most = MAX_LEVELS.saturating_add(size.saturating_mul(MAX_LEVELS_A_BYTE));
    let mut claim = PagesClaim::default();
    for (group, chunks) in metadata.row_groups().iter().enumerate() {
        let rows = usize::try_from(chunks.num_rows()).unwrap_or(0);
        for chunk in chunks.columns() {
            let root = chunk.column_path().parts().first();
            if !root.is_some_and(|root| wanted(root)) {
                continue;
            }
            // An error is the reader's to report, with the place where it is met.
            let levels = walk(&file, chunk, rows, most, &mut claim).unwrap_or(0);
            if levels > most {
                let column = chunk.column_path().string();
                return Err(ColumnarError::Levels { column, group, levels, size });
            }
        }
    }
    Ok(claim)
}

/// Values that the pages of a column announce, counted until they are more than `most`.
fn walk(
    file: &Arc<File>,
    chunk: &ColumnChunkMetaData,
    rows: usize,
    most: u64,
    claim: &mut PagesClaim,
) -> parquet::errors::Result<u64> {
    let mut pages = SerializedPageReader::new(file.clone(), chunk, rows, None)?;
    let of_bytes = matches!(chunk.column_type(), Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY);
    let mut levels = 0u64;
    while let Some(page) = pages.peek_next_page()? {
        if page.is_dict && of_bytes {
            if let Some(Page::DictionaryPage { buf, .. }) = pages.get_next_page()? {
                claim.largest_dictionary = claim.largest_dictionary.max(buf.len() as u64);
            }
            continue;
        }
        if !page.is_dict {
            let values = page.num_levels.or(page.num_rows).unwrap_or(0);
            levels = levels.saturating_add(values as u64);
        }
        if levels > most {
            break;
        }
        pages.skip_next_page()?;
    }
    Ok(levels)
}
