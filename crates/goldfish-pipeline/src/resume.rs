//! Resuming an interrupted run: what its journal holds, and whether it still fits the job.

use std::borrow::Cow;
use std::path::Path;

use goldfish_corpus::{FileDigest, Input, Reject, digest_start};
use goldfish_remedy::Setting;
use goldfish_shard::{
    FileSet, InputEntry, KeptCounter, MAX_LISTED_INPUTS, Manifest, PolicyRule, ProtectedEntry, Unfinished,
};
use rayon::ThreadPool;
use rayon::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::PipelineError;
use crate::job::{MaskJob, OnError};
use crate::message::BROKEN_ROW;
use crate::plan::{InputIdentity, Plan, Position, Step, digest_of};
use crate::progress::TokenizedText;
use crate::results::{Counts, SequenceStates};

/// Counts of the input that is being written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CurrentInput {
    pub(crate) documents: u64,
    pub(crate) rejected: u64,
    pub(crate) next_row: u64,
}

impl CurrentInput {
    /// Counts documents, and notes the row after the last one that was read, if any was.
    pub(crate) fn add(&mut self, documents: u64, next_row: Option<u64>) {
        self.documents += documents;
        self.next_row = next_row.unwrap_or(self.next_row);
    }

    /// Counts a rejected row and fills in where it is; an error if bad rows are to stop the run.
    pub(crate) fn reject(&mut self, reject: Reject, on_error: OnError) -> Result<Reject, PipelineError> {
        let row = if reject.row == BROKEN_ROW { self.next_row } else { reject.row };
        let reject = Reject { row, ..reject };
        if on_error == OnError::Fail {
            return Err(PipelineError::Rejected(reject.into()));
        }
        self.rejected += 1;
        Ok(reject)
    }

    /// Ends the input, whose entry gets the counts, and starts the next one.
    pub(crate) fn end(&mut self, entry: InputEntry) -> InputEntry {
        let Self { documents, rejected, .. } = std::mem::take(self);
        InputEntry { documents, rejected, ..entry }
    }
}

/// The state of the writer before a work item: all that is needed to resume with that item.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Checkpoint<'a> {
    #[serde(rename = "place")]
    pub(crate) position: Position,
    /// Inputs that ended since the last checkpoint in the journal.
    pub(crate) inputs: Cow<'a, [InputEntry]>,
    pub(crate) current: CurrentInput,
    pub(crate) documents_in: u64,
    pub(crate) documents_rejected: u64,
    #[serde(default)]
    pub(crate) documents_null: u64,
    pub(crate) tokenized: TokenizedText,
    pub(crate) counts: Counts,
    pub(crate) sequences: Option<SequenceStates>,
    pub(crate) kept: Option<KeptCounter>,
}

impl Checkpoint<'_> {
    /// The last state of an unfinished run, with all inputs that ended before.
    pub(crate) fn last(unfinished: &mut Unfinished, output: &Path) -> Result<Self, PipelineError> {
        let mut last = Self::default();
        let mut inputs = Vec::new();
        for state in parse_states::<Self>(std::mem::take(&mut unfinished.states), output) {
            last = state?;
            inputs.extend(std::mem::take(&mut last.inputs).into_owned());
        }
        Ok(Self { inputs: inputs.into(), ..last })
    }

    pub(crate) fn to_json(&self) -> Box<RawValue> {
        to_json(self)
    }
}

/// The states in the journal of an unfinished run.
pub(crate) fn parse_states<S: DeserializeOwned>(
    states: Vec<Box<RawValue>>,
    output: &Path,
) -> impl Iterator<Item = Result<S, PipelineError>> {
    states.into_iter().map(move |state| {
        serde_json::from_str(state.get())
            .map_err(|source| PipelineError::BadState { output: output.to_owned(), source })
    })
}

/// Everything that decides what a run writes, except for the contents of its inputs.
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

/// The identity of a long list of inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct InputList {
    count: usize,
    /// As in [`PartEntry::plan`](goldfish_shard::PartEntry::plan).
    digest: String,
}

impl Identity {
    pub(crate) fn of_job(job: &MaskJob, plan: &Plan) -> Self {
        Self::new(job.manifest(plan), plan.steps.iter().map(Step::identity), job.skips_rejects())
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

    /// Of a finished run, with its inputs.
    pub(crate) fn of_manifest(mut manifest: Manifest, inputs: &[InputEntry]) -> Self {
        let skips_rejects = manifest.rejects.is_some();
        manifest.inputs = Vec::new();
        manifest.input_table = None;
        manifest.shards = Vec::new();
        manifest.rejects = None;
        manifest.totals = goldfish_shard::Totals::default();
        manifest.longest_kept_run = None;
        manifest.protected = manifest.protected.as_ref().map(ProtectedEntry::uncounted);
        manifest.policy = manifest.policy.iter().map(PolicyRule::uncounted).collect();
        manifest.checksum = String::new();
        Self::new(manifest, inputs.iter().map(InputIdentity::of_entry), skips_rejects)
    }

    /// Of a finished run that wrote masks alone; what its manifest doesn't have is taken from `now`, this job's.
    pub(crate) fn of_file_set(set: &FileSet, now: Manifest) -> Self {
        let FileSet { tool, rule, scope, exempt_ids, existing_mask, tokenizer, source, inputs, .. } = set;
        let then = Manifest {
            tool: tool.clone(),
            rule: rule.clone(),
            scope: *scope,
            exempt_ids: exempt_ids.clone(),
            existing_mask: existing_mask.clone(),
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

    /// As a journal has it.
    pub(crate) fn to_value(&self) -> Value {
        // Strings, numbers and lists only: serialization can't fail.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Refuses to resume what another job started. Rows may be skipped that stopped the run before. `ended` are inputs
    /// that the other job read, from its first one on.
    pub(crate) fn check(
        &self,
        then: &Value,
        (plan, ended): (&Plan, &[InputEntry]),
        rejected: u64,
        output: &Path,
    ) -> Result<(), PipelineError> {
        let now = self.to_value();
        let mut differences = Vec::new();
        differ("", then, &now, &mut differences);
        let lists =
            |difference: &Difference| ["input_list", "inputs"].iter().any(|list| difference.is_in(list));
        if (then.get("input_list").is_some() || self.input_list.is_some()) && differences.iter().any(lists) {
            differences.retain(|difference| !lists(difference));
            differences.extend(differing_lists(then, plan, ended));
        }
        let may_differ = self.skips_rejects || rejected == 0;
        differences.retain(|difference| !(may_differ && difference.is_in("skips_rejects")));
        // Another rule has other parameters, and some follow from k.
        let differs = |path| differences.iter().any(|difference| difference.path == path);
        let (rule, k) = (differs("rule.name"), differs("rule.k"));
        differences.retain(|difference| match difference.path.as_str() {
            "rule.longest_run" | "rule.threshold" => !(rule || k),
            "rule.name" => true,
            _ => !(rule && difference.is_in("rule")),
        });
        if differences.is_empty() {
            return Ok(());
        }
        let mut settings: Vec<Setting> = Vec::new();
        let mut listed = Vec::new();
        for difference in &differences {
            let new: Vec<Setting> =
                difference.settings().iter().copied().filter(|setting| !settings.contains(setting)).collect();
            // What follows from an option is listed once.
            if !new.is_empty() || difference.settings().is_empty() {
                listed.push(difference.describe());
            }
            settings.extend(new);
        }
        let more = listed.len().saturating_sub(LISTED_DIFFERENCES);
        listed.truncate(LISTED_DIFFERENCES);
        if more > 0 {
            listed.push(format!("and {more} more"));
        }
        let only_settings = differences.iter().all(|difference| !difference.settings().is_empty());
        Err(PipelineError::OtherJob {
            output: output.to_owned(),
            differences: listed.join("; "),
            settings,
            only_settings,
        })
    }
}

/// Where two jobs differ.
struct Difference {
    /// Names in the JSON of their identities, from the manifest on.
    path: String,
    /// What was there, and what is there now.
    values: String,
}

impl Difference {
    fn new(path: &str, values: String) -> Self {
        Self { path: path.strip_prefix("options.").unwrap_or(path).to_owned(), values }
    }

    /// Whether it is in the value of this name.
    fn is_in(&self, name: &str) -> bool {
        self.path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// The options that decide the value.
    fn settings(&self) -> &'static [Setting] {
        let (first, rest) = self.path.split_once('.').unwrap_or((&self.path, ""));
        match (first, rest.split('.').next().unwrap_or_default()) {
            ("rule", "name") => &[Setting::Rule],
            ("rule", "k") => &[Setting::K],
            ("rule", "context") => &[Setting::Context],
            ("rule", "longest_run") => &[Setting::LongestRun],
            ("rule", "unit") => &[Setting::Unit],
            ("rule", "window") => &[Setting::Window],
            ("rule", "head") => &[Setting::Head],
            ("rule", "seed") => &[Setting::Seed],
            ("rule", "start") => &[Setting::Start],
            ("rule", "table") => &[Setting::Table],
            ("rule", "coefficients") => &[Setting::Coefficients],
            ("policy" | "protected", _) => &[Setting::Policy],
            ("scope", "length") => &[Setting::SequenceLength],
            ("scope", _) => &[Setting::Scope],
            ("exempt_ids", _) => &[Setting::ExemptSpecial, Setting::EosId, Setting::BosId],
            ("existing_mask", _) | ("source", "existing_mask") => {
                &[Setting::MaskColumn, Setting::LabelsColumn]
            }
            ("tokenizer", "special_in_text") => &[Setting::SpecialInText],
            ("tokenizer", "prepended_bos") => &[Setting::PrependBos],
            ("tokenizer", "appended_eos") => &[Setting::AppendEos],
            ("tokenizer", _) => &[Setting::Tokenizer],
            ("source", "content" | "column") => &[Setting::TextColumn, Setting::IdsColumn],
            ("source", "id_column") => &[Setting::IdColumn],
            ("source", "ids_dtype") => &[Setting::IdsDtype],
            ("source", "eos_id") => &[Setting::EosId],
            ("source", "limit") => &[Setting::Limit],
            ("source", "max_document") => &[Setting::MaxDocument],
            ("output", "format") => &[Setting::OutputFormat],
            ("output", "columns") => &[Setting::Columns],
            ("output", "carry") => &[Setting::Carry],
            ("output", "shard_size") => &[Setting::ShardSize],
            ("part", _) => &[Setting::Rank, Setting::World],
            ("skips_rejects", _) => &[Setting::OnError],
            _ => &[],
        }
    }

    fn describe(&self) -> String {
        let name = match self.settings() {
            [setting] => setting.name(),
            _ => &self.path,
        };
        format!("{name}: {}", self.values)
    }
}

/// Says how two lists of inputs differ, one of which is known by its digest alone.
fn differing_lists(then: &Value, plan: &Plan, ended: &[InputEntry]) -> Vec<Difference> {
    let listed = then["inputs"].as_array().map_or(0, Vec::len);
    let before = then["input_list"]["count"].as_u64().unwrap_or(listed as u64);
    let now = plan.steps.len();
    let mut differences = Vec::new();
    if before != now as u64 {
        differences.push(Difference::new("inputs", format!("{before} entries then, {now} now")));
    }
    let pairs = ended.iter().map(InputIdentity::of_entry).zip(plan.steps.iter().map(Step::identity));
    let other = pairs.enumerate().find(|(_, (then, now))| then != now);
    if let Some((index, (then, now))) = other {
        let describe =
            |input: &InputIdentity| format!("{:?} ({}, {} bytes)", input.name, input.format, input.size);
        let values = format!("{} then, {} now", describe(&then), describe(&now));
        differences.push(Difference::new(&format!("inputs.{index}"), values));
    }
    if differences.is_empty() {
        let read = ended.len();
        let values = format!("names, formats or sizes differ after the first {read}");
        differences.push(Difference::new("inputs", values));
    }
    differences
}

/// Differences between two jobs that a message lists.
const LISTED_DIFFERENCES: usize = 4;

/// Lists where two JSON values differ.
fn differ(path: &str, then: &Value, now: &Value, differences: &mut Vec<Difference>) {
    let inner = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
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
            let values = format!("{} entries then, {} now", a.len(), b.len());
            differences.push(Difference::new(path, values));
        }
        (then, now) if then != now => {
            let shown = |value: &Value| if value.is_null() { "none".into() } else { value.to_string() };
            differences.push(Difference::new(path, format!("{} then, {} now", shown(then), shown(now))));
        }
        _ => {}
    }
}

/// Reads all that was read before again, and compares it with what it was.
pub(crate) fn check_inputs(
    plan: &Plan,
    ended: &[InputEntry],
    position: Option<&Position>,
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
        let step = position.and_then(|position| Some((plan.steps.get(position.step)?, &position.read)));
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
    // Strings, numbers and lists only: serialization can't fail.
    serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
