//! The writing side: results in the order of the inputs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use goldfish_corpus::Reject;
use goldfish_mask::{Scope, SequenceMasker, Tally};
use goldfish_shard::{FinishedFiles, Manifest, PreparedFolder, ShardSchema, ShardWriter, Unfinished};
use serde_json::value::RawValue;

use crate::PipelineError;
use crate::job::OnError;
use crate::plan::Plan;
use crate::read::{BROKEN_ROW, Message};
use crate::resume::{Checkpoint, CurrentInput, Place};
use crate::run::{Outcome, PASSAGE_TOKENS, Passage, TICK, TokenizedBytes};
use crate::work::{Event, Shared, Tokens, WorkResult};

/// Writes what the workers bring.
pub(crate) struct Writing<'a> {
    shared: &'a Shared,
    job: Box<RawValue>,
    output: Output,
    /// What an earlier run left.
    finished: Option<FinishedFiles>,
    /// Documents of the first result that are in finished shards already.
    skip: u64,
    /// How many inputs the journal knows to have ended.
    recorded_inputs: usize,
    sequences: Option<SequenceMasker<'a>>,
    /// Beside `sequences`, to count what they decide about.
    reach: Option<SequenceMasker<'a>>,
    manifest: Manifest,
    tokenized: TokenizedBytes,
    tally: Tally,
    passage: Option<Passage>,
    current: CurrentInput,
}

/// The output folder before and after the columns are known.
enum Output {
    Folder(Box<PreparedFolder>, Option<Box<Unfinished>>),
    Shards(Box<ShardWriter>),
    Gone,
}

/// What a run starts with.
pub(crate) struct Beginning {
    pub(crate) folder: PreparedFolder,
    /// The job in JSON.
    pub(crate) job: Box<RawValue>,
    /// What an earlier run left, and the state behind it.
    pub(crate) unfinished: Option<(Unfinished, Checkpoint<'static>)>,
}

/// How far the writer is before a work item.
struct Before {
    checkpoint: Checkpoint<'static>,
    /// Inputs that ended.
    inputs: usize,
    /// Bytes and lines of the list of rejected rows.
    rejects: (u64, u64),
}

impl Beginning {
    /// Where reading starts.
    pub(crate) fn place(&self) -> Place {
        self.unfinished.as_ref().map(|(_, checkpoint)| checkpoint.place.clone()).unwrap_or_default()
    }

    /// What an earlier run finished.
    pub(crate) fn finished(&self) -> Option<FinishedFiles> {
        self.unfinished.as_ref().map(|(unfinished, _)| unfinished.finished())
    }
}

impl<'a> Writing<'a> {
    pub(crate) fn new(shared: &'a Shared, plan: &Plan, beginning: Beginning) -> Self {
        let Beginning { folder, job, unfinished } = beginning;
        let (unfinished, checkpoint) = unfinished.unzip();
        let Checkpoint {
            inputs, current, documents_in, documents_rejected, tokenized, tally, sequences, ..
        } = checkpoint.unwrap_or_default();
        let sequencer = |masker, state| match shared.job.scope {
            Scope::Document => None,
            Scope::Sequence { length } => SequenceMasker::new(masker, length, state).ok(),
        };
        let (state, reach_state) = sequences.unwrap_or_default();
        let mut manifest = shared.job.manifest(plan);
        manifest.totals.documents_in = documents_in;
        manifest.totals.documents_rejected = documents_rejected;
        Self {
            shared,
            job,
            finished: unfinished.as_ref().map(Unfinished::finished),
            skip: unfinished.as_ref().map_or(0, |unfinished| unfinished.rows),
            output: Output::Folder(Box::new(folder), unfinished.map(Box::new)),
            sequences: sequencer(&shared.masker, state),
            reach: sequencer(&shared.reach, reach_state),
            recorded_inputs: inputs.len(),
            manifest: Manifest { inputs: inputs.into_owned(), ..manifest },
            tokenized,
            tally,
            passage: None,
            current,
        }
    }

    pub(crate) fn run(
        mut self,
        receiver: Receiver<Message>,
        stop: &AtomicBool,
    ) -> Result<Outcome, PipelineError> {
        let written = for_each_result(receiver, stop, |result| self.write(result));
        let output = std::mem::replace(&mut self.output, Output::Gone);
        let (error, finished) = match (written, output) {
            (Ok(()), Output::Shards(writer)) => {
                let Self { tokenized, tally, passage, .. } = self;
                let summary = Checkpoint {
                    place: Place { step: usize::MAX, ..Place::default() },
                    inputs: (&self.manifest.inputs[self.recorded_inputs..]).into(),
                    documents_rejected: self.manifest.totals.documents_rejected,
                    tokenized,
                    tally,
                    ..Checkpoint::default()
                };
                let summary = summary.to_json();
                match writer.finish(self.manifest, summary) {
                    Ok(manifest) => return Ok(Outcome { manifest, tokenized, tally, passage }),
                    Err((error, finished)) => (error.into(), finished),
                }
            }
            (written, Output::Folder(folder, unfinished)) => {
                if unfinished.is_none() {
                    folder.abandon();
                }
                let nothing = || PipelineError::Options("there is no input to mask".into());
                (written.err().unwrap_or_else(nothing), self.finished)
            }
            (Err(error), Output::Shards(writer)) => (error, writer.stop()),
            (Err(error), Output::Gone) => (error, self.finished),
            (Ok(()), Output::Gone) => unreachable!("the output is taken here only"),
        };
        Err(error.with_finished(finished, &self.shared.job.output))
    }

    fn write(&mut self, result: WorkResult) -> Result<(), PipelineError> {
        let WorkResult { start, mut documents, schema, events, tokenized, tally } = result;
        self.open(&schema)?;
        let before = self.before();
        self.tokenized.fast += tokenized.fast;
        self.tokenized.exact += tokenized.exact;
        self.tally.add(&tally);
        for event in events {
            match event {
                Event::Documents { count, next_row } => {
                    self.current.documents += count;
                    self.current.next_row = next_row.unwrap_or(self.current.next_row);
                }
                Event::Reject(reject) => self.reject(reject)?,
                Event::End(mut entry) => {
                    let CurrentInput { documents, rejected, .. } = std::mem::take(&mut self.current);
                    entry.documents = documents;
                    entry.rejected = rejected;
                    self.manifest.inputs.push(entry);
                }
            }
        }
        if let (Some(sequences), Some(reach)) = (&mut self.sequences, &mut self.reach) {
            let reached = decide_documents(reach, &documents);
            documents.mask = decide_documents(sequences, &documents);
            let (ids, mask) = (documents.unsigned(), &documents.mask);
            self.tally.add(&Tally::of_tokens(&self.shared.reach, ids, &reached, mask));
        }
        if self.passage.is_none() {
            self.passage = find_passage(&documents);
        }
        self.manifest.totals.documents_in += documents.len() as u64;
        self.write_documents(documents, &schema, start, before)
    }

    /// How far the writer is before a work item, but for its place.
    fn before(&self) -> Before {
        let state = |sequences: &Option<SequenceMasker<'_>>| sequences.as_ref().map(|s| s.state().clone());
        Before {
            checkpoint: Checkpoint {
                current: self.current,
                documents_in: self.manifest.totals.documents_in,
                documents_rejected: self.manifest.totals.documents_rejected,
                tokenized: self.tokenized,
                tally: self.tally,
                sequences: state(&self.sequences).zip(state(&self.reach)),
                ..Checkpoint::default()
            },
            inputs: self.manifest.inputs.len(),
            rejects: match &self.output {
                Output::Shards(writer) => writer.rejects(),
                Output::Folder(..) | Output::Gone => (0, 0),
            },
        }
    }

    fn write_documents(
        &mut self,
        documents: Tokens,
        schema: &ShardSchema,
        place: Place,
        before: Before,
    ) -> Result<(), PipelineError> {
        let skip = std::mem::take(&mut self.skip);
        let Output::Shards(writer) = &mut self.output else { return Ok(()) };
        if documents.len() == 0 {
            return Ok(());
        }
        let file = || self.shared.job.inputs.first().map(|input| input.name.to_string()).unwrap_or_default();
        let batch = documents.into_record_batch(schema);
        let batch = batch.map_err(|source| PipelineError::Batch { file: file(), source })?;
        let (inputs, recorded) = (&self.manifest.inputs, &mut self.recorded_inputs);
        let Before { checkpoint, inputs: ended, rejects } = before;
        writer.write(&batch, skip, rejects, || {
            let new = (&inputs[*recorded..ended]).into();
            *recorded = ended;
            Checkpoint { place, inputs: new, ..checkpoint }.to_json()
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

    fn reject(&mut self, mut reject: Reject) -> Result<(), PipelineError> {
        if reject.row == BROKEN_ROW {
            reject.row = self.current.next_row;
        }
        if self.shared.job.on_error == OnError::Fail {
            return Err(PipelineError::Rejected(reject));
        }
        self.current.rejected += 1;
        self.manifest.totals.documents_in += 1;
        self.manifest.totals.documents_rejected += 1;
        // A reject is strings and numbers only: serialisation has nothing to fail at.
        let json = serde_json::to_string(&reject).unwrap_or_default();
        match &mut self.output {
            Output::Shards(writer) => Ok(writer.write_reject(&json)?),
            Output::Folder(..) | Output::Gone => {
                unreachable!("shards are opened before events are looked at")
            }
        }
    }
}

/// Hands over what the workers bring, in order. Dropping the receiver on an error lets the reader stop too.
pub(crate) fn for_each_result(
    receiver: Receiver<Message>,
    stop: &AtomicBool,
    mut write: impl FnMut(WorkResult) -> Result<(), PipelineError>,
) -> Result<(), PipelineError> {
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(PipelineError::Interrupted);
        }
        match receiver.recv_timeout(TICK) {
            Ok(Message::Failed(error)) => return Err(error),
            Ok(Message::Done) => return Ok(()),
            Ok(Message::Result(place)) => {
                // A worker catches panics, so it always answers.
                let result = place.recv().map_err(|_| PipelineError::Panicked {
                    file: String::new(),
                    message: "a worker stopped without an answer".into(),
                })?;
                write(result?)?;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let message = "the reading thread stopped without a word".into();
                return Err(PipelineError::Panicked { file: String::new(), message });
            }
        }
    }
}

/// The masks of documents in packed sequences.
pub(crate) fn decide_documents(sequences: &mut SequenceMasker<'_>, documents: &Tokens) -> Vec<u8> {
    let mut mask = vec![0; documents.ids.len()];
    for row in 0..documents.len() {
        let range = documents.range(row);
        sequences.decide_next(&documents.unsigned()[range.clone()], &mut mask[range]);
    }
    mask
}

pub(crate) fn find_passage(documents: &Tokens) -> Option<Passage> {
    (0..documents.len()).find_map(|row| {
        let range = documents.range(row);
        let end = range.end.min(range.start + PASSAGE_TOKENS);
        let mask = &documents.mask[range.start..end];
        mask.contains(&0).then(|| Passage {
            doc_id: documents.doc_ids.value(row).to_owned(),
            ids: documents.unsigned()[range.start..end].to_vec(),
            mask: mask.to_vec(),
        })
    })
}
