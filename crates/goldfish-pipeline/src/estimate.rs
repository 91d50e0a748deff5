//! What a run would take, from a sample of its inputs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use goldfish_corpus::{Part as InputPart, Source, check_columns_exist};
use goldfish_shard::{ShardSchema, UnwrittenShard};
use rayon::prelude::*;
use serde::Serialize;

use crate::PipelineError;
use crate::execute::Executor;
use crate::job::{MaskJob, check_columns};
use crate::message::{Event, Part, Work, WorkResult};
use crate::plan::{Plan, Step};
use crate::results::OrderedResults;
use crate::work::process;

/// Places, evenly spaced over the bytes of all inputs.
const PLACES: u64 = 64;

/// Bytes that are read for a place, from the start of its input: finding documents further in takes reading up to there.
const PLACE_BYTES: u64 = 1 << 20;

/// Chunks that a thread works on before the next ones are read.
const CHUNKS_A_THREAD: usize = 4;

/// So many bytes of documents are read for each byte of a file at most: text is compressed to a third or a fourth.
const MOST_UNPACKED: u64 = 8;

/// What a run would take: measured on a sample, and multiplied by the bytes of the inputs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// Bytes of all inputs' main files; compressed ones as they are.
    pub bytes: u64,
    /// Of these, bytes of the sample.
    pub sampled_bytes: u64,
    /// Documents of the sample.
    pub sampled_documents: u64,
    /// Rows of the sample that would be rejected.
    pub sampled_rejects: u64,
    /// Documents in the shards.
    pub documents: u64,
    /// Rows that would be rejected.
    pub rejected: u64,
    /// The first row of the sample that would be, with the reason.
    pub first_reject: Option<String>,
    /// Tokens.
    pub tokens: u64,
    /// Tokens that are excluded from the loss.
    pub dropped: u64,
    /// Bytes of the shards.
    pub output_bytes: u64,
    /// Seconds of the thread that reads.
    pub read_seconds: f64,
    /// Seconds of all threads that parse, tokenize and mask, together.
    pub work_seconds: f64,
    /// Seconds of the thread that encodes and hashes, without those of the disk.
    pub write_seconds: f64,
}

impl Estimate {
    /// The seconds of a run with so many worker threads on a disk that is fast enough: those of its slowest stage, and which that is.
    #[must_use]
    pub fn seconds(&self, threads: usize) -> (f64, Stage) {
        let work = self.work_seconds / threads.max(1) as f64;
        let stages =
            [(work, Stage::Work), (self.read_seconds, Stage::Read), (self.write_seconds, Stage::Write)];
        stages.into_iter().fold(stages[0], |slowest, stage| if stage.0 > slowest.0 { stage } else { slowest })
    }
}

/// A stage of a run. All run at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// One thread reads.
    Read,
    /// All worker threads parse, tokenize and mask.
    Work,
    /// One thread encodes and hashes.
    Write,
}

/// What was measured so far.
#[derive(Default)]
struct Sampled {
    bytes: u64,
    documents: u64,
    rejected: u64,
    first_reject: Option<String>,
    tokens: u64,
    dropped: u64,
    read: Duration,
    work: Duration,
    write: Duration,
    shard: Option<(Arc<ShardSchema>, UnwrittenShard)>,
}

/// Estimates what a job would take. Nothing is written; packed sequences are masked as if the sample were all documents.
///
/// # Errors
///
/// As [`mask_corpus`](crate::mask_corpus), but for bad rows, which are counted.
pub fn estimate(job: &MaskJob, stop: &AtomicBool) -> Result<Estimate, PipelineError> {
    let executor = Executor::new(job)?;
    check_columns(job)?;
    check_columns_exist(&job.inputs, &job.read)?;
    let plan = Plan::new(&job.inputs, None)?;
    let total = plan.bytes();
    let (shared, pool) = executor.into_shared(job, &plan);
    let mut results = OrderedResults::new(&shared, None, None, None);
    let mut sampled = Sampled::default();
    for (step, bytes) in places(&plan) {
        let started = Instant::now();
        let mut reading = Reading::new(job, step, bytes)?;
        sampled.read += started.elapsed();
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(PipelineError::Interrupted);
            }
            let started = Instant::now();
            let work = reading.some(CHUNKS_A_THREAD * job.threads.max(1))?;
            sampled.read += started.elapsed();
            if work.is_empty() {
                break;
            }
            let timed = |work: Work| {
                let started = Instant::now();
                process(&shared, work).map(|result| (result, started.elapsed()))
            };
            let done: Vec<_> = pool.install(|| work.into_par_iter().map(timed).collect::<Result<_, _>>())?;
            for (result, elapsed) in done {
                sampled.work += elapsed;
                let started = Instant::now();
                sampled.write(job, result, &mut results)?;
                sampled.write += started.elapsed();
            }
        }
        sampled.bytes += reading.position;
    }
    let output_bytes = sampled.shard.take().map_or(Ok(0), |(_, shard)| shard.finish())?;
    let factor = if sampled.bytes == 0 { 0.0 } else { total as f64 / sampled.bytes as f64 };
    let all = |count: u64| (count as f64 * factor).round() as u64;
    let seconds = |time: Duration| time.as_secs_f64() * factor;
    Ok(Estimate {
        bytes: total,
        sampled_bytes: sampled.bytes,
        sampled_documents: sampled.documents,
        sampled_rejects: sampled.rejected,
        documents: all(sampled.documents),
        rejected: all(sampled.rejected),
        first_reject: sampled.first_reject,
        tokens: all(sampled.tokens),
        dropped: all(sampled.dropped),
        output_bytes: all(output_bytes),
        read_seconds: seconds(sampled.read),
        work_seconds: seconds(sampled.work),
        write_seconds: seconds(sampled.write),
    })
}

/// Inputs at evenly spaced places of all their bytes, and how many bytes to read from the start of each. All of them if they
/// are no more than that.
fn places(plan: &Plan) -> Vec<(&Step, u64)> {
    if plan.bytes() <= PLACES * PLACE_BYTES {
        return plan.steps.iter().map(|step| (step, u64::MAX)).collect();
    }
    let total = u128::from(plan.bytes());
    let place = |number: u64| (total * u128::from(number) / u128::from(PLACES)) as u64;
    let mut found = Vec::new();
    let mut before = 0;
    for step in &plan.steps {
        let end = before + step.size;
        let here = (0..PLACES).map(place).filter(|at| (before..end).contains(at)).count() as u64;
        if here > 0 {
            found.push((step, here * PLACE_BYTES));
        }
        before = end;
    }
    found
}

/// The start of an input, some chunks at a time.
struct Reading<'a> {
    step: &'a Step,
    source: Box<dyn Source>,
    schema: Arc<ShardSchema>,
    /// Bytes of the file to read, and so many that were.
    bytes: u64,
    position: u64,
    /// Bytes of documents, which are more where they are compressed.
    unpacked: u64,
}

impl<'a> Reading<'a> {
    fn new(job: &MaskJob, step: &'a Step, bytes: u64) -> Result<Self, PipelineError> {
        let source = step.input.open(&job.read, InputPart::WHOLE)?;
        let schema = Arc::new(ShardSchema::new(&job.columns, &job.carried(source.carried())));
        Ok(Self { step, source, schema, bytes, position: 0, unpacked: 0 })
    }

    /// The next chunks, none at the end.
    fn some(&mut self, most: usize) -> Result<Vec<Work>, PipelineError> {
        let mut work = Vec::new();
        let most_unpacked = self.bytes.min(self.step.size).saturating_mul(MOST_UNPACKED).max(PLACE_BYTES);
        while work.len() < most && self.position < self.bytes && self.unpacked < most_unpacked {
            let Some(chunk) = self.source.next_chunk()? else {
                (self.position, self.bytes) = (self.step.size, 0);
                break;
            };
            self.position = self.source.position();
            self.unpacked += chunk.bytes() as u64;
            let parts = vec![Part::Chunk(self.step.input.name.clone(), chunk)];
            work.push(Work { start: Default::default(), parts, schema: self.schema.clone() });
        }
        Ok(work)
    }
}

impl Sampled {
    /// Encodes documents.
    fn write(
        &mut self,
        job: &MaskJob,
        result: WorkResult,
        results: &mut OrderedResults<'_>,
    ) -> Result<(), PipelineError> {
        let WorkResult { mut documents, schema, events, tallies, protected, .. } = result;
        for event in events {
            if let Event::Reject(reject) = event {
                if job.expects(&reject) {
                    continue;
                }
                self.rejected += 1;
                let said = || format!("{}: row {}: {}", reject.file, reject.row, reject.reason);
                self.first_reject.get_or_insert_with(said);
            }
        }
        results.add(&mut documents, &tallies, &protected);
        self.documents += documents.len() as u64;
        self.tokens += documents.mask.len() as u64;
        self.dropped += documents.mask.iter().filter(|keep| **keep == 0).count() as u64;
        // Inputs with other columns than the first one would be an error of the run.
        let (schema, shard) = match &mut self.shard {
            Some((schema, shard)) => (schema.clone(), shard),
            none => {
                let shard = UnwrittenShard::new(&schema, job.writer.format)?;
                let (schema, shard) = none.insert((schema, shard));
                (schema.clone(), shard)
            }
        };
        let file = job.inputs.first().map(|input| input.name.to_string()).unwrap_or_default();
        let batch = documents.into_record_batch(&schema);
        shard.write(&batch.map_err(|source| PipelineError::Batch { file, source })?)?;
        Ok(())
    }
}
