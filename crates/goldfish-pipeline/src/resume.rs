//! Taking up a run where it was interrupted: what the journal holds, and whether it still fits.

use std::path::{Path, PathBuf};

use goldfish_corpus::{FileDigest, Input, digest_start};
use goldfish_mask::{SequenceState, Tally};
use goldfish_shard::{FileSet, InputEntry, Manifest, Unfinished};
use rayon::ThreadPool;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::PipelineError;
use crate::job::{MaskJob, OnError};
use crate::plan::{InputIdentity, Plan, Step};
use crate::run::TokenizedBytes;

/// Where a work item starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Index in the plan.
    pub(crate) step: usize,
    /// Row of that input.
    pub(crate) row: u64,
    /// Size and hash of a start of each of its files, with all that was read before.
    pub(crate) read: Vec<FileDigest>,
}

/// Counts of the input that is being written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CurrentInput {
    pub(crate) documents: u64,
    pub(crate) rejected: u64,
    pub(crate) next_row: u64,
}

/// How far the writer is before a work item: all that is needed to bring the item again and go on behind it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    pub(crate) place: Place,
    /// Inputs that ended since the last checkpoint in the journal.
    pub(crate) inputs: Vec<InputEntry>,
    pub(crate) current: CurrentInput,
    pub(crate) documents_in: u64,
    pub(crate) documents_rejected: u64,
    pub(crate) tokenized: TokenizedBytes,
    pub(crate) tally: Tally,
    /// Of packed sequences, and of what counts beside them.
    pub(crate) sequences: Option<(SequenceState, SequenceState)>,
}

impl Checkpoint {
    /// The last state of an unfinished run, with all inputs that ended before.
    pub(crate) fn last(unfinished: &Unfinished, staging: &Path) -> Result<Self, PipelineError> {
        let mut last = Self::default();
        for state in &unfinished.states {
            let next: Self = serde_json::from_str(state.get()).map_err(|e| {
                PipelineError::Options(format!(
                    "{}: the journal of the unfinished run can't be used: {e}; start again with --overwrite",
                    staging.display()
                ))
            })?;
            let mut inputs = std::mem::take(&mut last.inputs);
            inputs.extend(next.inputs.iter().cloned());
            last = Self { inputs, ..next };
        }
        Ok(last)
    }

    pub(crate) fn to_json(&self) -> Box<RawValue> {
        to_json(self)
    }
}

/// Everything that decides what a run writes, but the contents of its inputs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Identity {
    options: Manifest,
    inputs: Vec<InputIdentity>,
    skips_rejects: bool,
}

impl Identity {
    pub(crate) fn of_job(job: &MaskJob, plan: &Plan) -> Self {
        let inputs = plan.steps.iter().map(Step::identity).collect();
        Self { options: job.manifest(plan), inputs, skips_rejects: job.on_error == OnError::Skip }
    }

    /// What a finished run was about.
    pub(crate) fn of_manifest(mut manifest: Manifest) -> Self {
        let identity =
            |entry: InputEntry| InputIdentity { name: entry.name, format: entry.format, size: entry.size };
        let inputs = std::mem::take(&mut manifest.inputs).into_iter().map(identity).collect();
        let skips_rejects = manifest.rejects.is_some();
        manifest.shards = Vec::new();
        manifest.rejects = None;
        manifest.totals = goldfish_shard::Totals::default();
        manifest.checksum = String::new();
        Self { options: manifest, inputs, skips_rejects }
    }

    /// What a finished run that wrote masks alone was about; `now` is this job's manifest, for what such a run doesn't say.
    pub(crate) fn of_file_set(set: FileSet, now: Manifest) -> Self {
        let FileSet { tool, rule, scope, exempt_ids, tokenizer, source, inputs, .. } = set;
        let then =
            Manifest { tool, rule, scope, exempt_ids, tokenizer, source, inputs, rejects: None, ..now };
        Self::of_manifest(then)
    }

    pub(crate) fn to_json(&self) -> Box<RawValue> {
        to_json(self)
    }

    /// Refuses to go on with what another job started. Rows may be skipped that stopped the run before.
    pub(crate) fn check(&self, then: &Value, rejected: u64, output: &Path) -> Result<(), PipelineError> {
        let now = serde_json::to_value(self).unwrap_or_default();
        let mut differences = Vec::new();
        differ("", then, &now, &mut differences);
        let may_differ = self.skips_rejects || rejected == 0;
        differences.retain(|difference| !(may_differ && difference.starts_with("skips_rejects")));
        if differences.is_empty() {
            return Ok(());
        }
        let more = differences.len().saturating_sub(LISTED_DIFFERENCES);
        differences.truncate(LISTED_DIFFERENCES);
        if more > 0 {
            differences.push(format!("and {more} more"));
        }
        Err(PipelineError::OtherJob { output: output.to_owned(), differences: differences.join("; ") })
    }
}

/// Differences between two jobs that a message lists.
const LISTED_DIFFERENCES: usize = 4;

/// Lists where two JSON values differ.
fn differ(place: &str, then: &Value, now: &Value, differences: &mut Vec<String>) {
    let inner = |key: &str| if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
    match (then, now) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<_> = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))).collect();
            keys.sort_unstable();
            for key in keys {
                let value =
                    |side: &serde_json::Map<String, Value>| side.get(key).cloned().unwrap_or_default();
                differ(&inner(key), &value(a), &value(b), differences);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let pairs = a.iter().zip(b).enumerate();
            pairs.for_each(|(i, (a, b))| differ(&inner(&i.to_string()), a, b, differences));
        }
        (Value::Array(a), Value::Array(b)) => {
            differences.push(format!("{place}: {} entries then, {} now", a.len(), b.len()));
        }
        (then, now) if then != now => differences.push(format!("{place}: {then} then, {now} now")),
        _ => {}
    }
}

/// Reads all that was read before once more, and compares it with what it was.
pub(crate) fn check_inputs(
    plan: &Plan,
    ended: &[InputEntry],
    place: Option<&Place>,
    pool: &ThreadPool,
) -> Result<(), PipelineError> {
    let mut wanted: Vec<(PathBuf, FileDigest)> = Vec::new();
    for (step, entry) in plan.steps.iter().zip(ended) {
        let main = FileDigest { size: entry.size, hash: entry.hash.clone() };
        let companions = entry.companions.iter().map(|companion| companion.digest.clone());
        add_files(&step.input, std::iter::once(main).chain(companions).collect(), &mut wanted);
    }
    if let Some(place) = place
        && let Some(step) = plan.steps.get(place.step)
    {
        add_files(&step.input, place.read.clone(), &mut wanted);
    }
    let check = |(path, expected): &(PathBuf, FileDigest)| -> Result<(), PipelineError> {
        let found = digest_start(path, expected.size)?;
        if found == *expected {
            return Ok(());
        }
        Err(PipelineError::InputChanged { path: path.clone(), bytes: expected.size })
    };
    pool.install(|| wanted.par_iter().map(check).collect())
}

/// Adds an input's files, the main one first.
fn add_files(input: &Input, digests: Vec<FileDigest>, wanted: &mut Vec<(PathBuf, FileDigest)>) {
    let companions = input.companions().into_iter().map(|(_, path)| path);
    let paths = std::iter::once(input.path.clone()).chain(companions);
    wanted.extend(paths.zip(digests));
}

pub(crate) fn to_json(value: &impl Serialize) -> Box<RawValue> {
    // Strings, numbers and lists only: serialisation has nothing to fail at.
    serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
