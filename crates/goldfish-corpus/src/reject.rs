//! Rows that become no documents.

use goldfish_remedy::{Remedies, Remedy, Setting};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A row that could not become a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reject {
    /// Name of the input.
    pub file: String,
    /// Row in the input, from 0 (the line of a JSONL file, less one).
    pub row: u64,
    /// Where the row starts in the decompressed file, in bytes, if the format says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// What is wrong, in words.
    pub reason: String,
    /// The options that may be wrong instead.
    #[serde(skip)]
    pub remedies: Vec<Remedy>,
    /// Whether nothing is wrong but that the text, or the list of token ids, is null.
    #[serde(skip)]
    pub is_null: bool,
}

impl Reject {
    /// A row that could not become a document, at no known offset.
    #[must_use]
    pub fn new(file: &str, row: u64, reason: String, remedies: Vec<Remedy>) -> Self {
        Self { file: file.to_owned(), row, offset: None, reason, remedies, is_null: false }
    }
}

impl Remedies for Reject {
    fn remedies(&self) -> Vec<Remedy> {
        self.remedies.clone()
    }
}

/// Why a row could not become a document.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RowError {
    pub(crate) reason: String,
    pub(crate) remedies: Vec<Remedy>,
    is_null: bool,
}

impl RowError {
    pub(crate) fn new(reason: String, remedies: Vec<Remedy>) -> Self {
        Self { reason, remedies, is_null: false }
    }

    /// That the column of the documents is null.
    pub(crate) fn null(column: &str) -> Self {
        let remedies = vec![Remedy::give(Setting::OnNull).value("skip").to("leave such rows out")];
        Self { reason: format!("column {column:?} is null"), remedies, is_null: true }
    }

    /// That something is longer than the options allow.
    pub(crate) fn too_long(reason: &str) -> Self {
        let remedy = Remedy::give(Setting::MaxDocument).to("read it whole");
        Self::new(format!("{reason}; split it"), vec![remedy])
    }

    /// The row as a reject.
    pub(crate) fn reject(self, file: &str, row: u64, offset: Option<u64>) -> Reject {
        let Self { reason, remedies, is_null } = self;
        Reject { offset, is_null, ..Reject::new(file, row, reason, remedies) }
    }
}

impl From<String> for RowError {
    fn from(reason: String) -> Self {
        Self::new(reason, Vec::new())
    }
}
