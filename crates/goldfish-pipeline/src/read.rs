//! The reading thread: inputs in order, cut into work items.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use arrow::datatypes::{DataType, Field, FieldRef};
use goldfish_corpus::{
    Chunk, CorpusError, DocumentBatch, FileDigest, Input, Part as InputPart, ReadOptions, Reject, Source,
    digest_file,
};
use goldfish_remedy::Remedies;
use goldfish_shard::{CompanionEntry, InputEntry, ShardSchema};
use rayon::ThreadPool;

use crate::PipelineError;
use crate::job::OnError;
use crate::message::{BROKEN_ROW, Message, Part, Work};
use crate::plan::{Plan, Position, Step};
use crate::progress::SharedProgress;

/// Work items are filled up to about this many bytes of input.
const WORK_BYTES: usize = 256 << 10;

/// Parts of a work item, so that empty files by the hundred thousand make more than one.
const WORK_PARTS: usize = 8192;

/// What all workers of a run read, and what they do with a work item.
pub(crate) trait Worker: Send + Sync + 'static {
    /// The outcome of a work item.
    type Outcome: Send + 'static;

    /// What is read from the inputs.
    fn read(&self) -> &ReadOptions;

    /// What to do with bad rows.
    fn on_error(&self) -> OnError;

    /// The columns of shards with these columns of the source.
    fn schema(&self, carried: &[FieldRef]) -> ShardSchema;

    /// How far the run has come.
    fn progress(&self) -> &SharedProgress;

    /// Works on consecutive parts of the inputs.
    fn process(&self, work: Work) -> Result<Self::Outcome, PipelineError>;
}

/// Reads the inputs and cuts them into work items.
pub(crate) struct InputReader<'a, W: Worker> {
    plan: &'a Plan,
    /// Where to start; set once while that input is read.
    from: Position,
    worker: Arc<W>,
    pool: &'a ThreadPool,
    sender: SyncSender<Message<W::Outcome>>,
    schema: Option<Arc<ShardSchema>>,
    parts: Vec<Part>,
    /// Where the first of the parts starts.
    start: Position,
    bytes: usize,
    /// Bytes of the inputs before the current one.
    position: u64,
    /// Rows that may still be read.
    rows_left: u64,
}

/// The receiver of the results hung up, with an error of its own to report.
struct HungUp;

impl<'a, W: Worker> InputReader<'a, W> {
    pub(crate) fn new(
        (plan, from): (&'a Plan, Position),
        worker: Arc<W>,
        pool: &'a ThreadPool,
        sender: SyncSender<Message<W::Outcome>>,
    ) -> Self {
        let position = plan.steps.iter().take(from.step).map(|step| step.size).sum();
        let (schema, parts, start, bytes) = (None, Vec::new(), Position::default(), 0);
        let rows_left = plan.limit.unwrap_or(u64::MAX);
        Self { plan, from, worker, pool, sender, schema, parts, start, bytes, position, rows_left }
    }

    /// Reads all inputs. An error goes to the receiver, in order among the results.
    pub(crate) fn run(mut self) {
        let plan = self.plan;
        if let Err(error) = self.read_model() {
            let _ = self.sender.send(Message::Failed(error));
            return;
        }
        for (index, step) in plan.steps.iter().enumerate().skip(self.from.step) {
            if self.rows_left == 0 {
                break;
            }
            match self.read_input(index, step) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    // What was read before the error comes first, so that the first error is the one reported.
                    if self.send_work().is_ok() {
                        let _ = self.sender.send(Message::Failed(error));
                    }
                    return;
                }
                Err(HungUp) => return,
            }
        }
        if self.send_work().is_ok() {
            let _ = self.sender.send(Message::Done);
        }
    }

    fn read_input(&mut self, index: usize, step: &Step) -> Result<Result<(), PipelineError>, HungUp> {
        let Step { input, part, .. } = step;
        let name = input.name.clone();
        if self.parts.is_empty() {
            self.start = Position { step: index, row: 0, read: Vec::new() };
        }
        let mut source = match guarded(input, || input.open(self.worker.read(), *part)) {
            Ok(source) => source,
            Err(error) => return Ok(self.broken(input, None, 0, error)),
        };
        if let Err(error) = self.check_schema(input, source.as_ref()) {
            return Ok(Err(error));
        }
        let first = source.row();
        let from = std::mem::take(&mut self.from);
        if from.row > first
            && let Err(error) = guarded(input, || source.skip_to(from.row))
        {
            return Ok(Err(error.into()));
        }
        // Rows that a limit doesn't allow are not read, nor is the rest of the file for its hash.
        let end = source.row().saturating_add(self.rows_left);
        while source.row() < end {
            if self.parts.is_empty() {
                self.start = Position { step: index, row: source.row(), read: source.read_so_far() };
            }
            match guarded(input, || source.next_chunk()) {
                Ok(Some(chunk)) => {
                    self.bytes += chunk.bytes();
                    self.rows_left = end.saturating_sub(source.row());
                    let chunk =
                        if source.row() > end { Box::new(RowsBefore { chunk, row: end }) } else { chunk };
                    self.parts.push(Part::Chunk(name.clone(), chunk));
                    if self.bytes >= WORK_BYTES {
                        let position = self.position + source.position();
                        self.worker.progress().lock(|progress| progress.bytes_read = position);
                        self.send_work()?;
                    }
                }
                Ok(None) => break,
                Err(error) => return Ok(self.broken(input, Some(source), first, error)),
            }
        }
        let rows = (first, source.row());
        let digests = match source.row() < end {
            true => guarded(input, || source.finish()),
            false => Ok(source.read_so_far()),
        };
        let digests = match digests {
            Ok(digests) => digests,
            Err(error) => return Ok(Err(error.into())),
        };
        self.end(input, digests, rows, false);
        if self.plan.one_input_per_item || self.parts.len() >= WORK_PARTS {
            self.send_work()?;
        }
        Ok(Ok(()))
    }

    /// The rest of an input can't be read: stop, or count it as one rejected row and continue.
    fn broken(
        &mut self,
        input: &Input,
        source: Option<Box<dyn Source>>,
        first: u64,
        error: CorpusError,
    ) -> Result<(), PipelineError> {
        if self.worker.on_error() == OnError::Fail || !error.is_contents() {
            return Err(error.into());
        }
        let rows = source.as_ref().map_or((0, 0), |source| (first, source.row()));
        let digests = match source {
            Some(source) => guarded(input, || source.finish())?,
            None => {
                let companions = input.companions();
                let companions = companions.iter().map(|(_, path)| path.as_path());
                let paths = std::iter::once(&*input.path).chain(companions);
                paths.map(digest_file).collect::<Result<_, _>>()?
            }
        };
        let extent = if rows.0 == rows.1 { "nothing of it was read" } else { "the rest was left out" };
        let reason = format!("{} ({extent})", input.message(&error));
        let reject = Reject::new(&input.name, BROKEN_ROW, reason, error.remedies());
        self.parts.push(Part::Broken(reject));
        self.end(input, digests, rows, true);
        Ok(())
    }

    fn end(&mut self, input: &Input, digests: Vec<FileDigest>, rows: (u64, u64), broken: bool) {
        let mut digests = digests.into_iter();
        let main = digests.next().unwrap_or_else(|| FileDigest::of(&[]));
        let companions = input.companions().into_iter().zip(digests);
        let companions =
            companions.map(|((suffix, _), digest)| CompanionEntry { suffix: suffix.into(), digest });
        self.position += main.size;
        self.parts.push(Part::End(InputEntry {
            name: input.name.to_string(),
            format: input.format.name().to_owned(),
            size: main.size,
            hash: main.hash,
            companions: companions.collect(),
            documents: 0,
            rejected: 0,
            rows: self.plan.part.as_ref().map(|_| rows),
            broken,
        }));
    }

    /// The first input sets the carried columns; the others must have the same.
    fn check_schema(&mut self, input: &Input, source: &dyn Source) -> Result<(), PipelineError> {
        let schema = self.worker.schema(source.carried());
        match &self.schema {
            None => self.schema = Some(Arc::new(schema)),
            Some(first) if first.arrow() == schema.arrow() => {}
            Some(first) => {
                let own = self.worker.schema(&[]).arrow().fields().len();
                let describe = |schema: &ShardSchema| {
                    let carried = schema.arrow().fields().iter().skip(own);
                    let names: Vec<_> =
                        carried.map(|f| format!("{} ({})", f.name(), f.data_type())).collect();
                    names.join(", ")
                };
                return Err(PipelineError::CarriedDiffer {
                    file: input.name.to_string(),
                    found: describe(&schema),
                    expected: describe(first),
                });
            }
        }
        Ok(())
    }

    /// An empty part has the columns of the others, which the first input sets.
    fn read_model(&mut self) -> Result<(), PipelineError> {
        let Some(input) = &self.plan.model else { return Ok(()) };
        let nothing = InputPart { start: 0, end: 0 };
        let source = guarded(input, || input.open(self.worker.read(), nothing))?;
        self.check_schema(input, source.as_ref())
    }

    /// Hands the collected parts to a worker, and the channel of its result to the receiver.
    fn send_work(&mut self) -> Result<(), HungUp> {
        if self.parts.is_empty() && self.plan.model.is_none() {
            return Ok(());
        }
        self.bytes = 0;
        let schema = match &self.schema {
            Some(schema) => schema.clone(),
            // No input could be opened: the columns are there, if only by name.
            None => {
                let field = |name: &String| -> FieldRef { Arc::new(Field::new(name, DataType::Utf8, true)) };
                let carried: Vec<FieldRef> = self.worker.read().carry.iter().map(field).collect();
                Arc::new(self.worker.schema(&carried))
            }
        };
        let work =
            Work { start: std::mem::take(&mut self.start), parts: std::mem::take(&mut self.parts), schema };
        let (sender, result) = sync_channel(1);
        let worker = self.worker.clone();
        // The queue's bound holds the reader back before more work is in memory than can be dealt with.
        self.sender.send(Message::Result(result)).map_err(|_| HungUp)?;
        self.pool.spawn_fifo(move || {
            // A receiver that hung up no longer wants the result.
            let _ = sender.send(worker.process(work));
        });
        Ok(())
    }
}

/// The documents of a chunk that come before a row.
#[derive(Debug)]
struct RowsBefore {
    chunk: Box<dyn Chunk>,
    row: u64,
}

impl Chunk for RowsBefore {
    fn bytes(&self) -> usize {
        self.chunk.bytes()
    }

    fn documents(self: Box<Self>, options: &ReadOptions) -> Result<DocumentBatch, CorpusError> {
        Ok(self.chunk.documents(options)?.before_row(self.row))
    }
}

/// Runs a reader's code; a panic in a library becomes an error of the file that it read.
fn guarded<T>(input: &Input, read: impl FnOnce() -> Result<T, CorpusError>) -> Result<T, CorpusError> {
    goldfish_columnar::guarded(read).unwrap_or_else(|message| {
        let reason = format!("its reader failed: {message}");
        Err(input.malformed(reason))
    })
}
