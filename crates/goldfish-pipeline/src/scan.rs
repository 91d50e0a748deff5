//! A corpus as texts, document by document, for what only looks at them: no shards are written.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::{Array, LargeStringArray, StringArray};
use arrow::datatypes::FieldRef;
use goldfish_corpus::{
    BatchContent, Content, DocumentBatch, Input, ReadOptions, Reject, check_columns_exist,
};
use goldfish_remedy::{Remedies, Remedy, Setting};
use goldfish_shard::{InputEntry, ShardSchema, SourceEntry};
use serde::{Deserialize, Serialize};

use crate::PipelineError;
use crate::execute::{run_workers, thread_pool};
use crate::job::{OnError, TokenizeOptions, source_entry};
use crate::job_error::JobError;
use crate::message::{Event, Part, Work};
use crate::plan::{Partition, Plan, Position, Step, digest_of};
use crate::progress::{Progress, SharedProgress};
use crate::read::Worker;
use crate::results::for_each_result;
use crate::resume::{CurrentInput, check_inputs};
use crate::text::ShardText;
use crate::work::{caught, too_long};

/// Which texts are read, and by how many threads.
#[derive(Clone)]
pub struct ScanJob {
    /// The inputs in order.
    pub inputs: Vec<Input>,
    /// What to read from them. The first of its `conditions`, if there is one, says where documents come from.
    pub read: ReadOptions,
    /// Gives the text of token ids; raw text needs none.
    pub tokenize: Option<TokenizeOptions>,
    /// Which part of the inputs to read; `None` for all.
    pub partition: Option<Partition>,
    /// What to do with bad rows.
    pub on_error: OnError,
    /// Worker threads, 1 at least.
    pub threads: usize,
}

/// What identifies a scan, apart from the contents of its inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanIdentity {
    /// What is read from the inputs.
    pub source: SourceEntry,
    /// The column that says where documents come from, if it isn't their input.
    pub source_column: Option<String>,
    /// SHA-256 of the tokenizer that gives the text of ids.
    pub tokenizer: Option<String>,
    /// The part that is read, and how many there are.
    pub part: Option<(u32, u32)>,
    /// How many inputs there are.
    pub inputs: usize,
    /// A hash of their names, formats and sizes.
    pub inputs_hash: String,
    /// Whether bad rows are left out.
    pub skips_rejects: bool,
}

/// A document.
#[derive(Debug, Clone, Copy)]
pub struct ScannedDocument<'a> {
    /// Where it comes from: the name of its input, or the value of a column.
    pub source: &'a str,
    /// Its id.
    pub doc_id: &'a str,
    /// Its text.
    pub text: &'a str,
}

/// What looks at documents.
pub trait Scanner: Send + Sync + 'static {
    /// What it finds in some documents.
    type Found: Default + Send + 'static;

    /// Looks at consecutive documents.
    ///
    /// # Errors
    ///
    /// If they can't be looked at; the scan then stops.
    fn scan(&self, documents: &[ScannedDocument<'_>], found: &mut Self::Found) -> Result<(), PipelineError>;
}

/// How far a scan has come. Another one of the same job can resume there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanState {
    position: Position,
    /// Inputs that were read to their end.
    pub inputs: Vec<InputEntry>,
    current: CurrentInput,
    /// Documents that were looked at.
    pub documents: u64,
    /// Bytes of their texts.
    pub text_bytes: u64,
    /// Rows that could not become documents.
    pub rejected: u64,
    /// The first of these.
    pub rejects: Vec<Reject>,
}

/// Rejected rows that a state lists; all are counted.
const LISTED_REJECTS: usize = 1000;

impl ScanState {
    /// Adds the state of a scan of another part of the inputs.
    pub fn add(&mut self, other: Self) {
        self.inputs.extend(other.inputs);
        self.documents += other.documents;
        self.text_bytes += other.text_bytes;
        self.rejected += other.rejected;
        self.rejects.extend(other.rejects);
        self.rejects.truncate(LISTED_REJECTS);
    }
}

impl ScanJob {
    /// What identifies the scan.
    ///
    /// # Errors
    ///
    /// If the inputs can't be looked at.
    pub fn identity(&self) -> Result<ScanIdentity, PipelineError> {
        let plan = Plan::new(&self.inputs, None)?;
        let read = &self.read;
        Ok(ScanIdentity {
            source: source_entry(read),
            source_column: read.conditions.first().cloned(),
            tokenizer: self.tokenize.as_ref().map(|options| options.tokenizer.sha256().to_owned()),
            part: self.partition.map(|part| (part.rank, part.world)),
            inputs: plan.steps.len(),
            inputs_hash: digest_of(plan.steps.iter().map(Step::identity)),
            skips_rejects: self.on_error == OnError::Skip,
        })
    }
}

/// Looks at the texts of a corpus, from a state on.
///
/// `receive` gets what was found in some documents after the others, in order, with the state *before* them: what was received
/// until then belongs to that state. `observe` is called a few times a second, from a thread of its own.
///
/// # Errors
///
/// If an input can't be read, is not what it was when the state was made, or a row is bad and [`OnError::Fail`] is set; if
/// token ids have no text; if the scanner fails; or if `stop` becomes true.
pub fn scan_corpus<S: Scanner>(
    job: &ScanJob,
    scanner: Arc<S>,
    mut state: ScanState,
    stop: &AtomicBool,
    observe: &(dyn Fn(Progress) + Sync),
    receive: &mut dyn FnMut(&ScanState, S::Found),
) -> Result<ScanState, PipelineError> {
    if job.inputs.is_empty() {
        return Err(JobError::NoInput.into());
    }
    check_columns_exist(&job.inputs, &job.read)?;
    let text = match (&job.read.content, &job.tokenize) {
        (Content::Text { .. }, _) => None,
        (Content::Ids { .. }, Some(options)) => Some(ShardText::of_options(options, &[])?),
        (Content::Ids { .. }, None) => return Err(JobError::ScanNeedsTokenizer.into()),
    };
    let plan = Plan::new(&job.inputs, job.partition)?;
    let pool = thread_pool(job.threads.max(1))?;
    if state != ScanState::default() {
        check_inputs(&plan, &state.inputs, Some(&state.position), &pool)?;
    }
    let progress = Progress { bytes_total: plan.bytes(), ..Progress::default() };
    let scanning = Arc::new(Scanning {
        read: job.read.clone(),
        on_error: job.on_error,
        text,
        scanner,
        progress: SharedProgress::new(progress),
    });
    let from = state.position.clone();
    run_workers(&scanning, &pool, (&plan, from), observe, |receiver| {
        for_each_result(receiver, stop, |outcome: Outcome<S::Found>| {
            state.position = outcome.start;
            receive(&state, outcome.found);
            state.documents += outcome.documents;
            state.text_bytes += outcome.text_bytes;
            outcome.events.into_iter().try_for_each(|event| note(&mut state, event, job.on_error))
        })
    })?;
    Ok(state)
}

fn note(state: &mut ScanState, event: Event, on_error: OnError) -> Result<(), PipelineError> {
    match event {
        Event::Documents { count, next_row } => state.current.add(count, next_row),
        Event::Reject(reject) => {
            let reject = state.current.reject(reject, on_error)?;
            state.rejected += 1;
            if state.rejects.len() < LISTED_REJECTS {
                state.rejects.push(reject);
            }
        }
        Event::End(entry) => state.inputs.push(state.current.end(entry)),
    }
    Ok(())
}

/// What the workers of a scan read.
struct Scanning<S> {
    read: ReadOptions,
    on_error: OnError,
    /// The text of token ids.
    text: Option<ShardText>,
    scanner: Arc<S>,
    progress: SharedProgress,
}

/// The outcome of a work item.
struct Outcome<F> {
    start: Position,
    found: F,
    documents: u64,
    text_bytes: u64,
    events: Vec<Event>,
}

impl<S: Scanner> Worker for Scanning<S> {
    type Outcome = Outcome<S::Found>;

    fn read(&self) -> &ReadOptions {
        &self.read
    }

    fn on_error(&self) -> OnError {
        self.on_error
    }

    fn schema(&self, _: &[FieldRef]) -> ShardSchema {
        ShardSchema::new(&[], &[])
    }

    fn progress(&self) -> &SharedProgress {
        &self.progress
    }

    fn process(&self, work: Work) -> Result<Self::Outcome, PipelineError> {
        caught(work, |Work { start, parts, .. }| {
            let mut outcome = Outcome {
                start,
                found: S::Found::default(),
                documents: 0,
                text_bytes: 0,
                events: Vec::new(),
            };
            for part in parts {
                match part {
                    Part::Chunk(file, chunk) => {
                        self.scan(&file, chunk.documents(&self.read)?, &mut outcome)?
                    }
                    Part::Broken(reject) => outcome.events.push(Event::Reject(reject)),
                    Part::End(entry) => outcome.events.push(Event::End(entry)),
                }
            }
            self.progress.lock(|progress| progress.documents += outcome.documents);
            Ok(outcome)
        })
    }
}

impl<S: Scanner> Scanning<S> {
    fn scan(
        &self,
        file: &str,
        batch: DocumentBatch,
        outcome: &mut Outcome<S::Found>,
    ) -> Result<(), PipelineError> {
        let DocumentBatch { rows, doc_ids, content, conditions, mut rejects, .. } = batch;
        let next_row = rows.last().copied().into_iter().chain(rejects.iter().map(|reject| reject.row)).max();
        let mut reject = |index: usize, reason: String, remedies: Vec<Remedy>| {
            rejects.push(Reject::new(file, rows[index], reason, remedies));
        };
        let sources = conditions.first();
        let document = |index: usize, text| document((file, sources), &doc_ids, index, text);
        let mut documents = Vec::with_capacity(rows.len());
        let mut texts = Vec::new();
        match &content {
            BatchContent::Text(values) => self.take_texts(values, &mut reject, |index, text| {
                documents.push(document(index, text));
            }),
            BatchContent::Ids { offsets, ids } => {
                let ids: &[u32] = bytemuck::cast_slice(ids);
                let mut spans = Vec::new();
                for (index, ends) in offsets.windows(2).enumerate() {
                    let mut text = String::new();
                    let ids = &ids[ends[0] as usize..ends[1] as usize];
                    match self.text.as_ref().map(|reader| reader.read(ids, &mut text, &mut spans)) {
                        Some(Ok(())) => texts.push((index, text)),
                        Some(Err(error)) => reject(index, error.to_string(), error.remedies()),
                        None => return Err(JobError::ScanNeedsTokenizer.into()),
                    }
                }
                documents.extend(texts.iter().map(|(index, text)| document(*index, text)));
            }
        }
        self.scanner.scan(&documents, &mut outcome.found)?;
        let count = documents.len() as u64;
        outcome.documents += count;
        outcome.text_bytes += documents.iter().map(|document| document.text.len() as u64).sum::<u64>();
        rejects.sort_by_key(|reject| reject.row);
        outcome.events.push(Event::Documents { count, next_row: next_row.map(|row| row + 1) });
        outcome.events.extend(rejects.into_iter().map(Event::Reject));
        Ok(())
    }

    fn take_texts<'t>(
        &self,
        values: &'t LargeStringArray,
        reject: &mut dyn FnMut(usize, String, Vec<Remedy>),
        mut take: impl FnMut(usize, &'t str),
    ) {
        let most = self.read.max_document;
        for index in 0..values.len() {
            let text = values.value(index);
            if text.len() > most {
                let whole = Remedy::give(Setting::MaxDocument).to("read it whole");
                reject(index, too_long(text.len(), most), vec![whole]);
            } else {
                take(index, text);
            }
        }
    }
}

fn document<'a>(
    (file, sources): (&'a str, Option<&'a StringArray>),
    doc_ids: &'a StringArray,
    index: usize,
    text: &'a str,
) -> ScannedDocument<'a> {
    let source = match sources {
        None => file,
        Some(sources) if sources.is_valid(index) => sources.value(index),
        Some(_) => "",
    };
    ScannedDocument { source, doc_id: doc_ids.value(index), text }
}
