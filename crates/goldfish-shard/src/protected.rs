//! What a manifest says of protected works.

use goldfish_mask::RuleSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::table::TableEntry;

/// Name of the table of protected passages.
pub const PROTECTED_NAME: &str = "protected.parquet";

/// Protected works. Each has a mask of its own, which the passages of documents that copy it have too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProtectedEntry {
    /// How many works.
    pub works: u64,
    /// Their words.
    pub words: u64,
    /// `xxh3_128:` and 32 hex digits over the ids and texts of the works, in order.
    pub digest: String,
    /// The rule of the works' own masks, with every parameter.
    pub rule: RuleSpec,
    /// Every run of so many words that a document has in common with a work is found.
    pub guaranteed_run: u32,
    /// A passage has at least so many words in common with its work.
    pub least_words: u32,
    /// And at most so many edits in 100 words.
    pub most_edits: u32,
    /// Whether copies were only looked for: the shards have the ids of the documents that were searched, and no tokens.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only: bool,
    /// What was found.
    pub counts: ProtectedCounts,
    /// The table `protected.parquet` of all passages; missing until the run is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableEntry>,
}

impl ProtectedEntry {
    /// The entry as it is before anything is masked.
    #[must_use]
    pub fn uncounted(&self) -> Self {
        Self { counts: ProtectedCounts::default(), table: None, ..self.clone() }
    }
}

/// What was found of protected works.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProtectedCounts {
    /// Documents with at least one passage.
    pub documents: u64,
    /// Passages.
    pub passages: u64,
    /// Words of documents that are in a passage.
    pub words: u64,
}

impl ProtectedCounts {
    /// Adds the counts of further documents.
    pub fn add(&mut self, other: Self) {
        // A manifest or journal may have been edited.
        self.documents = self.documents.saturating_add(other.documents);
        self.passages = self.passages.saturating_add(other.passages);
        self.words = self.words.saturating_add(other.words);
    }
}
