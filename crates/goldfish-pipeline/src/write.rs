//! Writes shards: results in the order of the inputs.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Receiver;

use goldfish_corpus::Reject;
use goldfish_mask::diagnostics::Tally;
use goldfish_shard::{
    ExtraColumn, FinishedFiles, ListLengths, Manifest, PassageRow, PreparedFolder, ShardSchema, ShardWriter,
    Unfinished,
};
use serde_json::value::RawValue;

use crate::PipelineError;
use crate::job::OnError;
use crate::job_error::JobError;
use crate::message::{Event, Message, Tokens, WorkResult};
use crate::passage::Passage;
use crate::plan::{Plan, Position};
use crate::progress::TokenizedText;
use crate::repeated::{IdCounter, RepeatedIds};
use crate::results::{OrderedResults, for_each_result};
use crate::resume::{Checkpoint, CurrentInput};
use crate::sample::{Sample, SampledDocument};
use crate::work::Shared;

/// What a run did.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Whether an earlier run completed the folder, so that nothing was left to do.
    pub already_complete: bool,
    /// The manifest in the output folder.
    pub manifest: Manifest,
    /// Bytes of text by the path of the tokenizer.
    pub tokenized: TokenizedText,
    /// Counts over the tokens of all documents or, of much input, of a sample of documents chosen by their ids: of the one rule,
    /// or of each entry of the policy.
    pub tallies: Vec<Tally>,
    /// The first document with a dropped token among its first ones.
    pub passage: Option<Passage>,
    /// Document ids that occur more than once. `None` if there are none, or documents have no ids of their own, or an earlier run
    /// wrote some of the folder.
    pub repeated_ids: Option<RepeatedIds>,
    /// The documents that were counted, as far as they fit into memory. `None` if an earlier run wrote some of the folder.
    pub sample: Option<Vec<SampledDocument>>,
}

/// Writes shards.
pub(crate) struct OutputWriter<'a> {
    shared: &'a Shared,
    job: Box<RawValue>,
    output: Output,
    /// What an earlier run finished.
    finished: Option<FinishedFiles>,
    /// Documents of the first result that are in finished shards already.
    skip: u64,
    /// How many ended inputs are in the journal.
    recorded_inputs: usize,
    results: OrderedResults<'a>,
    manifest: Manifest,
    tokenized: TokenizedText,
    current: CurrentInput,
}

/// The output folder before and after the columns are known.
enum Output {
    Folder(Box<PreparedFolder>, Option<Box<Unfinished>>),
    Shards(Box<ShardWriter>),
    Gone,
}

/// The output folder, and what an earlier run left in it.
pub(crate) struct PreparedRun {
    pub(crate) folder: PreparedFolder,
    /// The job in JSON.
    pub(crate) job: Box<RawValue>,
    /// What an earlier run finished, and its last state.
    pub(crate) unfinished: Option<(Unfinished, Checkpoint<'static>)>,
}

/// The state of the writer before a work item.
struct Snapshot {
    checkpoint: Checkpoint<'static>,
    /// Inputs that ended.
    inputs: usize,
    lists: ListLengths,
}

impl PreparedRun {
    /// Where reading starts.
    pub(crate) fn position(&self) -> Position {
        self.unfinished.as_ref().map(|(_, checkpoint)| checkpoint.position.clone()).unwrap_or_default()
    }

    /// What an earlier run finished.
    pub(crate) fn finished(&self) -> Option<FinishedFiles> {
        self.unfinished.as_ref().map(|(unfinished, _)| unfinished.finished())
    }
}

impl<'a> OutputWriter<'a> {
    pub(crate) fn new(shared: &'a Shared, plan: &Plan, prepared: PreparedRun) -> Self {
        let PreparedRun { folder, job, unfinished } = prepared;
        let (unfinished, checkpoint) = unfinished.unzip();
        let Checkpoint {
            inputs,
            current,
            documents_in,
            documents_rejected,
            documents_null,
            tokenized,
            counts,
            sequences,
            kept,
            ..
        } = checkpoint.unwrap_or_default();
        let mut manifest = shared.job.manifest(plan);
        manifest.totals.documents_in = documents_in;
        manifest.totals.documents_rejected = documents_rejected;
        manifest.totals.documents_null = documents_null;
        Self {
            shared,
            job,
            finished: unfinished.as_ref().map(Unfinished::finished),
            skip: unfinished.as_ref().map_or(0, |unfinished| unfinished.rows),
            output: Output::Folder(Box::new(folder), unfinished.map(Box::new)),
            recorded_inputs: inputs.len(),
            results: OrderedResults::new(shared, sequences, kept.is_some().then_some(counts), kept),
            manifest: Manifest { inputs: inputs.into_owned(), ..manifest },
            tokenized,
            current,
        }
    }

    pub(crate) fn run(
        mut self,
        receiver: Receiver<Message<WorkResult>>,
        stop: &AtomicBool,
    ) -> Result<Outcome, PipelineError> {
        let written = for_each_result(receiver, stop, |result| self.write(result));
        let output = std::mem::replace(&mut self.output, Output::Gone);
        let (error, finished) = match (written, output) {
            (Ok(()), Output::Shards(writer)) => {
                let Self {
                    tokenized,
                    results: OrderedResults { counts, kept, passage, ids, sample, .. },
                    mut manifest,
                    ..
                } = self;
                manifest.longest_kept_run = Some(kept.runs().clone());
                manifest.totals.excluded_before = counts.excluded_before;
                manifest.totals.special_in_text = tokenized.special;
                if manifest.output.columns.contains(&ExtraColumn::LossWeights) {
                    manifest.totals.fractional = counts.fractional;
                }
                if let Some(protected) = &mut manifest.protected {
                    protected.counts = counts.protected;
                }
                for (entry, counts) in manifest.policy.iter_mut().zip(&counts.policy) {
                    entry.counts = counts.clone();
                }
                let last = Checkpoint {
                    position: Position { step: usize::MAX, ..Position::default() },
                    inputs: (&manifest.inputs[self.recorded_inputs..]).into(),
                    documents_rejected: manifest.totals.documents_rejected,
                    tokenized,
                    counts: counts.clone(),
                    ..Checkpoint::default()
                };
                let last = last.to_json();
                match writer.finish(manifest, last) {
                    Ok(manifest) => {
                        let sample = sample.map(Sample::into_documents);
                        let tallies = counts.tallies;
                        let repeated_ids = ids.and_then(IdCounter::report);
                        return Ok(Outcome {
                            already_complete: false,
                            manifest,
                            tokenized,
                            tallies,
                            passage,
                            repeated_ids,
                            sample,
                        });
                    }
                    Err((error, finished)) => (error.into(), finished),
                }
            }
            (written, Output::Folder(folder, unfinished)) => {
                if unfinished.is_none() {
                    folder.abandon();
                }
                (written.err().unwrap_or_else(|| JobError::NoInput.into()), self.finished)
            }
            (Err(error), Output::Shards(writer)) => (error, writer.stop()),
            (Err(error), Output::Gone) => (error, self.finished),
            (Ok(()), Output::Gone) => unreachable!("the output is taken here only"),
        };
        Err(error.with_finished(finished, &self.shared.job.output))
    }

    fn write(&mut self, result: WorkResult) -> Result<(), PipelineError> {
        let WorkResult { start, mut documents, schema, events, tokenized, tallies, passages, protected } =
            result;
        self.open(&schema)?;
        let before = self.snapshot(start);
        self.tokenized.fast += tokenized.fast;
        self.tokenized.exact += tokenized.exact;
        self.tokenized.special += tokenized.special;
        for event in events {
            match event {
                Event::Documents { count, next_row } => self.current.add(count, next_row),
                Event::Reject(reject) => self.reject(reject)?,
                Event::End(entry) => self.manifest.inputs.push(self.current.end(entry)),
            }
        }
        self.results.add(&mut documents, &tallies, &protected);
        self.write_passages(&passages)?;
        self.manifest.totals.documents_in += documents.len() as u64;
        self.write_documents(documents, &schema, before)
    }

    /// The state before the work item that starts at `position`.
    fn snapshot(&self, position: Position) -> Snapshot {
        Snapshot {
            checkpoint: Checkpoint {
                position,
                current: self.current,
                documents_in: self.manifest.totals.documents_in,
                documents_rejected: self.manifest.totals.documents_rejected,
                documents_null: self.manifest.totals.documents_null,
                tokenized: self.tokenized,
                counts: self.results.counts.clone(),
                sequences: self.results.states(),
                kept: Some(self.results.kept.clone()),
                ..Checkpoint::default()
            },
            inputs: self.manifest.inputs.len(),
            lists: match &self.output {
                Output::Shards(writer) => writer.lists(),
                Output::Folder(..) | Output::Gone => ListLengths::default(),
            },
        }
    }

    fn write_documents(
        &mut self,
        documents: Tokens,
        schema: &ShardSchema,
        before: Snapshot,
    ) -> Result<(), PipelineError> {
        let skip = std::mem::take(&mut self.skip);
        let Output::Shards(writer) = &mut self.output else { return Ok(()) };
        if documents.len() == 0 {
            return Ok(());
        }
        let batch = documents.into_record_batch(schema);
        let batch =
            batch.map_err(|source| PipelineError::Batch { file: self.shared.first_input(), source })?;
        let (inputs, recorded) = (&self.manifest.inputs, &mut self.recorded_inputs);
        let Snapshot { checkpoint, inputs: ended, lists } = before;
        writer.write(&batch, skip, lists, || {
            let new = (&inputs[*recorded..ended]).into();
            *recorded = ended;
            Checkpoint { inputs: new, ..checkpoint }.to_json()
        })?;
        Ok(())
    }

    /// Starts the shards, now that the columns are known.
    fn open(&mut self, schema: &ShardSchema) -> Result<(), PipelineError> {
        if let Output::Shards(_) = &self.output {
            return Ok(());
        }
        if let Output::Folder(folder, unfinished) = std::mem::replace(&mut self.output, Output::Gone) {
            let (options, job) = (self.shared.job.writer.clone(), self.job.clone());
            let writer = match unfinished {
                None => ShardWriter::new(*folder, schema.clone(), options, job),
                Some(unfinished) => ShardWriter::resume(*folder, schema.clone(), options, *unfinished)?,
            };
            self.output = Output::Shards(Box::new(writer));
        }
        Ok(())
    }

    fn write_passages(&mut self, passages: &[PassageRow]) -> Result<(), PipelineError> {
        match &mut self.output {
            Output::Shards(writer) if !passages.is_empty() => Ok(writer.write_passages(passages)?),
            _ => Ok(()),
        }
    }

    fn reject(&mut self, reject: Reject) -> Result<(), PipelineError> {
        let is_expected = self.shared.job.expects(&reject);
        let on_error = if is_expected { OnError::Skip } else { self.shared.job.on_error };
        let reject = self.current.reject(reject, on_error)?;
        self.manifest.totals.documents_in += 1;
        self.manifest.totals.documents_rejected += 1;
        self.manifest.totals.documents_null += u64::from(is_expected);
        // A reject is strings and numbers only: serialization can't fail.
        let json = serde_json::to_string(&reject).unwrap_or_default();
        match &mut self.output {
            Output::Shards(writer) => Ok(writer.write_reject(&json)?),
            Output::Folder(..) | Output::Gone => {
                unreachable!("shards are opened before events are handled")
            }
        }
    }
}
