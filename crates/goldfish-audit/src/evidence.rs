//! `evidence.jsonl`: request and response of every positive.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::AuditError;
use crate::files::evidence_lines;

/// What proves that a probe is positive: what was asked and what came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The probe.
    pub probe_id: String,
    /// `audited`, `control` or `canary`.
    pub set: String,
    /// `in_prompt` where the prompt has the whole passage before the prefix, else `absent`.
    pub passage: String,
    /// The document's id.
    pub doc_id: String,
    /// Where the prefix starts in the document.
    pub offset: u64,
    /// `score` or `generate`.
    pub decided_by: String,
    /// Log-probability of each token of the suffix.
    pub log_probs: Option<Vec<f64>>,
    /// Rank of each token of the suffix.
    pub ranks: Option<Vec<u32>>,
    /// The tokens themselves; absent if redacted.
    pub tokens: Option<EvidenceTokens>,
}

/// The tokens of a piece of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvidenceTokens {
    /// What the model was given, BOS and a passage in the prompt included.
    pub prompt: Vec<u32>,
    /// The true suffix, which its greedy continuation is.
    pub expected: Vec<u32>,
    /// The prompt as text, without a BOS, where text is available.
    pub prompt_text: Option<String>,
    /// The suffix as text, where text is available.
    pub expected_text: Option<String>,
    /// The exchange with a server as it went over the wire, without secrets.
    pub exchange: Option<String>,
}

impl Evidence {
    /// The evidence of a line of a file.
    pub(crate) fn of_line(path: &Path, line: &str) -> Result<Self, AuditError> {
        serde_json::from_str(line)
            .map_err(|error| AuditError::bad_run(path, format!("a line is not evidence: {error}")))
    }

    /// All evidence of a file.
    pub(crate) fn read(
        path: &Path,
    ) -> Result<impl Iterator<Item = Result<Self, AuditError>> + use<>, AuditError> {
        let lines = evidence_lines(path)?;
        let path = path.to_owned();
        Ok(lines.map(move |line| Self::of_line(&path, &line?)))
    }
}
