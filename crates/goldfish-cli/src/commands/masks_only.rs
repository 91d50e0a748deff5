//! `goldfish mask --masks-only`.

use std::sync::Once;

use goldfish_pipeline::{MaskJob, PipelineError, SidecarJob, SidecarOutcome, mask_sidecars};
use goldfish_shard::{FILE_SET_NAME, FinishedFiles, Placement};
use serde_json::json;

use crate::args::MaskArgs;
use crate::describe::{
    ALREADY_COMPLETE, describe, describe_tally, dropped_line, file_lines, kept_lines, rule_line, tally,
};
use crate::leak;
use crate::passage;
use crate::print::{self, BOLD, bytes, plural};
use crate::progress::{Bar, show};
use crate::signals::stop_on_signals;
use crate::verdict::Verdict;

pub(crate) fn run(args: &MaskArgs, mask: MaskJob, chosen: Option<&str>) -> anyhow::Result<Verdict> {
    let placement = if args.output.is_some() { Placement::OwnFolder } else { Placement::Beside };
    if placement == Placement::Beside
        && let Some(input) = mask.inputs.iter().find(|input| goldfish_storage::is_remote(&input.path))
    {
        anyhow::bail!(
            "{} is in an object store, and masks are not written next to objects; give --output",
            input.path.display()
        );
    }
    let job = SidecarJob { mask, placement };
    let bar = Bar::bytes(0);
    let started = std::time::Instant::now();
    let stop = stop_on_signals()?;
    let noted = Once::new();
    let outcome = mask_sidecars(&job, &stop, &|progress| {
        progress.finished.iter().for_each(|kept| noted.call_once(|| print::note(&resuming(kept))));
        show(&bar, progress, started);
    });
    bar.finish_and_clear();
    let outcome = outcome.map_err(explain)?;
    let warnings = leak::warnings(&job.mask, &outcome.tallies, outcome.sample.as_deref());
    if args.json {
        print::json(&summary_json(&job, chosen, &outcome, &warnings))?;
    } else {
        print::out(&summary(&job, chosen, &outcome))?;
    }
    warnings.iter().for_each(|warning| print::warn(warning));
    Ok(Verdict::Clean)
}

fn resuming(kept: &FinishedFiles) -> String {
    format!(
        "resuming after the masks of {} with {}; what was read for them was compared with its hash first",
        plural(kept.files as u64, "memmap"),
        plural(kept.documents, "document"),
    )
}

/// An error with the command that resumes after what was finished.
fn explain(error: PipelineError) -> anyhow::Error {
    match error {
        PipelineError::UnfinishedMasks { error, memmaps, output } => {
            let kept = format!("the masks of {}", plural(memmaps as u64, "memmap"));
            print::unfinished(*error, &kept, &output)
        }
        PipelineError::Interrupted => {
            anyhow::Error::from(error).context("no mask was written; run the same command again")
        }
        error => error.into(),
    }
}

fn summary_json(
    job: &SidecarJob,
    chosen: Option<&str>,
    outcome: &SidecarOutcome,
    warnings: &[String],
) -> serde_json::Value {
    let SidecarOutcome { files: set, tallies, .. } = outcome;
    json!({
        "output": job.mask.output,
        "already_complete": outcome.already_complete,
        "manifest": FILE_SET_NAME,
        "rule": set.rule,
        "rule_chosen_because": chosen,
        "documents": set.totals.documents_out,
        "tokens": set.totals.tokens,
        "dropped": set.totals.dropped,
        "longest_kept_run": set.longest_kept_run,
        "files": set.files,
        "tally": tallies.first().map(tally),
        "warnings": warnings,
    })
}

fn summary(job: &SidecarJob, chosen: Option<&str>, outcome: &SidecarOutcome) -> String {
    let SidecarOutcome { files: set, tallies, passage, .. } = outcome;
    let totals = &set.totals;
    let mut lines = vec![format!(
        "{BOLD}{}{BOLD:#}  the masks of {} with {}, {} in {}",
        print::path(&job.mask.output),
        plural(totals.documents_out, "document"),
        plural(totals.tokens, "token"),
        bytes(set.files.iter().map(|file| file.size).sum()),
        plural(set.files.len() as u64, "file"),
    )];
    lines.extend(outcome.already_complete.then(|| ALREADY_COMPLETE.into()));
    lines.push(rule_line(&describe(&set.rule, set.scope, &set.exempt_ids), chosen));
    lines.push(dropped_line(totals));
    let tally = tallies.first().map(|tally| describe_tally(tally, job.mask.rule.k(), totals.tokens));
    lines.extend(tally.map(|tally| format!("           {tally}")));
    lines.extend(set.longest_kept_run.iter().flat_map(|runs| kept_lines(&set.rule, runs)));
    lines.extend(file_lines(set, |file| print::text(&file.name)));
    if let Some(passage) = passage {
        let tokenizer = job.mask.tokenize.as_ref().map(|options| &*options.tokenizer);
        lines.push(passage::example(passage, tokenizer));
    }
    lines.join("\n") + "\n"
}
