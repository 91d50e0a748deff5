//! Which rule decides which documents.

mod condition;
mod file;
mod sample;

pub(crate) use self::condition::Condition;
use self::condition::Subject;
pub use self::file::{MAX_POLICY_BYTES, PolicyError};
pub use self::sample::SampledEntry;

use arrow::array::{Array, StringArray};
use goldfish_mask::RuleSpec;
use goldfish_shard::{PolicyCounts, PolicyRule};
use serde_json::{Map, Value};

use crate::protect::ProtectOptions;

/// Entries in the order in which they are tried; the first whose conditions a document meets decides it. The last one is the
/// default, which has no conditions.
#[derive(Debug, Clone)]
pub struct Policy {
    entries: Vec<PolicyEntry>,
    /// The columns of the conditions.
    columns: Vec<String>,
    protect: Option<ProtectOptions>,
}

/// A rule for some documents.
#[derive(Debug, Clone)]
pub struct PolicyEntry {
    /// Its name.
    pub name: String,
    /// Its conditions as the file has them.
    pub when: Map<String, Value>,
    conditions: Vec<Condition>,
    /// Its rule.
    pub rule: RuleSpec,
    /// Ids that the rule never drops, ascending.
    pub exempt_ids: Vec<u32>,
}

impl PolicyEntry {
    /// For the manifest, before anything is masked.
    pub(crate) fn uncounted(&self) -> PolicyRule {
        PolicyRule {
            name: self.name.clone(),
            when: self.when.clone(),
            rule: self.rule.clone(),
            exempt_ids: self.exempt_ids.clone(),
            counts: PolicyCounts::default(),
        }
    }
}

impl Policy {
    fn new(entries: Vec<PolicyEntry>, protect: Option<ProtectOptions>) -> Self {
        let mut columns = Vec::new();
        for condition in entries.iter().flat_map(|entry| &entry.conditions) {
            if let Subject::Column(name) = &condition.subject
                && !columns.contains(name)
            {
                columns.push(name.clone());
            }
        }
        Self { entries, columns, protect }
    }

    /// The entries, the default last.
    #[must_use]
    pub fn entries(&self) -> &[PolicyEntry] {
        &self.entries
    }

    /// The works that are protected, if any are.
    #[must_use]
    pub fn protect(&self) -> Option<&ProtectOptions> {
        self.protect.as_ref()
    }

    /// The columns that conditions are about, for [`ReadOptions::conditions`](goldfish_corpus::ReadOptions::conditions).
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The number of the entry that decides a document: `path` is the name of its input, and row `row` of `values` has its
    /// columns.
    #[must_use]
    pub fn choose(&self, path: &str, document: &str, values: &[StringArray], row: usize) -> usize {
        let meets = |condition: &Condition| match &condition.subject {
            Subject::Path => condition.meets(Some(path)),
            Subject::Document => condition.meets(Some(document)),
            Subject::Column(name) => {
                let column = self.columns.iter().position(|column| column == name);
                let values = column.and_then(|column| values.get(column));
                condition.meets(values.filter(|values| !values.is_null(row)).map(|values| values.value(row)))
            }
        };
        let chosen = self.entries.iter().position(|entry| entry.conditions.iter().all(meets));
        chosen.unwrap_or(self.entries.len() - 1)
    }
}
