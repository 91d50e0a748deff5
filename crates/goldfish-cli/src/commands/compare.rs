//! `goldfish compare`.

use anyhow::ensure;
use goldfish_audit::gate::{Gate, GateFailure};
use goldfish_audit::run::Run;
use goldfish_audit::stat::Bootstrap;
use goldfish_report::{ComparePage, RunComparison, compare_page, compare_runs};
use serde_json::json;

use crate::args::CompareArgs;
use crate::files::write_page;
use crate::print::{self, FAINT, count, name, plural, text};
use crate::verdict::Verdict;

/// Changed probes that the table names.
const SHOWN: usize = 10;

pub(crate) fn run(args: &CompareArgs) -> anyhow::Result<Verdict> {
    let mut runs = Vec::new();
    for folder in &args.runs {
        let named = folder.display().to_string();
        ensure!(
            !runs.iter().any(|(known, _)| *known == named),
            "{named} is named twice; name different runs"
        );
        runs.push((named, Run::open(folder)?));
    }
    let compared = compare_runs(&runs, &Bootstrap::new(args.seed))?;
    let comparisons = &compared.comparisons.comparisons;
    let mut failures: Vec<(String, GateFailure)> = Vec::new();
    for (name, run) in &runs {
        let found = goldfish_audit::gate::audit_failures(&[], &run.summary)?;
        failures.extend(found.into_iter().map(|failure| (name.clone(), failure)));
    }
    for one in comparisons {
        let found = goldfish_audit::gate::failures(&args.fail_if, &one.comparison)?;
        failures.extend(found.into_iter().map(|failure| (one.run.clone(), failure)));
    }
    if let Some(path) = &args.html {
        let page = compare_page(&ComparePage {
            compared: &compared,
            command: &print::command_line(),
            gates: &args.fail_if.iter().map(Gate::to_string).collect::<Vec<_>>(),
            failures: &failures,
            seed: args.seed,
        })?;
        write_page(path, &page, "--html")?;
    }
    if args.json {
        let failed: Vec<_> =
            failures.iter().map(|(run, failure)| json!({ "run": run, "failure": failure })).collect();
        print::json(&json!({ "comparisons": compared.comparisons, "failed_gates": failed }))?;
    } else {
        print::out(&comparisons.iter().map(table).collect::<Vec<_>>().join("\n"))?;
    }
    for one in comparisons.iter().filter(|one| one.comparison.unpaired > 0) {
        print::warn(&format!(
            "{} left out: only one of {} and {} has them",
            plural(one.comparison.unpaired, "probe"),
            one.run,
            one.baseline
        ));
    }
    for (run, failure) in &failures {
        print::gate_failed(&format!("{run}: {failure}"));
    }
    Ok(if failures.is_empty() { Verdict::Clean } else { Verdict::Findings })
}

fn table(one: &RunComparison) -> String {
    let mut lines = vec![format!("{}.", text(&one.verdict()))];
    lines.push(format!("\n{FAINT}{:20} {:>16}   95% interval{FAINT:#}", "score", "difference"));
    let line =
        |(name, value, interval): (&str, String, String)| format!("{name:20} {value:>16}   {interval}");
    lines.extend(one.lines().into_iter().map(line));
    let test = &one.comparison.exact_match_test;
    lines.push(format!(
        "\n{} changed: {} recited in {} only, {} in {} only",
        plural(one.changed.len() as u64, "verdict"),
        count(test.first_only),
        text(&one.run),
        count(test.second_only),
        text(&one.baseline)
    ));
    for probe in one.changed.iter().take(SHOWN) {
        lines.push(format!(
            "  {} token {}, prefix {}: match of {} before, {} now",
            name(&probe.doc_id),
            count(probe.offset),
            probe.prefix_tokens,
            count(probe.baseline_match_length.into()),
            count(probe.run_match_length.into())
        ));
    }
    if one.changed.len() > SHOWN {
        lines.push(format!("  … and {} more; --json lists all", one.changed.len() - SHOWN));
    }
    lines.join("\n") + "\n"
}
