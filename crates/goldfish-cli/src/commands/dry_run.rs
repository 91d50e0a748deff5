//! `goldfish mask --dry-run`.

use goldfish_pipeline::{Estimate, MaskJob, Stage, estimate};
use serde_json::json;

use crate::print::{self, BOLD, bytes, count, percent, plural};
use crate::progress::Bar;
use crate::signals::stop_on_signals;
use crate::verdict::Verdict;

/// Parts into which a run may be divided.
const WORLDS: [u32; 3] = [2, 8, 64];

pub(crate) fn run(job: &MaskJob, json: bool, warnings: &[String]) -> anyhow::Result<Verdict> {
    let stop = stop_on_signals()?;
    let spinner = Bar::waiting("reading a sample");
    let found = estimate(job, &stop);
    spinner.finish_and_clear();
    let found = found?;
    let threads = threads(job.threads);
    if json {
        let times = threads.iter().map(|&threads| {
            let (seconds, stage) = found.seconds(threads);
            json!({ "threads": threads, "seconds": seconds, "bound_by": stage })
        });
        print::json(&json!({
            "estimate": found,
            "threads": job.threads,
            "times": times.collect::<Vec<_>>(),
            "warnings": warnings,
        }))?;
    } else {
        print::out(&summary(job, &found, &threads))?;
    }
    if let Some(reject) = &found.first_reject {
        print::warn(&format!("rows would be rejected, such as {reject}"));
    }
    Ok(if found.rejected == 0 { Verdict::Clean } else { Verdict::Findings })
}

/// Numbers of threads to say times for: those of the run, half of them, and more.
fn threads(given: usize) -> Vec<usize> {
    let mut threads = vec![given.div_ceil(2), given, 2 * given, 4 * given];
    threads.dedup();
    threads
}

fn summary(job: &MaskJob, found: &Estimate, threads: &[usize]) -> String {
    let about = |number: u64, what: &str| format!("about {}", plural(rounded(number), what));
    let mut lines = vec![
        format!(
            "{BOLD}dry run{BOLD:#}    {} of inputs, of which {} with {} were read; nothing was written",
            bytes(found.bytes),
            bytes(found.sampled_bytes),
            plural(found.sampled_documents + found.sampled_rejects, "row"),
        ),
        format!(
            "documents  {}, {} rejected",
            about(found.documents, "document"),
            count(rounded(found.rejected))
        ),
        format!(
            "tokens     {}, {} dropped",
            about(found.tokens, "token"),
            percent(found.dropped, found.tokens)
        ),
        format!("shards     about {}", bytes(found.output_bytes)),
    ];
    let (seconds, _) = found.seconds(job.threads);
    for (index, &threads) in threads.iter().enumerate() {
        let (seconds, stage) = found.seconds(threads);
        let bound = match stage {
            Stage::Work => "",
            Stage::Read => ", all that the reading thread can do",
            Stage::Write => ", all that the writing thread can do",
        };
        let head = if index == 0 { "time       " } else { "           " };
        let speed = if seconds > 0.0 { found.bytes as f64 / seconds } else { 0.0 };
        lines.push(format!(
            "{head}{}: about {}, {} a second{bound}",
            plural(threads as u64, "thread"),
            duration(seconds),
            bytes(speed as u64)
        ));
    }
    for (index, world) in WORLDS.into_iter().enumerate() {
        let head = if index == 0 { "divided    " } else { "           " };
        let each = duration(seconds / f64::from(world));
        let threads = plural(job.threads as u64, "thread");
        lines.push(format!("{head}--world {world}, {threads} each: about {each}"));
    }
    if seconds > 0.0 {
        let speed = bytes((found.output_bytes as f64 / seconds) as u64);
        lines.push(format!(
            "disk       must take {speed} a second, with {}",
            plural(job.threads as u64, "thread")
        ));
    }
    lines.join("\n") + "\n"
}

/// To three digits.
fn rounded(number: u64) -> u64 {
    let unit = 10u64.pow(number.max(1).ilog10().saturating_sub(2));
    number.div_ceil(unit).saturating_mul(unit)
}

fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..=1 => format!("{seconds:.1} s"),
        2..=119 => format!("{whole} s"),
        120..=7199 => format!("{} min", (whole + 30) / 60),
        7200..=172_799 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} days {} h", whole / 86_400, whole % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_and_times_have_two_units() {
        assert_eq!([0, 7, 999, 1000, 1001, 12_345].map(rounded), [0, 7, 999, 1000, 1010, 12_400]);
        let said = [0.26, 45.0, 200.0, 8000.0, 200_000.0].map(duration);
        assert_eq!(said, ["0.3 s", "45 s", "3 min", "2 h 13 min", "2 days 7 h"]);
        assert_eq!((threads(1), threads(2)), (vec![1, 2, 4], vec![1, 2, 4, 8]));
    }
}
