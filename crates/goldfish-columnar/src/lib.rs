//! Untrusted Arrow IPC and Parquet files: what they claim is checked before memory is allocated for it.
//!
//! The `arrow` and `parquet` crates check that a file is well-formed, but allocate the memory that it claims to need: a
//! claim of 2^50 bytes ends the process. [`check_ipc`] and [`check_parquet`] read metadata and claims only, and refuse
//! such files; [`expanded_bytes`] says the size of a dictionary or a view as a plain column. [`guarded`] turns the
//! panics of such a library into errors.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

mod expand;
mod file;
mod ipc;
mod pages;

pub use expand::expanded_bytes;
pub use file::{ParquetFile, PartReader};
pub use ipc::{FILE_MAGIC, MAX_BATCH_BYTES, MAX_BATCH_ROWS, MAX_METADATA_BYTES, check_ipc};
pub use pages::{MAX_LEVELS, MAX_LEVELS_A_BYTE, PagesClaim, check_parquet};

/// Why a file should not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ColumnarError {
    /// The system refused.
    #[error("reading failed: {0}")]
    Io(#[from] std::io::Error),
    /// The file claims something impossible, or more than a reader should allocate.
    #[error("the message at byte {offset} {problem}")]
    Claim {
        /// Where the message (or the footer) starts, in bytes.
        offset: u64,
        /// What it claims, what is allowed, and what to do.
        problem: String,
    },
    /// The pages of a Parquet file announce more values than their bytes can be expected to hold.
    #[error(
        "column {column:?} of row group {group} announces {levels} values or more in a file of {size} bytes: damaged, or \
         made to fill the memory; if it is neither, write it with smaller row groups"
    )]
    Levels {
        /// The column.
        column: String,
        /// The row group, from 0.
        group: usize,
        /// Values announced so far.
        levels: u64,
        /// Size of the file, in bytes.
        size: u64,
    },
    /// A dictionary of a Parquet file announces more values than its bytes hold.
    #[error(
        "the dictionary of column {column:?} in row group {group} announces {values} values in {bytes} bytes: it is damaged"
    )]
    Dictionary {
        /// The column.
        column: String,
        /// The row group, from 0.
        group: usize,
        /// Values announced.
        values: u64,
        /// Size of the dictionary, in bytes.
        bytes: u64,
    },
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Calls into a library that may panic on a broken file; the panic's message becomes an error.
///
/// # Errors
///
/// The message of the panic.
pub fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    let before = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    GUARDED.set(before);
    result.map_err(|panic| panic_message(panic.as_ref()))
}

/// Whether this thread is inside of [`guarded`], so that a panic hook can stay silent.
#[must_use]
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// The message of a panic.
#[must_use]
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}
