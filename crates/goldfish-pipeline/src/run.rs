//! Masking into shards.

use std::sync::atomic::AtomicBool;

use goldfish_corpus::check_columns_exist;
use goldfish_shard::{Manifest, Prepared, prepare_folder};

use crate::PipelineError;
use crate::execute::Executor;
use crate::job::{MaskJob, check_columns, check_paths};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::resume::{Checkpoint, Identity, check_inputs};
use crate::write::{Outcome, OutputWriter, PreparedRun};

/// Runs a corpus through a mask rule into shards.
///
/// `observe` is called a few times a second, from a thread of its own. If `stop` becomes true, the run ends early, and
/// what it has finished stays for another one.
///
/// # Errors
///
/// If an input can't be read, a row is bad and [`OnError::Fail`](crate::OnError::Fail) is set, the rule or the options are
/// not sound, or the disk refuses. After an error nothing has its final name. If a shard was finished, the error
/// is [`PipelineError::Unfinished`], and a run with [`OutputMode::Resume`](goldfish_shard::OutputMode::Resume) resumes
/// after it; if not, the output folder is as it was.
pub fn mask_corpus(
    job: &MaskJob,
    stop: &AtomicBool,
    observe: &(dyn Fn(Progress) + Sync),
) -> Result<Outcome, PipelineError> {
    let executor = Executor::new(job)?;
    check_columns(job)?;
    check_paths(job)?;
    check_columns_exist(&job.inputs, &job.read)?;
    let plan = Plan { limit: job.limit, ..Plan::new(&job.inputs, job.partition)? };
    let progress = Progress { bytes_total: plan.bytes(), ..Progress::default() };
    let prepared = match prepare(job, &plan, &executor, progress, observe)? {
        RunState::Pending(prepared) => *prepared,
        RunState::Complete(outcome) => return Ok(*outcome),
    };
    let progress = Progress { finished: prepared.finished(), ..progress };
    executor.execute(job, (&plan, prepared.position()), progress, observe, |shared, receiver| {
        OutputWriter::new(shared, &plan, prepared).run(receiver, stop)
    })
}

/// Whether anything is left to do.
enum RunState {
    Pending(Box<PreparedRun>),
    Complete(Box<Outcome>),
}

/// Locks the output folder, and reads what an earlier run of the same job left there.
fn prepare(
    job: &MaskJob,
    plan: &Plan,
    executor: &Executor,
    progress: Progress,
    observe: &(dyn Fn(Progress) + Sync),
) -> Result<RunState, PipelineError> {
    let identity = Identity::of_job(job, plan);
    let complete = |already_complete, manifest: Manifest, state: Checkpoint<'_>| {
        let Checkpoint { tokenized, counts, .. } = state;
        let (tallies, (passage, repeated_ids, sample)) = (counts.tallies, Default::default());
        let outcome =
            Outcome { already_complete, manifest, tokenized, tallies, passage, repeated_ids, sample };
        Ok(RunState::Complete(Box::new(outcome)))
    };
    let pending = |folder, unfinished| {
        let job = identity.to_json();
        Ok(RunState::Pending(Box::new(PreparedRun { folder, job, unfinished })))
    };
    match prepare_folder(&job.output, job.output_mode)? {
        Prepared::Fresh(folder) => pending(folder, None),
        Prepared::Unfinished(mut folder, mut unfinished) => {
            let checkpoint = Checkpoint::last(&mut unfinished, folder.path())?;
            let Checkpoint { inputs, documents_rejected, position, counts, kept, .. } = &checkpoint;
            let entries = job.policy.as_ref().map_or(0, |policy| policy.entries().len());
            if kept.is_some() && !counts.fit(entries.max(1), entries) {
                return Err(PipelineError::BadCounts { output: job.output.clone() });
            }
            identity.check(&unfinished.job, (plan, inputs), *documents_rejected, &job.output)?;
            observe(Progress { finished: Some(unfinished.finished()), ..progress });
            check_inputs(plan, inputs, Some(position), executor.pool())?;
            if unfinished.staged {
                let published = unfinished.publish(&mut folder).map_err(|error| {
                    PipelineError::from(error).with_finished(Some(unfinished.finished()), &job.output)
                });
                return complete(false, published?, checkpoint);
            }
            pending(folder, Some((*unfinished, checkpoint)))
        }
        Prepared::Finished(manifest) => {
            let rejected = manifest.totals.documents_rejected;
            let inputs = manifest.read_inputs(&job.output)?.collect::<Result<Vec<_>, _>>()?;
            let before = Identity::of_manifest((*manifest).clone(), &inputs);
            identity.check(&before.to_value(), (plan, &inputs), rejected, &job.output)?;
            check_inputs(plan, &inputs, None, executor.pool())?;
            complete(true, *manifest, Checkpoint::default())
        }
    }
}
