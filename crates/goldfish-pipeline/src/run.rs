use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use goldfish_corpus::{Content, Input, ReadOptions, Reject};
use goldfish_mask::{Masker, Reach, Scope, SequenceMasker, SequenceState, Tally};
use goldfish_shard::{ExtraColumn, Manifest, PreparedFolder, ShardSchema, ShardWriter, prepare_folder};
use goldfish_tokenize::TextMap;

use crate::PipelineError;
use crate::job::{MaskJob, OnError, TokenizeOptions};
use crate::read::{BROKEN_ROW, Message, Reading};
use crate::text::{TextSide, silent_ids};
use crate::work::{Event, Shared, SharedProgress, Tokens, WorkResult, last_counted};

/// How far a run has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the inputs' main files that were read.
    pub bytes_read: u64,
    /// Bytes of all inputs' main files.
    pub bytes_total: u64,
    /// Documents tokenized and masked.
    pub documents: u64,
    /// Their tokens.
    pub tokens: u64,
}

/// Bytes of text by the path of the tokenizer that they took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenizedBytes {
    /// The fast path.
    pub fast: u64,
    /// The reference implementation.
    pub exact: u64,
}

/// The start of a document that lost some tokens, to show what a run did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// The document.
    pub doc_id: String,
    /// Its first tokens.
    pub ids: Vec<u32>,
    /// Their mask.
    pub mask: Vec<u8>,
}

/// Tokens in a [`Passage`].
const PASSAGE_TOKENS: usize = 96;

/// What a run did.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The manifest as it stands in the output folder.
    pub manifest: Manifest,
    /// Which way the text went.
    pub tokenized: TokenizedBytes,
    /// What became of the tokens, of all documents or, where there is much input, of a share of them chosen by
    /// their ids.
    pub tally: Tally,
    /// The first document with a dropped token among its first ones.
    pub passage: Option<Passage>,
}

/// Name of the thread that reads. A panic on it becomes an error of the run.
const READER_THREAD: &str = "goldfish-read";

/// How the names of the threads that mask begin. A panic on one becomes an error of the run.
const WORKER_THREADS: &str = "goldfish-mask-";

/// Whether a panic on a thread of this name is caught and reported as an error, so that a panic hook need not
/// speak of it.
#[must_use]
pub fn reports_panics(thread: &str) -> bool {
    thread == READER_THREAD || thread.starts_with(WORKER_THREADS)
}

/// How often the caller is shown the progress.
const TICK: Duration = Duration::from_millis(100);

/// Runs a corpus through a mask rule into shards.
///
/// `observe` is called a few times a second, from a thread of its own.
///
/// # Errors
///
/// If an input can't be read, a row is bad and [`OnError::Fail`] is set, the rule or the options are not
/// sound, or the disk refuses. After an error the output folder holds no new file.
pub fn mask_corpus(job: &MaskJob, observe: &(dyn Fn(Progress) + Sync)) -> Result<Outcome, PipelineError> {
    let rule = job.rule.build(job.table.as_ref())?;
    let masker = Masker::new(rule, &job.exempt_ids);
    let reach = Masker::new(job.rule.build_reach(Reach::Decided)?, &job.exempt_ids);
    if let Scope::Sequence { length } = job.scope {
        SequenceMasker::new(&masker, length, SequenceState::default())?;
    }
    let text = text_side(job, &masker)?;
    let threads = job.threads.max(1);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("{WORKER_THREADS}{index}"))
        .build()
        .map_err(|e| {
            PipelineError::Options(format!("{threads} threads can't be started: {e}; give fewer --threads"))
        })?;

    check_columns(&job.read, &job.columns)?;
    check_places(job)?;
    let folder = prepare_folder(&job.output, job.overwrite)?;
    let size = |input: &Input| std::fs::metadata(&input.path).map_or(0, |m| m.len());
    let bytes_total = job.inputs.iter().map(size).sum();
    let progress = SharedProgress::new(Progress { bytes_total, ..Progress::default() });
    let job = Arc::new(job.clone());
    let last_counted = last_counted(bytes_total);
    let shared = Arc::new(Shared { job: job.clone(), masker, reach, text, last_counted, progress });

    let (sender, receiver) = sync_channel(threads);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading = Reading::new(&job, shared.clone(), &pool, sender);
        std::thread::Builder::new()
            .name(READER_THREAD.into())
            .spawn_scoped(scope, move || reading.run())
            .map_err(|e| {
                PipelineError::Options(format!("no thread can be started: {e}; close other programs"))
            })?;
        let ticker = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                std::thread::park_timeout(TICK);
                observe(shared.progress.lock(|progress| *progress));
            }
        });
        let outcome = Writing::new(&shared, folder).run(receiver);
        done.store(true, Ordering::Relaxed);
        ticker.thread().unpark();
        outcome
    })
}

/// Every column of the output has one name and one source.
fn check_columns(read: &ReadOptions, columns: &[ExtraColumn]) -> Result<(), PipelineError> {
    let content = read.content.column();
    let refuse = |reason: String| Err(PipelineError::Options(reason));
    if read.id_column.as_deref() == Some(content) {
        return refuse(format!("the column {content:?} can't hold both the documents and their ids"));
    }
    if matches!(read.content, Content::Ids { .. }) && read.carry.iter().any(|name| name == content) {
        return refuse(format!(
            "the column {content:?} is in the shards as input_ids; leave it out of --carry"
        ));
    }
    let mut seen = vec!["doc_id", "input_ids", "loss_mask"];
    for name in columns.iter().map(|column| column.name()).chain(read.carry.iter().map(String::as_str)) {
        if seen.contains(&name) {
            return refuse(format!("the shards would have two columns {name:?}; name each column once"));
        }
        seen.push(name);
    }
    Ok(())
}

/// No input may lie in the output folder, where it would be read again or replaced.
fn check_places(job: &MaskJob) -> Result<(), PipelineError> {
    let Ok(output) = std::fs::canonicalize(&job.output) else { return Ok(()) };
    let inside =
        |input: &&Input| std::fs::canonicalize(&input.path).is_ok_and(|path| path.starts_with(&output));
    match job.inputs.iter().find(inside) {
        None => Ok(()),
        Some(input) => Err(PipelineError::Options(format!(
            "the input {} lies in the output folder {}; choose an --output outside of the inputs",
            input.path.display(),
            job.output.display()
        ))),
    }
}

/// What a rule that decides by the text needs besides.
fn text_side(job: &MaskJob, masker: &Masker) -> Result<Option<TextSide>, PipelineError> {
    if !masker.needs_text() {
        return Ok(None);
    }
    let Some(TokenizeOptions { tokenizer, prepend_bos, append_eos }) = &job.tokenize else {
        return Err(PipelineError::Options(
            "the rule text decides by the text, which token ids tell only with their tokenizer: give --tokenizer \
             tokenizer.json, or --rule hash"
                .into(),
        ));
    };
    let map = match job.read.content {
        Content::Text { .. } => tokenizer.text_map().ok().filter(TextMap::is_lossless),
        Content::Ids { .. } => Some(tokenizer.text_map()?),
    };
    let ends = prepend_bos.iter().chain(append_eos).copied();
    Ok(Some(TextSide { map, silent: silent_ids(tokenizer, &job.exempt_ids, ends) }))
}

/// The writing side: results in the order of the inputs.
struct Writing<'a> {
    shared: &'a Shared,
    output: Output,
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
    Folder(PreparedFolder),
    Shards(Box<ShardWriter>),
    Gone,
}

/// Counts of the input that is being written.
#[derive(Default)]
struct CurrentInput {
    documents: u64,
    rejected: u64,
    next_row: u64,
}

impl<'a> Writing<'a> {
    fn new(shared: &'a Shared, folder: PreparedFolder) -> Self {
        let sequences = |masker| match shared.job.scope {
            Scope::Document => None,
            Scope::Sequence { length } => SequenceMasker::new(masker, length, SequenceState::default()).ok(),
        };
        Self {
            shared,
            output: Output::Folder(folder),
            sequences: sequences(&shared.masker),
            reach: sequences(&shared.reach),
            manifest: shared.job.manifest(),
            tokenized: TokenizedBytes::default(),
            tally: Tally::default(),
            passage: None,
            current: CurrentInput::default(),
        }
    }

    fn run(mut self, receiver: Receiver<Message>) -> Result<Outcome, PipelineError> {
        let written = self.write_all(receiver);
        let output = std::mem::replace(&mut self.output, Output::Gone);
        match (written, output) {
            (Ok(()), Output::Shards(writer)) => {
                let manifest = writer.finish(self.manifest)?;
                let Self { tokenized, tally, passage, .. } = self;
                Ok(Outcome { manifest, tokenized, tally, passage })
            }
            (Ok(()), Output::Folder(folder)) => {
                folder.abandon();
                Err(PipelineError::Options("there is no input to mask".into()))
            }
            (Err(error), output) => {
                match output {
                    Output::Folder(folder) => folder.abandon(),
                    Output::Shards(writer) => writer.abandon(),
                    Output::Gone => {}
                }
                Err(error)
            }
            (Ok(()), Output::Gone) => unreachable!("the output is taken here only"),
        }
    }

    /// Dropping the receiver on an error lets the reader stop too.
    fn write_all(&mut self, receiver: Receiver<Message>) -> Result<(), PipelineError> {
        for message in receiver {
            match message {
                Message::Failed(error) => return Err(error),
                Message::Done => return Ok(()),
                Message::Result(place) => {
                    // A worker catches panics, so it always answers.
                    let result = place.recv().map_err(|_| PipelineError::Panicked {
                        file: String::new(),
                        message: "a worker stopped without an answer".into(),
                    })?;
                    self.write(result?)?;
                }
            }
        }
        let message = "the reading thread stopped without a word".into();
        Err(PipelineError::Panicked { file: String::new(), message })
    }

    fn write(&mut self, result: WorkResult) -> Result<(), PipelineError> {
        let WorkResult { mut documents, schema, events, tokenized, tally } = result;
        self.tokenized.fast += tokenized.fast;
        self.tokenized.exact += tokenized.exact;
        self.tally.add(&tally);
        self.open(&schema);
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
            let special = documents.unsigned().iter().filter(|&&id| self.shared.reach.exempts(id)).count();
            let zeros = |mask: &[u8]| mask.iter().filter(|&&keep| keep == 0).count() as u64;
            let (tokens, special) = (documents.ids.len() as u64, special as u64);
            self.tally.add(&Tally {
                tokens,
                special,
                present: tokens - special,
                decided: zeros(&reached),
                dropped: zeros(&documents.mask),
            });
        }
        if self.passage.is_none() {
            self.passage = find_passage(&documents);
        }
        self.manifest.totals.documents_in += documents.len() as u64;
        if documents.len() > 0
            && let Output::Shards(writer) = &mut self.output
        {
            let file = || self.shared.job.inputs.first().map(|input| input.name.clone()).unwrap_or_default();
            let batch = documents.into_record_batch(&schema);
            writer.write(&batch.map_err(|source| PipelineError::Batch { file: file(), source })?)?;
        }
        Ok(())
    }

    /// Starts the shards, now that the columns are known.
    fn open(&mut self, schema: &ShardSchema) {
        self.output = match std::mem::replace(&mut self.output, Output::Gone) {
            Output::Folder(folder) => {
                let options = self.shared.job.writer.clone();
                Output::Shards(Box::new(ShardWriter::new(folder, schema.clone(), options)))
            }
            output => output,
        };
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
            Output::Folder(_) | Output::Gone => unreachable!("shards are opened before events are looked at"),
        }
    }
}

/// The masks of documents in packed sequences.
fn decide_documents(sequences: &mut SequenceMasker<'_>, documents: &Tokens) -> Vec<u8> {
    let mut mask = vec![0; documents.ids.len()];
    for row in 0..documents.len() {
        let range = documents.range(row);
        sequences.decide_next(&documents.unsigned()[range.clone()], &mut mask[range]);
    }
    mask
}

fn find_passage(documents: &Tokens) -> Option<Passage> {
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
