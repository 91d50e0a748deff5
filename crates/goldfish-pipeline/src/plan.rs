//! What a run reads: every input, or one rank's part of them.

use std::io::{self, ErrorKind, Write};
use std::path::Path;

use goldfish_corpus::{CorpusError, FileDigest, Input, Part};
use goldfish_digest::HashingWriter;
use goldfish_shard::{InputEntry, MAX_INPUTS, PartEntry};
use serde::{Deserialize, Serialize};

use crate::PipelineError;
use crate::job_error::JobError;

/// One of `world` disjoint parts of the inputs, which together are all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Which one, from 0.
    pub rank: u32,
    /// How many there are, 1 at least.
    pub world: u32,
}

/// One input, or a part of it.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) input: Input,
    pub(crate) part: Part,
    /// Size of the whole input's main file, in bytes.
    pub(crate) size: u64,
}

/// What is read, in order.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    /// For the manifest, if this is one of many parts.
    pub(crate) part: Option<PartEntry>,
    /// If this part is empty, the input that sets the columns of the others.
    pub(crate) model: Option<Input>,
    /// Whether no work item holds documents of two inputs.
    pub(crate) one_input_per_item: bool,
    /// How many rows are read; `None` for all.
    pub(crate) limit: Option<u64>,
}

/// Where a work item starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Index in the plan.
    pub(crate) step: usize,
    /// Row of that input.
    pub(crate) row: u64,
    /// Size and hash of a start of each of its files, with all that was read before.
    pub(crate) read: Vec<FileDigest>,
}

/// What identifies an input before it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InputIdentity {
    pub(crate) name: String,
    pub(crate) format: String,
    pub(crate) size: u64,
}

impl Plan {
    /// Concatenates the inputs and cuts them at equal numbers of bytes.
    pub(crate) fn new(inputs: &[Input], partition: Option<Partition>) -> Result<Self, PipelineError> {
        if inputs.len() as u64 > MAX_INPUTS {
            return Err(JobError::TooManyInputs { count: inputs.len() }.into());
        }
        let mut whole = Vec::with_capacity(inputs.len());
        for (input, size) in inputs.iter().zip(sizes(inputs)?) {
            whole.push(Step { input: input.clone(), part: Part::WHOLE, size });
        }
        let Some(Partition { rank, world }) = partition else {
            return Ok(Self {
                steps: whole,
                part: None,
                model: None,
                one_input_per_item: false,
                limit: None,
            });
        };
        if rank >= world {
            return Err(JobError::NoSuchRank { rank, world }.into());
        }
        let total: u64 = whole.iter().map(|step| step.size).sum();
        let border = |rank: u32| (u128::from(total) * u128::from(rank) / u128::from(world)) as u64;
        let range =
            Part { start: border(rank), end: if rank + 1 == world { u64::MAX } else { border(rank + 1) } };
        let part = PartEntry { rank, world, plan: digest_of(whole.iter().map(Step::identity)) };
        let model = inputs.first().cloned();
        let mut steps = Vec::new();
        let mut before = 0;
        for step in whole {
            let end = before + step.size;
            if let Some(part) = local_part(&step.input, range, before, end)? {
                steps.push(Step { part, ..step });
            }
            before = end;
        }
        Ok(Self {
            model: model.filter(|_| steps.is_empty()),
            steps,
            part: Some(part),
            one_input_per_item: false,
            limit: None,
        })
    }

    /// Bytes of all files that are read.
    pub(crate) fn bytes(&self) -> u64 {
        self.steps.iter().map(|step| step.size).sum()
    }
}

/// The hash of the identities of inputs, as a JSON list.
pub(crate) fn digest_of(inputs: impl Iterator<Item = InputIdentity>) -> String {
    let mut json = HashingWriter::new(io::sink());
    let mut before = "[";
    for input in inputs {
        // Neither strings and numbers nor a sink can fail.
        let _ = json.write_all(before.as_bytes());
        let _ = json.write_all(&serde_json::to_vec(&input).unwrap_or_default());
        before = ",";
    }
    let _ = json.write_all(if before == "[" { b"[]" } else { b"]" });
    json.finish().0.hash
}

/// The sizes of the inputs' main files, in bytes; 0 for a missing input, which is reported when it is read.
fn sizes(inputs: &[Input]) -> Result<Vec<u64>, CorpusError> {
    let paths: Vec<&Path> = inputs.iter().map(|input| &*input.path).collect();
    let answers = goldfish_storage::metadata_of_all(&paths).into_iter().zip(&paths);
    let size = |(answer, path): (std::io::Result<goldfish_storage::Metadata>, &&Path)| match answer {
        Ok(metadata) => Ok(metadata.size),
        // Ranks would disagree about the parts if a store didn't answer one of them.
        Err(source) if goldfish_storage::is_remote(path) && source.kind() != ErrorKind::NotFound => {
            Err(CorpusError::Io { path: path.to_path_buf(), action: "looking at it", source })
        }
        Err(_) => Ok(0),
    };
    answers.map(size).collect()
}

/// Which part of an input at bytes `start..end` of all inputs belongs to a range of them, if any does.
fn local_part(input: &Input, range: Part, start: u64, end: u64) -> Result<Option<Part>, CorpusError> {
    let starts_here = (range.start..range.end).contains(&start);
    let reaches_in = start < range.start && range.start < end.min(range.end);
    if !starts_here && !reaches_in {
        return Ok(None);
    }
    if range.start <= start && end <= range.end {
        return Ok(Some(Part::WHOLE));
    }
    if !input.is_divisible()? {
        return Ok(starts_here.then_some(Part::WHOLE));
    }
    let part_end = if end <= range.end { u64::MAX } else { range.end - start };
    Ok(Some(Part { start: range.start.saturating_sub(start), end: part_end }))
}

impl InputIdentity {
    /// Of an input that was read.
    pub(crate) fn of_entry(entry: &InputEntry) -> Self {
        Self { name: entry.name.clone(), format: entry.format.clone(), size: entry.size }
    }
}

impl Step {
    pub(crate) fn identity(&self) -> InputIdentity {
        let Input { name, format, .. } = &self.input;
        InputIdentity { name: name.to_string(), format: format.name().to_owned(), size: self.size }
    }
}
