use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use goldfish_mask::{Coverage, Masker, Scope, SequenceMasker, SequenceState, Tally};
use goldfish_shard::{FinishedFiles, Manifest, Prepared, prepare_folder};
use serde::{Deserialize, Serialize};

use crate::PipelineError;
use crate::job::{MaskJob, check_columns, check_places};
use crate::plan::Plan;
use crate::read::{Message, Reading};
use crate::resume::{Checkpoint, Identity, Place, check_inputs};
use crate::text::{TextSide, text_side};
use crate::work::{Shared, SharedProgress, last_counted};
use crate::write::{Beginning, Writing};

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
    /// What an earlier run finished, whose work is not counted here: shards, or masks of memmaps.
    pub finished: Option<FinishedFiles>,
}

/// Bytes of text by the path of the tokenizer that they took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
pub(crate) const PASSAGE_TOKENS: usize = 96;

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
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// Runs a corpus through a mask rule into shards.
///
/// `observe` is called a few times a second, from a thread of its own. The run ends early, with what it has
/// finished kept for another one, when `stop` becomes true.
///
/// # Errors
///
/// If an input can't be read, a row is bad and [`OnError::Fail`] is set, the rule or the options are not
/// sound, or the disk refuses. After an error nothing stands at a final name. If a shard was finished, the error
/// is [`PipelineError::Unfinished`], and a run with [`OutputMode::Resume`](goldfish_shard::OutputMode::Resume) goes on
/// behind it; if not, the output folder is as it was.
pub fn mask_corpus(
    job: &MaskJob,
    stop: &AtomicBool,
    observe: &(dyn Fn(Progress) + Sync),
) -> Result<Outcome, PipelineError> {
    let road = Road::new(job)?;
    check_columns(&job.read, &job.columns)?;
    check_places(job)?;
    let plan = Plan::new(&job.inputs, job.partition)?;
    let progress = Progress { bytes_total: plan.bytes(), ..Progress::default() };
    let beginning = match begin(job, &plan, &road.pool, progress, observe)? {
        Began::Run(beginning) => *beginning,
        Began::Done(outcome) => return Ok(*outcome),
    };
    let progress = Progress { finished: beginning.finished(), ..progress };
    road.drive(job, (&plan, beginning.place()), progress, observe, |shared, receiver| {
        Writing::new(shared, &plan, beginning).run(receiver, stop)
    })
}

/// What a run works with, made before it touches the disk.
pub(crate) struct Road {
    masker: Masker,
    reach: Masker,
    text: Option<TextSide>,
    pool: rayon::ThreadPool,
    threads: usize,
}

impl Road {
    pub(crate) fn new(job: &MaskJob) -> Result<Self, PipelineError> {
        let rule = job.rule.build(job.table.as_ref())?;
        let masker = Masker::new(rule, &job.exempt_ids);
        let reach = Masker::new(job.rule.build_coverage(Coverage::Decided)?, &job.exempt_ids);
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
                PipelineError::Options(format!(
                    "{threads} threads can't be started: {e}; give fewer --threads"
                ))
            })?;
        Ok(Self { masker, reach, text, pool, threads })
    }

    /// The threads that work.
    pub(crate) fn pool(&self) -> &rayon::ThreadPool {
        &self.pool
    }

    /// Reads the plan from a place on and masks it; `write` takes the results in order.
    pub(crate) fn drive<T>(
        self,
        job: &MaskJob,
        (plan, from): (&Plan, Place),
        progress: Progress,
        observe: &(dyn Fn(Progress) + Sync),
        write: impl FnOnce(&Shared, Receiver<Message>) -> Result<T, PipelineError>,
    ) -> Result<T, PipelineError> {
        let Self { masker, reach, text, pool, threads } = self;
        let progress = SharedProgress::new(progress);
        let job = Arc::new(job.clone());
        let last_counted = last_counted(plan.bytes());
        let shared = Arc::new(Shared { job: job.clone(), masker, reach, text, last_counted, progress });
        let (sender, receiver) = sync_channel(threads);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reading = Reading::new(&job, (plan, from), shared.clone(), &pool, sender);
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
            let outcome = write(&shared, receiver);
            done.store(true, Ordering::Relaxed);
            ticker.thread().unpark();
            outcome
        })
    }
}

/// How a run starts.
enum Began {
    Run(Box<Beginning>),
    /// There is nothing left to do.
    Done(Box<Outcome>),
}

/// Takes hold of the output folder, and looks what an earlier run of the same job left there.
fn begin(
    job: &MaskJob,
    plan: &Plan,
    pool: &rayon::ThreadPool,
    progress: Progress,
    observe: &(dyn Fn(Progress) + Sync),
) -> Result<Began, PipelineError> {
    let identity = Identity::of_job(job, plan);
    let done = |manifest: Manifest, state: Checkpoint<'_>| {
        let Checkpoint { tokenized, tally, .. } = state;
        Ok(Began::Done(Box::new(Outcome { manifest, tokenized, tally, passage: None })))
    };
    match prepare_folder(&job.output, job.output_mode)? {
        Prepared::Fresh(folder) => {
            Ok(Began::Run(Box::new(Beginning { folder, job: identity.to_json(), unfinished: None })))
        }
        Prepared::Unfinished(mut folder, mut unfinished) => {
            let checkpoint = Checkpoint::last(&mut unfinished, folder.path())?;
            let Checkpoint { inputs, documents_rejected, .. } = &checkpoint;
            identity.check(&unfinished.job, (plan, inputs), *documents_rejected, &job.output)?;
            observe(Progress { finished: Some(unfinished.finished()), ..progress });
            check_inputs(plan, &checkpoint.inputs, Some(&checkpoint.place), pool)?;
            if unfinished.staged {
                let published = unfinished.publish(&mut folder).map_err(|error| {
                    PipelineError::from(error).with_finished(Some(unfinished.finished()), &job.output)
                });
                return done(published?, checkpoint);
            }
            let unfinished = Some((*unfinished, checkpoint));
            Ok(Began::Run(Box::new(Beginning { folder, job: identity.to_json(), unfinished })))
        }
        Prepared::Finished(manifest) => {
            let rejected = manifest.totals.documents_rejected;
            let inputs = manifest.read_inputs(&job.output)?.collect::<Result<Vec<_>, _>>()?;
            let then = Identity::of_manifest((*manifest).clone(), &inputs);
            let then = serde_json::to_value(then).unwrap_or_default();
            identity.check(&then, (plan, &inputs), rejected, &job.output)?;
            check_inputs(plan, &inputs, None, pool)?;
            done(*manifest, Checkpoint::default())
        }
    }
}
