//! What `goldfish audit` prints.

use std::fmt::Write;
use std::path::Path;

use goldfish_audit::score::{Score, Statistic, exact_match};
use goldfish_audit::stat::{Difference, Mean, Rate};
use goldfish_audit::summary::{
    Ends, Excess, Scores, Simultaneous, StratifiedBy, Stratum, Summary, WorkPart, WorkSummary,
};
use goldfish_report::{copying_in_words, of_passages};

use crate::print::{BOLD, FAINT, count, name, path, plural, share};
use crate::terminal;

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
pub(crate) fn report(folder: &Path, summary: &Summary, digest: &str) -> String {
    let Summary { control, model, probes, .. } = summary;
    let mut text = format!(
        "{BOLD}{}{BOLD:#}  {} ({}), {}\n\n",
        path(folder),
        name(&model.name),
        name(&model.backend),
        of_passages(summary),
    );
    if let Some(memory) = model.memory {
        let _ = writeln!(text, "  {FAINT}{memory}{FAINT:#}\n");
    }
    if model.template.is_some() {
        text += &format!(
            "  {FAINT}asked through a prompt template: rates are lower bounds, and a zero is no all-clear{FAINT:#}\n\n"
        );
    }
    let heads = ["", "audited", "control", "excess"];
    let rows = rows(summary);
    let columns = if control.is_some() { 4 } else { 2 };
    text += &terminal::table(2, &heads[..columns], &rows);
    in_context(&mut text, summary);
    groups(&mut text, summary);
    works(&mut text, summary);
    if let Some(canary) = &summary.canary {
        let found = canary.exact_match;
        let _ = writeln!(
            text,
            "\n  positive control: {} of {} found",
            count(found.positives),
            plural(found.n, "probe")
        );
    }
    let cost = summary.cost;
    let near = summary.extraction.as_ref().and_then(|extraction| extraction.asked.near);
    let searches = if near.is_some() { " The searches of --near-distance are not counted." } else { "" };
    let _ = writeln!(
        text,
        "\n  {FAINT}95% intervals, by independent passages. {} of {} documents are too short for a probe.{FAINT:#}",
        count(probes.too_short),
        count(probes.documents),
    );
    let _ = writeln!(
        text,
        "  {FAINT}{} went through the model, {} of them one after the other; a continuation for each probe: {} and {}.{searches}{FAINT:#}",
        plural(cost.forward_tokens, "token"),
        count(cost.decoded_tokens),
        count(cost.naive_forward_tokens),
        count(cost.naive_decoded_tokens),
    );
    let _ = writeln!(text, "  {FAINT}goldfish report {} makes a page of it.{FAINT:#}", path(folder));
    let _ = writeln!(text, "\n  digest  {digest}");
    let _ = writeln!(
        text,
        "  {FAINT}Sign or publish this line: it covers every file of the run. goldfish verify {} checks them.{FAINT:#}",
        path(folder)
    );
    text
}

/// Adds exact match with and without the passage in the prompt, if both were asked.
fn in_context(text: &mut String, summary: &Summary) {
    let Some(found) = &summary.in_context else { return };
    let share = |rate: Option<&Rate>| Unit::Share.cell(rate.and_then(Cell::rate));
    let difference = |differences: Option<&Excess>| {
        let name = exact_match::SCORE.name;
        Unit::Share.cell(differences.and_then(|differences| Cell::difference(&differences[name])))
    };
    let row = |name: &str, scores: &Scores, control: Option<&Scores>, excess: Option<&Excess>| {
        let control = control.map(|control| &control.exact_match);
        [name.to_owned(), share(Some(&scores.exact_match)), share(control), difference(excess)]
    };
    let rows = [
        row("absent", &summary.scores, summary.control.as_ref(), summary.excess.as_ref()),
        row("in the prompt", &found.scores, found.control.as_ref(), found.excess.as_ref()),
        [
            "difference".into(),
            difference(Some(&found.gain)),
            difference(found.control_gain.as_ref()),
            String::new(),
        ],
    ];
    text.push('\n');
    let heads = ["exact match, passage", "audited", "control", "excess"];
    let columns = if found.control.is_some() { 4 } else { 2 };
    *text += &terminal::table(2, &heads[..columns], &rows);
    let _ = writeln!(text, "  {FAINT}{}{FAINT:#}", copying_in_words(summary, found));
}

/// Works that are shown.
const MOST_WORKS: usize = 5;

/// Adds how much of each work was recited.
fn works(text: &mut String, summary: &Summary) {
    if summary.works.is_empty() {
        return;
    }
    let of_probed = |tokens: u64, work: &WorkSummary| {
        format!("{} ({})", count(tokens), share(tokens as f64 / work.probed_tokens as f64))
    };
    let row = |work: &WorkSummary| {
        let longest = work.verbatim.iter().map(WorkPart::tokens).max().unwrap_or_default();
        [
            name(&work.doc_id),
            count(work.probed_tokens),
            of_probed(work.verbatim_tokens, work),
            work.near_tokens.map_or_else(|| "–".into(), |tokens| of_probed(tokens, work)),
            count(longest),
        ]
    };
    text.push('\n');
    let rows: Vec<_> = summary.works.iter().take(MOST_WORKS).map(row).collect();
    *text += &terminal::table(2, &["work", "tokens probed", "recited", "or nearly", "longest"], &rows);
    if summary.works.len() > MOST_WORKS {
        let more = summary.works.len() - MOST_WORKS;
        let _ = writeln!(text, "  {FAINT}{} more in summary.json.{FAINT:#}", plural(more as u64, "work"));
    }
}

/// Groups of --by that are shown.
const MOST_GROUPS: usize = 20;

/// Adds the rates of the groups of --by, the highest first.
fn groups(text: &mut String, summary: &Summary) {
    let of_source = summary.strata.iter().filter(|stratum| stratum.by == StratifiedBy::Source);
    let mut groups: Vec<&Stratum> = of_source.collect();
    let Some(Simultaneous { groups: number, confidence, .. }) =
        groups.first().map(|group| group.simultaneous)
    else {
        return;
    };
    groups.sort_by(|a, b| b.audited.exact_match.rate.total_cmp(&a.audited.exact_match.rate));
    let row = |group: &&Stratum| {
        let Simultaneous { audited, control, .. } = group.simultaneous;
        let found = &group.audited.exact_match;
        [
            if group.value.is_empty() { "(none)".into() } else { name(&group.value) },
            bounded(found, audited),
            group
                .control
                .as_ref()
                .zip(control)
                .map_or_else(|| "–".into(), |(scores, ends)| bounded(&scores.exact_match, ends)),
            format!("{} of {}", count(found.positives), plural(found.n, "probe")),
        ]
    };
    let rows: Vec<[String; 4]> = groups.iter().take(MOST_GROUPS).map(row).collect();
    text.push('\n');
    let heads = ["exact match by group", "audited", "control", ""];
    *text += &terminal::table(2, &heads, &rows);
    let more = groups.len().saturating_sub(MOST_GROUPS) as u64;
    let more =
        if more > 0 { format!(" {} in summary.json.", plural(more, "more group")) } else { String::new() };
    let _ = writeln!(
        text,
        "  {FAINT}Intervals corrected for {}: each is at {}, all together at 95%.{more}{FAINT:#}",
        plural(number, "group"),
        share(confidence),
    );
}

/// A rate with its interval; the bound where nothing counts.
fn bounded(rate: &Rate, ends: Ends) -> String {
    if rate.n == 0 {
        return "–".into();
    }
    if rate.positives == 0 {
        return format!("{} [below {}]", share(rate.rate), share(ends.upper));
    }
    Unit::Share.cell(Some(Cell { value: rate.rate, interval: Some((ends.lower, ends.upper)) }))
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
