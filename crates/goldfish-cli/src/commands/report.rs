//! `goldfish report`.

use anyhow::bail;
use goldfish_audit::gate::{Gate, audit_failures};
use goldfish_audit::run::Run;
use goldfish_audit::stat::Rate;
use goldfish_audit::summary::Summary;
use goldfish_report::{AuditPage, audit_page, of_passages};
use goldfish_tokenize::Tokenizer;
use goldfish_trace::{Trace, is_trace};
use serde_json::json;

use crate::args::ReportArgs;
use crate::commands::trace;
use crate::files::write_page;
use crate::print::{self, BOLD, FAINT, count, name, path, points, text, with_interval};
use crate::verdict::Verdict;

pub(crate) fn run(args: &ReportArgs) -> anyhow::Result<Verdict> {
    if is_trace(&args.run) {
        return report_trace(args);
    }
    let run = Run::open(&args.run)?;
    let failures = audit_failures(&args.fail_if, &run.summary)?;
    let tokenizer = args.tokenizer.as_deref().map(Tokenizer::from_file).transpose()?;
    let decode = |ids: &[u32]| tokenizer.as_ref().and_then(|tokenizer| tokenizer.decode(ids).ok());
    let page = audit_page(&AuditPage {
        run: &run,
        folder: &args.run.display().to_string(),
        command: &print::command_line(),
        gates: &args.fail_if.iter().map(Gate::to_string).collect::<Vec<_>>(),
        failures: &failures,
        redact: args.redact,
        decode: tokenizer.is_some().then_some(&decode),
        seed: args.seed,
    })?;
    write_page(&args.output, &page, "--output")?;
    if args.json {
        print::json(&json!({ "summary": run.summary, "failed_gates": failures }))?;
    } else {
        print::out(&table(args, &run.summary))?;
    }
    for failure in &failures {
        print::gate_failed(&failure.to_string());
    }
    Ok(if failures.is_empty() { Verdict::Clean } else { Verdict::Findings })
}

/// Writes the page of a trace.
fn report_trace(args: &ReportArgs) -> anyhow::Result<Verdict> {
    let given = [
        ("--tokenizer", args.tokenizer.is_some()),
        ("--redact", args.redact),
        ("--fail-if", !args.fail_if.is_empty()),
    ];
    if let Some((option, _)) = given.into_iter().find(|(_, given)| *given) {
        bail!("{} holds a trace; {option} is for audits", path(&args.run));
    }
    let trace = Trace::open(&args.run)?;
    write_page(&args.output, &trace::page(&trace, args.seed)?, "--output")?;
    if args.json {
        print::json(&json!({ "summary": trace.summary }))?;
    } else {
        trace::show(&args.run, &trace.summary)?;
    }
    Ok(trace::verdict(&trace.summary))
}

fn table(args: &ReportArgs, summary: &Summary) -> String {
    let exact = &summary.scores.exact_match;
    let mut lines = vec![
        format!("{BOLD}{}{BOLD:#}  {}, {}", path(&args.run), name(&summary.model.name), of_passages(summary)),
        format!("exact match  {}", rate(exact)),
    ];
    if let Some(control) = &summary.control {
        lines.push(format!("control      {}", rate(&control.exact_match)));
    }
    if let Some(excess) = &summary.excess {
        lines.push(format!("excess       {}", points(&excess["exact_match"])));
        lines.push(format!("Rouge-L      {} over the control", points(&excess["rouge_l"])));
    }
    lines.extend(summary.notes.iter().map(|note| format!("{FAINT}{}{FAINT:#}", text(note))));
    lines.join("\n") + "\n"
}

fn rate(rate: &Rate) -> String {
    format!(
        "{} of {}, {}",
        count(rate.positives),
        count(rate.n),
        with_interval(rate.rate, rate.lower, rate.upper)
    )
}
