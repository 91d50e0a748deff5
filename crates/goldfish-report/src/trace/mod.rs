//! The page of `goldfish trace`.

mod chart;
mod choose;
mod marks;

use goldfish_audit::stat::{Difference, Mean, Rate};
use goldfish_trace::{Least, RecitedByCopies, TextRow, Trace, TraceConfig, TraceExcess, TraceSummary};
use minijinja::Value;
use serde::Serialize;

use self::chart::{copies_chart, longest_chart, range};
use self::choose::{Chosen, Shown, is_control};
use crate::chart::Chart;
use crate::estimate::Estimate;
use crate::number::{count, plural};
use crate::table::{Cell, Chooser, Column, MOST_ROWS, Table};
use crate::{ReportError, page, table};

/// The script that shows places beside a text.
const SCRIPT: &str = include_str!("../../templates/trace.js");

/// Texts that are shown at most, and those of the control.
const MOST_TEXTS: [usize; 2] = [300, 30];

/// Bytes of texts and documents that are shown at most, and those of the control.
const MOST_BYTES: [usize; 2] = [3_000_000, 300_000];

/// What the page of a trace shows.
#[derive(Clone, Copy)]
pub struct TracePage<'a> {
    /// The trace.
    pub trace: &'a Trace,
    /// What to call its folder.
    pub folder: &'a str,
    /// The command line that makes this page.
    pub command: &'a str,
    /// Seed of the sample where there are more texts than the page's table holds.
    pub seed: u64,
}

/// What the template sees.
#[derive(Serialize)]
struct Context<'a> {
    s: &'a TraceSummary,
    config: &'a TraceConfig,
    folder: &'a str,
    command: &'a str,
    verdict: String,
    least: String,
    lines: [Line; 3],
    longest: Option<Chart>,
    recited: Vec<Recited>,
    copies: Option<Chart>,
    texts: Shown,
    control: Shown,
    rows: u64,
    shown: u64,
    seed: u64,
    data: Value,
}

/// Suffixes of an audit with about as many copies.
#[derive(Serialize)]
struct Recited {
    copies: String,
    recited: u64,
    n: u64,
    share: Estimate,
}

impl Recited {
    fn new(group: &RecitedByCopies) -> Self {
        let Rate { positives, n, .. } = group.recited;
        Self { copies: range(group), recited: positives, n, share: Estimate::rate(&group.recited) }
    }
}

/// A line of the table of statistics.
#[derive(Serialize)]
struct Line {
    name: &'static str,
    meaning: &'static str,
    texts: Estimate,
    control: Option<Estimate>,
    excess: Option<Estimate>,
}

/// Writes the page of a trace: one HTML file that needs nothing else. Of many texts it holds the ones with the largest parts in the
/// corpus, so that neither its size nor memory grows with them.
///
/// # Errors
///
/// If the tables of the trace can't be read, or the page can't be made, which is a bug in goldfish.
pub fn trace_page(input: &TracePage<'_>) -> Result<String, ReportError> {
    let &TracePage { trace, folder, command, seed } = input;
    let summary = &trace.summary;
    let rows = summary.texts.texts + summary.control.as_ref().map_or(0, |control| control.texts);
    let mut chooser = Chooser::new(MOST_ROWS, rows, seed);
    let mut table = text_table();
    let mut groups = [Chosen::new(MOST_TEXTS[0]), Chosen::new(MOST_TEXTS[1])];
    for row in trace.texts()? {
        let row = row?;
        if chooser.takes() {
            table.push(text_cells(&row));
        }
        groups[usize::from(is_control(&row.group))].offer(row);
    }
    let [texts, control] = choose::with_places(groups, MOST_BYTES, trace)?;
    let context = Context {
        s: summary,
        config: &trace.config,
        folder,
        command,
        verdict: verdict(summary),
        least: summary.least.to_string(),
        lines: lines(summary),
        longest: longest_chart(summary)?,
        recited: summary.recited_by_copies.iter().flatten().map(Recited::new).collect(),
        copies: copies_chart(summary)?,
        texts,
        control,
        rows,
        shown: table.rows as u64,
        seed,
        data: table.data(),
    };
    page::render_with("trace.html", &context, &(table::SCRIPT.to_owned() + SCRIPT))
}

/// What was found, in a sentence or two.
fn verdict(summary: &TraceSummary) -> String {
    let found = &summary.texts.with_span;
    let what = match summary.least {
        Least::Words(words) => plural(words.into(), "word"),
        Least::Characters(characters) => plural(characters.into(), "character"),
    };
    let text = format!(
        "{} of {} {} a span of at least {what} that appears in the corpus.",
        count(found.positives),
        plural(found.n, "text"),
        if found.positives == 1 { "has" } else { "have" }
    );
    match summary.control.as_ref().map(|control| &control.with_span) {
        None => text,
        Some(Rate { positives, n, .. }) => {
            let does = if *positives == 1 { "does" } else { "do" };
            format!("{text} Of the control, {} of {} {does}.", count(*positives), count(*n))
        }
    }
}

fn lines(summary: &TraceSummary) -> [Line; 3] {
    let TraceSummary { texts, control, excess, .. } = summary;
    let control = control.as_ref();
    let mean = |of: Mean| Estimate::share(&of);
    let excess =
        |of: fn(&TraceExcess) -> Difference| excess.as_ref().map(|excess| Estimate::points(&of(excess)));
    [
        Line {
            name: "Texts with a span",
            meaning: "a part that appears in the corpus word for word",
            texts: Estimate::rate(&texts.with_span),
            control: control.map(|control| Estimate::rate(&control.with_span)),
            excess: excess(|excess| excess.with_span),
        },
        Line {
            name: "Characters in spans",
            meaning: "mean share of a text",
            texts: mean(texts.verbatim_share),
            control: control.map(|control| mean(control.verbatim_share)),
            excess: excess(|excess| excess.verbatim_share),
        },
        Line {
            name: "Words in spans or edited passages",
            meaning: "mean share of a text",
            texts: mean(texts.covered_share),
            control: control.map(|control| mean(control.covered_share)),
            excess: excess(|excess| excess.covered_share),
        },
    ]
}

fn text_table() -> Table {
    let columns = vec![
        Column::text("text", false),
        Column::text("set", true),
        Column::number("verbatim %", 1),
        Column::number("with edits %", 1),
        Column::number("longest span", 0),
        Column::number("its places", 0),
        Column::number("spans", 0),
        Column::number("places", 0),
        Column::number("edited places", 0),
        Column::number("words", 0),
    ];
    // By the share of verbatim characters, then the longest span.
    Table { title: "Texts", rows: 0, order: vec![4, 2], columns }
}

fn text_cells(row: &TextRow) -> [Cell<'_>; 10] {
    let number = |value: u64| Cell::Number(Some(value as f64));
    [
        Cell::Text(&row.text_id),
        Cell::Text(&row.group),
        Cell::Number(Some(100.0 * row.verbatim_share)),
        Cell::Number(Some(100.0 * row.covered_share())),
        number(row.longest_words),
        number(row.longest_places),
        number(row.spans),
        number(row.places),
        number(row.edited_places),
        number(row.words),
    ]
}
