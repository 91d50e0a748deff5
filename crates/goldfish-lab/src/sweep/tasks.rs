//! The copy tasks of a sweep: which architectures copy from their context.

use std::path::PathBuf;

use goldfish_report::SweepTask;

use super::options::SweepPart;
use crate::copy::copy;
use crate::copy::options::{CopyOptions, CopyResults};
use crate::copy::tasks::CopyTask;
use crate::experiment::error::ExperimentError;
use crate::experiment::{Bench, read_json};

/// Longest length in training, in letters.
const LENGTH: usize = 20;

/// The tasks of a part.
fn tasks_of(part: SweepPart) -> &'static [CopyTask] {
    match part {
        SweepPart::Copy => &[CopyTask::Copy],
        SweepPart::Keys => &[CopyTask::PrefixKey, CopyTask::SuffixKey],
        _ => &[],
    }
}

/// Whether a task is one of a part's.
pub(super) fn is_of(part: SweepPart, task: &str) -> bool {
    tasks_of(part).iter().any(|own| own.name() == task)
}

/// Trains and evaluates models of these architectures on the tasks of a part. A task that was begun in its folder keeps its options.
pub(super) fn run(
    bench: &mut Bench<'_>,
    part: SweepPart,
    architectures: &[String],
    quick: bool,
) -> Result<(), ExperimentError> {
    for task in tasks_of(part) {
        let folder = folder(bench, *task);
        let record = folder.join(CopyOptions::RECORD);
        let options = match record.is_file() {
            true => read_json(&record)?,
            false if quick => CopyOptions::new(*task, LENGTH).quick(),
            false => CopyOptions::new(*task, LENGTH),
        };
        copy(&options, architectures, &folder, bench.stop, &mut *bench.observe)?;
    }
    Ok(())
}

/// The results of all tasks that are in the folder.
pub(super) fn results(bench: &Bench<'_>) -> Result<Vec<SweepTask>, ExperimentError> {
    let mut found = Vec::new();
    for task in CopyTask::ALL {
        let path = folder(bench, task).join("results.json");
        if path.is_file() {
            let CopyResults { options, arms } = read_json(&path)?;
            if !arms.is_empty() {
                let trained = [options.shortest, options.length];
                let task = task.name().to_owned();
                found.push(SweepTask { task, tokens: options.tokens, trained, arms });
            }
        }
    }
    Ok(found)
}

fn folder(bench: &Bench<'_>, task: CopyTask) -> PathBuf {
    bench.path("tasks").join(task.name())
}
