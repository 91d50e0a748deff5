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
}

impl RowError {
    /// That something is longer than the options allow.
    pub(crate) fn too_long(reason: &str) -> Self {
        let remedy = Remedy::give(Setting::MaxDocument).to("read it whole");
        Self { reason: format!("{reason}; split it"), remedies: vec![remedy] }
    }

    /// The row as a reject.
    pub(crate) fn reject(self, file: &str, row: u64, offset: Option<u64>) -> Reject {
        let Self { reason, remedies } = self;
        Reject { file: file.to_owned(), row, offset, reason, remedies }
    }
}

impl From<String> for RowError {
    fn from(reason: String) -> Self {
        Self { reason, remedies: Vec::new() }
    }
}
