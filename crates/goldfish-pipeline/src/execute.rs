//! The threads of a run: one reads, a pool masks, the caller's writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Thread;

use goldfish_mask::{Scope, SequenceMasker, SequenceState};

use crate::PipelineError;
use crate::job::MaskJob;
use crate::message::{Message, WorkResult};
use crate::plan::{Plan, Position};
use crate::policy::PolicyEntry;
use crate::progress::{Progress, SharedProgress, TICK};
use crate::read::{InputReader, Worker};
use crate::rule::BuiltRule;
use crate::text::{TextSide, text_side};
use crate::work::{Shared, last_counted};

/// Name of the thread that reads. A panic on it becomes an error of the run.
const READER_THREAD: &str = "goldfish-read";

/// Prefix of the names of the threads that mask. A panic on one becomes an error of the run.
const WORKER_THREADS: &str = "goldfish-mask-";

/// Whether a panic on a thread of this name is caught and reported as an error, so that a panic hook need not
/// report it.
#[must_use]
pub fn reports_panics(thread: &str) -> bool {
    thread == READER_THREAD || thread.starts_with(WORKER_THREADS)
}

/// Runs a job. Made before anything is written, so that bad options are reported first.
pub(crate) struct Executor {
    rules: Vec<BuiltRule>,
    text: Option<TextSide>,
    pool: rayon::ThreadPool,
}

/// Ends the ticker when it is dropped.
struct Done<'a>(&'a AtomicBool, &'a Thread);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.unpark();
    }
}

impl Executor {
    pub(crate) fn new(job: &MaskJob) -> Result<Self, PipelineError> {
        let rules = match &job.policy {
            None => vec![BuiltRule::new(&job.rule, job.table.as_ref(), &job.exempt_ids)?],
            Some(policy) => {
                let built = |entry: &PolicyEntry| BuiltRule::new(&entry.rule, None, &entry.exempt_ids);
                policy.entries().iter().map(built).collect::<Result<_, _>>()?
            }
        };
        if let Scope::Sequence { length } = job.scope {
            SequenceMasker::new(&rules[0].masker, length, SequenceState::default())?;
        }
        let text = text_side(job, &rules)?;
        let pool = thread_pool(job.threads.max(1))?;
        Ok(Self { rules, text, pool })
    }

    /// The worker threads.
    pub(crate) fn pool(&self) -> &rayon::ThreadPool {
        &self.pool
    }

    /// What the workers share, and the workers.
    pub(crate) fn into_shared(self, job: &MaskJob, plan: &Plan) -> (Arc<Shared>, rayon::ThreadPool) {
        let Self { rules, text, pool, .. } = self;
        let (job, progress) = (Arc::new(job.clone()), SharedProgress::new(Progress::default()));
        let last_counted = last_counted(plan.bytes());
        (Arc::new(Shared { job, rules, text, last_counted, progress }), pool)
    }

    /// Reads the plan from a position on and masks it; `write` receives the results in order.
    pub(crate) fn execute<T>(
        self,
        job: &MaskJob,
        (plan, from): (&Plan, Position),
        progress: Progress,
        observe: &(dyn Fn(Progress) + Sync),
        write: impl FnOnce(&Shared, Receiver<Message<WorkResult>>) -> Result<T, PipelineError>,
    ) -> Result<T, PipelineError> {
        let (shared, pool) = self.into_shared(job, plan);
        shared.progress.lock(|now| *now = progress);
        run_workers(&shared, &pool, (plan, from), observe, |receiver| write(&shared, receiver))
    }
}

/// The worker threads.
pub(crate) fn thread_pool(threads: usize) -> Result<rayon::ThreadPool, PipelineError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("{WORKER_THREADS}{index}"))
        .build()
        .map_err(|source| PipelineError::Threads { threads, source })
}

/// Reads the plan from a position on, on a thread of its own, and lets the pool work on it; `receive` gets the results in
/// order, and `observe` the progress.
pub(crate) fn run_workers<W: Worker, T>(
    worker: &Arc<W>,
    pool: &rayon::ThreadPool,
    (plan, from): (&Plan, Position),
    observe: &(dyn Fn(Progress) + Sync),
    receive: impl FnOnce(Receiver<Message<W::Outcome>>) -> Result<T, PipelineError>,
) -> Result<T, PipelineError> {
    let (sender, receiver) = sync_channel(pool.current_num_threads());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading = InputReader::new((plan, from), worker.clone(), pool, sender);
        std::thread::Builder::new()
            .name(READER_THREAD.into())
            .spawn_scoped(scope, move || reading.run())
            .map_err(PipelineError::ReaderThread)?;
        let ticker = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                std::thread::park_timeout(TICK);
                observe(worker.progress().lock(|progress| *progress));
            }
        });
        // Also if receiving panics: the scope waits for the ticker.
        let _done = Done(&done, ticker.thread());
        receive(receiver)
    })
}
