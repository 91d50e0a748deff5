//! The positive control of an audit: probes that the model is known to recite.
//!
//! An audit that finds nothing shows nothing unless it would have found something. So the same engine is given texts that the model
//! recites for certain: those that somebody knows it recites, or the model's own greedy output, scored again. An audit that does not
//! find most of them can't be clean.
//!
//! Not to be confused with the [planted canaries](crate::canaries) of a randomized test.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::answers::Answers;
use crate::backend::{Backend, Decoding, GenerateRequest, Generated};
use crate::error::AuditError;
use crate::probe::{Grid, ProbeCounts, ProbeTable, Set, Start};
use crate::rows::ResultRow;
use crate::stat::{Clusters, Rate, RateMethod, rate};

/// Prefixes that the model continues for a canary of its own output.
const OWN: usize = 16;

/// The share of the canaries that has to be found.
pub(crate) const FOUND: f64 = 0.5;

/// Where canaries come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CanarySource {
    /// Documents that the model is known to recite.
    Documents,
    /// The model's own greedy continuations of audited prefixes.
    OwnOutput,
}

/// The canaries of a run, in its configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CanaryConfig {
    /// Where they come from.
    pub source: CanarySource,
    /// Number of probes.
    pub probes: u64,
    /// As the configuration's `probes`, over these.
    pub hash: String,
}

/// What became of the canaries.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CanarySummary {
    /// Where they come from.
    pub source: CanarySource,
    /// Exact matches among them.
    pub exact_match: Rate,
    /// Whether at least half of them were found. If not, nothing that the run did not find is shown to be absent, and its gates fail.
    pub passed: bool,
}

impl CanarySummary {
    /// The summary of the canaries' rows.
    pub(crate) fn new(source: CanarySource, rows: &[&ResultRow], method: RateMethod) -> Self {
        let found = rows.iter().map(|row| (&row.cluster, f64::from(u8::from(row.exact_match))));
        let exact_match = rate(&Clusters::new(found), method);
        Self { source, exact_match, passed: exact_match.n > 0 && exact_match.rate >= FOUND }
    }

    /// What to know before the numbers, if the canaries were not found.
    pub(crate) fn note(&self) -> Option<String> {
        let Rate { positives, n, .. } = self.exact_match;
        let source = match self.source {
            CanarySource::Documents => "texts that the model is said to recite",
            CanarySource::OwnOutput => "greedy continuations of the model itself",
        };
        (!self.passed).then(|| {
            format!(
                "the positive control failed: of {n} {source}, {positives} were found; what this audit did not find may be there all the same"
            )
        })
    }
}

/// Canaries of the model's own output: greedy continuations of some audited prefixes, with the longest prefix of the grid that they have
/// tokens for. `bos` is put before each prompt.
///
/// # Errors
///
/// If the backend doesn't answer, or with fewer tokens than asked for and no [caveat](crate::backend::Caveat::allows_fewer). What is
/// shorter with one is left out.
pub fn own_output(
    backend: &dyn Backend,
    audited: &ProbeTable,
    grid: &Grid,
    bos: Option<u32>,
) -> Result<ProbeTable, AuditError> {
    let nothing = || ProbeTable::new(Set::Canary, Vec::new(), grid, ProbeCounts::default());
    let (Some(shortest), Some(longest)) = (grid.suffixes.first(), grid.suffixes.last()) else {
        return Ok(nothing());
    };
    let tokens = *longest as usize;
    let step = audited.starts.len().div_ceil(OWN).max(1);
    let chosen: Vec<&Start> = audited.starts.iter().step_by(step).collect();
    let fits = |start: &Start, prefix: u32| start.ids.len() >= (prefix + shortest) as usize;
    // One length for all, since a probe table has a grid.
    let mut prefixes = grid.prefixes.iter().rev().copied();
    let Some(prefix) = prefixes.find(|prefix| chosen.iter().any(|start| fits(start, *prefix))) else {
        return Ok(nothing());
    };
    let chosen: Vec<&Start> = chosen.into_iter().filter(|start| fits(start, prefix)).collect();
    let prompts: Vec<Vec<u32>> = chosen
        .iter()
        .map(|start| bos.iter().chain(&start.ids[..prefix as usize]).copied().collect())
        .collect();
    let requests: Vec<GenerateRequest<'_>> =
        prompts.iter().map(|prompt| GenerateRequest { prompt, tokens }).collect();
    let answers = backend.generate(&requests, &Decoding::Greedy)?;
    let check = Answers(backend);
    check.check_count(answers.len(), requests.len(), "continuations")?;
    let ended = |answer: &Generated| {
        answer.ids.len() < tokens && answer.caveats.iter().any(|caveat| caveat.allows_fewer())
    };
    let whole: Vec<_> = chosen.iter().zip(answers).filter(|(_, answer)| !ended(answer)).collect();
    for (_, answer) in &whole {
        check.check_count(answer.ids.len(), tokens, "tokens of continuation")?;
    }
    let starts = whole.into_iter().zip(0..);
    let starts: Vec<Start> = starts
        .map(|((start, answer), document)| {
            let ids = [&start.ids[..prefix as usize], &answer.ids].concat();
            Start {
                document,
                doc_id: format!("own output after {} token {}", start.doc_id, start.offset),
                stratum: String::new(),
                document_tokens: ids.len() as u64,
                offset: 0,
                before: Vec::new(),
                ids,
                mask: None,
                copies: 1,
                clusters: Vec::new(),
            }
        })
        .collect();
    let grid = Grid::new(vec![0], None, vec![prefix], grid.suffixes.clone())?;
    Ok(ProbeTable::new(Set::Canary, starts, &grid, ProbeCounts::default()))
}
