//! What `goldfish audit` prints.

use std::fmt::Write;
use std::path::Path;

use goldfish_audit::score::{Score, Statistic, exact_match};
use goldfish_audit::stat::{Difference, Mean, Rate};
use goldfish_audit::summary::Summary;
use goldfish_report::of_passages;

use crate::print::{BOLD, FAINT, count, name, path, plural, share};

/// A score as a cell: its value and its interval.
struct Cell {
    value: f64,
    interval: Option<(f64, f64)>,
}

impl Cell {
    fn rate(rate: &Rate) -> Option<Self> {
        (rate.n > 0).then_some(Self { value: rate.rate, interval: Some((rate.lower, rate.upper)) })
    }

    fn mean(mean: &Mean) -> Option<Self> {
        Some(Self { value: mean.mean?, interval: mean.lower.zip(mean.upper) })
    }

    fn difference(difference: &Difference) -> Option<Self> {
        Some(Self { value: difference.difference?, interval: difference.lower.zip(difference.upper) })
    }
}

/// How a score's numbers are written.
#[derive(Clone, Copy)]
enum Unit {
    Share,
    Number,
}

impl Unit {
    fn write(self, value: f64) -> String {
        match self {
            Self::Share => share(value),
            Self::Number => format!("{value:.2}"),
        }
    }

    fn cell(self, cell: Option<Cell>) -> String {
        let Some(Cell { value, interval }) = cell else { return "–".into() };
        let interval = interval.map(|(low, high)| format!(" [{}, {}]", self.write(low), self.write(high)));
        self.write(value) + &interval.unwrap_or_default()
    }
}

/// The summary as a table.
pub(crate) fn report(folder: &Path, summary: &Summary) -> String {
    let Summary { control, model, probes, .. } = summary;
    let mut text = format!(
        "{BOLD}{}{BOLD:#}  {} ({}), {}\n\n",
        path(folder),
        name(&model.name),
        name(&model.backend),
        of_passages(summary),
    );
    let heads = ["", "audited", "control", "excess"];
    let rows = rows(summary);
    let columns = if control.is_some() { 4 } else { 2 };
    let cells = || std::iter::once(heads.map(str::to_owned)).chain(rows.iter().cloned());
    let widths: Vec<usize> =
        (0..columns).map(|i| cells().map(|row| row[i].chars().count()).max().unwrap_or(0)).collect();
    for (number, row) in cells().enumerate() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}   ");
        }
        let line = line.trim_end();
        let _ =
            if number == 0 { writeln!(text, "  {FAINT}{line}{FAINT:#}") } else { writeln!(text, "  {line}") };
    }
    let cost = summary.cost;
    let _ = writeln!(
        text,
        "\n  {FAINT}95% intervals, by independent passages. {} of {} documents are too short for a probe.{FAINT:#}",
        count(probes.too_short),
        count(probes.documents),
    );
    let _ = writeln!(
        text,
        "  {FAINT}{} went through the model, {} of them one after the other; a continuation for each probe: {} and {}.{FAINT:#}",
        plural(cost.forward_tokens, "token"),
        count(cost.decoded_tokens),
        count(cost.naive_forward_tokens),
        count(cost.naive_decoded_tokens),
    );
    let _ = writeln!(text, "  {FAINT}goldfish report {} makes a page of it.{FAINT:#}", path(folder));
    text
}

/// One row a score that was measured: its label, audited, control, excess.
fn rows(summary: &Summary) -> Vec<[String; 4]> {
    let Summary { scores, control, excess, .. } = summary;
    let excess = |score: &Score| excess.as_ref().and_then(|excess| Cell::difference(&excess[score.name]));
    let exact = &exact_match::SCORE;
    let mut rows = vec![[
        exact.label.into(),
        Unit::Share.cell(Cell::rate(&scores.exact_match)),
        Unit::Share.cell(control.as_ref().and_then(|control| Cell::rate(&control.exact_match))),
        Unit::Share.cell(excess(exact)),
    ]];
    // The others say something about the continuations, not about memorization.
    for (score, mean) in scores.means.iter().filter(|(score, _)| score.has(Statistic::Difference)) {
        let Some(audited) = Cell::mean(mean) else { continue };
        rows.push([
            score.label.into(),
            Unit::Number.cell(Some(audited)),
            Unit::Number.cell(control.as_ref().and_then(|control| Cell::mean(&control.means[score.name]))),
            Unit::Number.cell(excess(score)),
        ]);
    }
    rows
}
