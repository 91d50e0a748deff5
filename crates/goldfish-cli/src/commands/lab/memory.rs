//! `goldfish lab memory`.

use goldfish_lab::{MemoryOptions, MemoryResults, memory, memory_page_path};
use goldfish_report::MemoryArm;

use crate::args::MemoryArgs;
use crate::experiment;
use crate::print::{self, BOLD, share};
use crate::terminal;
use crate::verdict::Verdict;

pub(crate) fn run(args: &MemoryArgs) -> anyhow::Result<Verdict> {
    let size = if args.quick { MemoryOptions::quick() } else { MemoryOptions::default() };
    let options = MemoryOptions {
        slots: args.slots.map_or(size.slots, usize::from),
        replaced: args.replaced.map_or(size.replaced, usize::from),
        most_later: args.most_later.map_or(size.most_later, usize::from),
        k: args.k.unwrap_or(size.k),
        steps: args.steps.unwrap_or(size.steps),
        width: args.width.map_or(size.width, usize::from),
        learning_rate: args.lr.unwrap_or(size.learning_rate),
        seed: args.seed,
        ..size
    };
    experiment::run(
        args.threads,
        args.json,
        |stop, observe| memory(&options, &args.output, stop, observe),
        |results| table(args, results),
    )
}

fn table(args: &MemoryArgs, results: &MemoryResults) -> String {
    let mut lines: Vec<String> = results.arms.iter().flat_map(of_arm).collect();
    lines.push(format!("Look at {}.", print::path(&memory_page_path(&args.output))));
    lines.join("\n") + "\n"
}

fn of_arm(arm: &MemoryArm) -> Vec<String> {
    let mask = arm.k.map_or_else(String::new, |k| format!(", k = {k}"));
    let loss = arm.losses.last().map_or_else(String::new, |(_, loss)| format!(", loss {loss:.3}"));
    let rows = arm.points.iter().map(|point| {
        let interval =
            |rate: &goldfish_audit::stat::Rate| format!("{} to {}", share(rate.lower), share(rate.upper));
        [
            point.later.to_string(),
            share(point.letters.rate),
            interval(&point.letters),
            share(point.facts.rate),
            interval(&point.facts),
            share(point.kept),
        ]
    });
    let heads = ["later facts", "letters", "95% interval", "whole facts", "95% interval", "in pool"];
    let table = terminal::lines(&heads, &rows.collect::<Vec<_>>());
    vec![format!("{BOLD}{}{mask}{BOLD:#}{loss}", arm.name), table]
}
