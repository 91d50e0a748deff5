//! The longest runs of tokens that masks keep.

use std::borrow::Cow;
use std::ops::Range;

use goldfish_mask::{LongestRun, RunUnit, longest_stretch};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest runs of tokens that are all kept, over every document: what a model trains on in one piece. A run ends
/// with its document; of equally long ones this is the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeptRuns {
    /// In tokens, whether or not the rule decided about them.
    pub tokens: KeptRun,
    /// In what the rule decided about, where the rule counts that; its bound, if it has one, holds for this. In packed
    /// sequences such a run ends with its sequence too. Documents with passages of protected works, whose own masks are decided
    /// by themselves, are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<DecidedRun>,
}

/// The longest run of kept tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeptRun {
    /// Its tokens; 0 where no token is kept, and then the other values say nothing.
    pub tokens: u64,
    /// Number of its document, from 0.
    pub document: u64,
    /// Id of the document; what exceeds 100 characters is cut.
    pub doc_id: String,
    /// Position of its first token in the document, from 0.
    pub position: u64,
}

/// The longest run of decided words or tokens that are all kept. Neither special tokens nor text without letters or digits
/// nor the short context at the start of a document count or end it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecidedRun {
    /// What is counted.
    pub unit: RunUnit,
    /// How many of them; 0 where none is kept, and then the other values say nothing.
    pub length: u64,
    /// Tokens from its first to its last one.
    pub tokens: u64,
    /// Number of its document, from 0.
    pub document: u64,
    /// Id of the document; what exceeds 100 characters is cut.
    pub doc_id: String,
    /// Position of its first token in the document, from 0.
    pub position: u64,
}

impl DecidedRun {
    /// No run yet, counted in this unit.
    #[must_use]
    pub fn new(unit: RunUnit) -> Self {
        Self { unit, length: 0, tokens: 0, document: 0, doc_id: String::new(), position: 0 }
    }

    /// Notes the longest run of a document, by its number among all.
    pub fn note(&mut self, document: u64, doc_id: &str, run: LongestRun) {
        if run.units > self.length {
            (self.length, self.tokens) = (run.units, run.end - run.start);
            (self.document, self.position) = (document, run.start);
            self.doc_id = short_id(doc_id).into_owned();
        }
    }

    /// Adds the longest run of further documents, after `documents` others.
    fn join(&mut self, mut later: Self, documents: u64) {
        if later.length > self.length {
            later.document += documents;
            *self = later;
        }
    }
}

/// Adds the run of further documents, where runs are counted.
pub(crate) fn join_runs(run: &mut Option<DecidedRun>, later: Option<DecidedRun>, documents: u64) {
    if let (Some(run), Some(later)) = (run.as_mut(), later) {
        run.join(later, documents);
    }
}

/// Looks for the longest runs, document by document.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeptCounter {
    documents: u64,
    runs: KeptRuns,
}

impl KeptCounter {
    /// A counter of no documents. `unit` is what runs of decided tokens are counted in, if they are.
    #[must_use]
    pub fn new(unit: Option<RunUnit>) -> Self {
        let decided = unit.map(DecidedRun::new);
        Self { documents: 0, runs: KeptRuns { tokens: KeptRun::default(), decided } }
    }

    /// Documents so far.
    #[must_use]
    pub fn documents(&self) -> u64 {
        self.documents
    }

    /// Notes the longest run of decided words or tokens of this document of all, which need not be the next one.
    pub fn note_decided(&mut self, document: u64, doc_id: &str, run: LongestRun) {
        if let Some(longest) = &mut self.runs.decided {
            longest.note(document, doc_id, run);
        }
    }

    /// Adds the next document, with its mask.
    pub fn add(&mut self, doc_id: &str, mask: &[u8]) {
        let longer_than = usize::try_from(self.runs.tokens.tokens).unwrap_or(usize::MAX);
        if let Some(run) = longest_stretch(mask, longer_than) {
            self.note_stretch(self.documents, doc_id, &run);
        }
        self.documents += 1;
    }

    /// Notes the longest stretch of kept tokens of this document of all, which need not be the next one.
    pub fn note_stretch(&mut self, document: u64, doc_id: &str, run: &Range<usize>) {
        let (tokens, position) = (run.len() as u64, run.start as u64);
        if tokens > self.runs.tokens.tokens {
            self.runs.tokens = KeptRun { tokens, document, doc_id: short_id(doc_id).into_owned(), position };
        }
    }

    /// Passes over documents whose longest runs were noted.
    pub fn pass(&mut self, documents: u64) {
        self.documents += documents;
    }

    /// The longest runs of all documents.
    #[must_use]
    pub fn runs(&self) -> &KeptRuns {
        &self.runs
    }
}

impl KeptRuns {
    /// Adds the runs of further documents, after `documents` others.
    pub(crate) fn join(&mut self, mut later: Self, documents: u64) {
        if later.tokens.tokens > self.tokens.tokens {
            later.tokens.document += documents;
            self.tokens = later.tokens;
        }
        join_runs(&mut self.decided, later.decided, documents);
    }
}

/// Characters that a message or a manifest has of a document's id.
const LONGEST_ID: usize = 100;

/// A document's id, cut with its length where it is long: anyone chooses ids.
pub(crate) fn short_id(id: &str) -> Cow<'_, str> {
    match id.char_indices().nth(LONGEST_ID) {
        Some((end, _)) => format!("{}… ({} characters)", &id[..end], id.chars().count()).into(),
        None => id.into(),
    }
}
