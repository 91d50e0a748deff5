//! What is known of a file before it is read.

use std::collections::BTreeSet;

/// What the schema or the first rows of a file have.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pub(crate) rows: u64,
    pub(crate) columns: BTreeSet<String>,
    /// Which of the columns that were asked for are there.
    pub(crate) has: Vec<bool>,
}
