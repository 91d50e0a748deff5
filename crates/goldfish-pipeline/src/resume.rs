//! Taking up a run where it was interrupted: what the journal holds, and whether it still fits.

use std::borrow::Cow;
use std::path::Path;

use goldfish_corpus::{FileDigest, Input, digest_start};
use goldfish_mask::SequenceState;
use goldfish_mask::diagnostics::Tally;
use goldfish_shard::{FileSet, InputEntry, MAX_LISTED_INPUTS, Manifest, Unfinished};
use rayon::ThreadPool;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::PipelineError;
use crate::job::{MaskJob, OnError};
use crate::plan::{InputIdentity, Plan, Step, digest_of};
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
pub(crate) struct Checkpoint<'a> {
    pub(crate) place: Place,
    /// Inputs that ended since the last checkpoint in the journal.
    pub(crate) inputs: Cow<'a, [InputEntry]>,
    pub(crate) current: CurrentInput,
    pub(crate) documents_in: u64,
    pub(crate) documents_rejected: u64,
    pub(crate) tokenized: TokenizedBytes,
    pub(crate) tally: Tally,
    /// Of packed sequences, and of what counts beside them.
    pub(crate) sequences: Option<(SequenceState, SequenceState)>,
}

impl Checkpoint<'_> {
    /// The last state of an unfinished run, with all inputs that ended before.
    pub(crate) fn last(unfinished: &mut Unfinished, staging: &Path) -> Result<Self, PipelineError> {
        let mut last = Self::default();
        let mut inputs = Vec::new();
        for state in std::mem::take(&mut unfinished.states) {
            last = serde_json::from_str(state.get()).map_err(|e| {
                PipelineError::Options(format!(
                    "{}: the journal of the unfinished run can't be used: {e}; start again with --overwrite",
                    staging.display()
                ))
            })?;
            inputs.extend(std::mem::take(&mut last.inputs).into_owned());
        }
        Ok(Self { inputs: inputs.into(), ..last })
    }

    pub(crate) fn to_json(&self) -> Box<RawValue> {
        to_json(self)
    }
}

/// Everything that decides what a run writes, but the contents of its inputs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Identity {
    options: Manifest,
    /// As many as a manifest lists.
    inputs: Vec<InputIdentity>,
    /// Of more inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    input_list: Option<InputList>,
    skips_rejects: bool,
}

/// What tells a long list of inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct InputList {
    count: usize,
    /// As in [`PartEntry::plan`](goldfish_shard::PartEntry::plan).
    digest: String,
}

impl Identity {
    pub(crate) fn of_job(job: &MaskJob, plan: &Plan) -> Self {
        Self::new(job.manifest(plan), plan.steps.iter().map(Step::identity), job.on_error == OnError::Skip)
    }

    fn new(
        options: Manifest,
        inputs: impl ExactSizeIterator<Item = InputIdentity>,
        skips_rejects: bool,
    ) -> Self {
        let count = inputs.len();
        let (inputs, input_list) = if count > MAX_LISTED_INPUTS {
            (Vec::new(), Some(InputList { count, digest: digest_of(inputs) }))
        } else {
            (inputs.collect(), None)
        };
        Self { options, inputs, input_list, skips_rejects }
    }

    /// What a finished run was about, with its inputs.
    pub(crate) fn of_manifest(mut manifest: Manifest, inputs: &[InputEntry]) -> Self {
        let skips_rejects = manifest.rejects.is_some();
        manifest.inputs = Vec::new();
        manifest.input_table = None;
        manifest.shards = Vec::new();
        manifest.rejects = None;
        manifest.totals = goldfish_shard::Totals::default();
        manifest.checksum = String::new();
        Self::new(manifest, inputs.iter().map(InputIdentity::of_entry), skips_rejects)
    }

    /// What a finished run that wrote masks alone was about; `now` is this job's manifest, for what such a run doesn't say.
    pub(crate) fn of_file_set(set: &FileSet, now: Manifest) -> Self {
        let FileSet { tool, rule, scope, exempt_ids, tokenizer, source, inputs, .. } = set;
        let then = Manifest {
            tool: tool.clone(),
            rule: rule.clone(),
            scope: *scope,
            exempt_ids: exempt_ids.clone(),
            tokenizer: tokenizer.clone(),
            source: source.clone(),
            rejects: None,
            ..now
        };
        Self::of_manifest(then, inputs)
    }

    pub(crate) fn to_json(&self) -> Box<RawValue> {
        to_json(self)
    }

    /// Refuses to go on with what another job started. Rows may be skipped that stopped the run before. `ended` are inputs
    /// that the other job read, from its first one on.
    pub(crate) fn check(
        &self,
        then: &Value,
        (plan, ended): (&Plan, &[InputEntry]),
        rejected: u64,
        output: &Path,
    ) -> Result<(), PipelineError> {
        let now = serde_json::to_value(self).unwrap_or_default();
        let mut differences = Vec::new();
        differ("", then, &now, &mut differences);
        let lists =
            |difference: &String| difference.starts_with("input_list") || difference.starts_with("inputs");
        if (then.get("input_list").is_some() || self.input_list.is_some()) && differences.iter().any(lists) {
            differences.retain(|difference| !lists(difference));
            differences.extend(differing_lists(then, plan, ended));
        }
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

/// Says how two lists of inputs differ, one of which is known by its digest alone.
fn differing_lists(then: &Value, plan: &Plan, ended: &[InputEntry]) -> Vec<String> {
    let listed = then["inputs"].as_array().map_or(0, Vec::len);
    let before = then["input_list"]["count"].as_u64().unwrap_or(listed as u64);
    let now = plan.steps.len();
    let mut differences = Vec::new();
    if before != now as u64 {
        differences.push(format!("inputs: {before} entries then, {now} now"));
    }
    let pairs = ended.iter().map(InputIdentity::of_entry).zip(plan.steps.iter().map(Step::identity));
    let other = pairs.enumerate().find(|(_, (then, now))| then != now);
    if let Some((index, (then, now))) = other {
        let tell =
            |input: &InputIdentity| format!("{:?} ({}, {} bytes)", input.name, input.format, input.size);
        differences.push(format!("inputs.{index}: {} then, {} now", tell(&then), tell(&now)));
    }
    if differences.is_empty() {
        let read = ended.len();
        differences.push(format!("inputs: names, formats or sizes differ behind the first {read}"));
    }
    differences
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
    let check_ended = || {
        plan.steps.par_iter().zip(ended).try_for_each(|(step, entry)| {
            let main = FileDigest { size: entry.size, hash: entry.hash.clone() };
            let companions = entry.companions.iter().map(|companion| companion.digest.clone());
            check_files(&step.input, std::iter::once(main).chain(companions))
        })
    };
    let check_current = || {
        let step = place.and_then(|place| Some((plan.steps.get(place.step)?, &place.read)));
        step.map_or(Ok(()), |(step, read)| check_files(&step.input, read.iter().cloned()))
    };
    let (ended, current) = pool.install(|| rayon::join(check_ended, check_current));
    ended.and(current)
}

/// Compares the starts of an input's files, the main one first.
fn check_files(input: &Input, digests: impl Iterator<Item = FileDigest>) -> Result<(), PipelineError> {
    let companions = input.companions().into_iter().map(|(_, path)| path);
    for (path, expected) in std::iter::once(input.path.to_path_buf()).chain(companions).zip(digests) {
        if digest_start(&path, expected.size)? != expected {
            return Err(PipelineError::InputChanged { path, bytes: expected.size });
        }
    }
    Ok(())
}

pub(crate) fn to_json(value: &impl Serialize) -> Box<RawValue> {
    // Strings, numbers and lists only: serialisation has nothing to fail at.
    serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
