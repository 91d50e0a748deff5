//! The page of `goldfish report`.

mod copying;
mod lines;
mod passages;
mod works;

use goldfish_audit::ResultRow;
use goldfish_audit::config::{Origin, RunConfig};
use goldfish_audit::gate::GateFailure;
use goldfish_audit::probe::{Passage, Set};
use goldfish_audit::run::Run;
use goldfish_audit::score::{exact_match, longest_run, loss, match_length, position, rouge_l};
use goldfish_audit::summary::Summary;
use minijinja::Value;
use serde::Serialize;

use self::copying::InContext;
use self::lines::{Line, headline, lines, verdict};
use self::passages::{Worst, WorstProbe};
use self::works::{Positions, Work};
use crate::chart::Chart;
use crate::spread::Spread;
use crate::spread_charts::{Series, distance_chart, draws_chart, loss_chart, rouge_chart, survival_chart};
use crate::table::{Cell, Chooser, Column, MOST_ROWS, SCRIPT, Table};
use crate::{ReportError, page};

pub use self::copying::copying_in_words;
pub use self::lines::of_passages;
pub(crate) use self::lines::of_probes;
pub use self::passages::Decode;

/// What the page of an audit shows.
#[derive(Clone, Copy)]
pub struct AuditPage<'a> {
    /// The run.
    pub run: &'a Run,
    /// What to call its folder.
    pub folder: &'a str,
    /// The command line that makes this page.
    pub command: &'a str,
    /// Gates that were asked for, as they were given.
    pub gates: &'a [String],
    /// Those that fail.
    pub failures: &'a [GateFailure],
    /// Whether texts and token ids stay out of the page, also if the run has them.
    pub redact: bool,
    /// The text of token ids, where there is a tokenizer.
    pub decode: Option<&'a Decode<'a>>,
    /// Seed of the sample where there are more probes than the page holds.
    pub seed: u64,
}

/// What the template sees.
#[derive(Serialize)]
struct Context<'a> {
    s: &'a Summary,
    config: &'a RunConfig,
    origin: Option<&'a Origin>,
    digest: &'a str,
    folder: &'a str,
    command: &'a str,
    gates: &'a [String],
    failures: Vec<String>,
    redacted: bool,
    has_text: bool,
    headline: String,
    verdict: String,
    audited_probes: String,
    lines: Vec<Line>,
    /// Empty where no probe is trivial.
    nontrivial: Vec<Line>,
    in_context: Option<InContext>,
    never_drawn: u64,
    charts: Charts,
    worst: Vec<WorstProbe>,
    works: Vec<Work>,
    probes: u64,
    shown: u64,
    seed: u64,
    data: Value,
}

#[derive(Serialize)]
struct Charts {
    rouge: Option<Chart>,
    survival: Option<Chart>,
    draws: Option<Chart>,
    loss: Option<Chart>,
    distance: Option<Chart>,
}

/// Writes the page of an audit: one HTML file that needs nothing else. Memory doesn't grow with the number of
/// probes beyond those that the page holds.
///
/// # Errors
///
/// If the run's tables can't be read, or the page can't be made, which is a bug in goldfish.
pub fn audit_page(input: &AuditPage<'_>) -> Result<String, ReportError> {
    let &AuditPage { run, folder, command, gates, failures, redact, decode, seed } = input;
    let (summary, config) = (&run.summary, &run.config);
    let redact = redact || config.options.redact;
    let Gathered { audited, control, in_prompt, table, worst, positions } = gather(run, seed)?;
    let mut series = vec![Series { name: "audited".into(), spread: &audited }];
    if control.probes > 0 {
        series.push(Series { name: "control".into(), spread: &control });
    }
    let distances = summary.goldfish.iter().flat_map(|goldfish| &goldfish.nearest);
    let distances: Vec<(i64, u64)> = distances.map(|found| (found.distance, found.count)).collect();
    let charts = Charts {
        rouge: rouge_chart(&series)?,
        survival: survival_chart(&series)?,
        draws: match config.options.extraction {
            Some(extraction) => draws_chart(&series, extraction.p)?,
            None => None,
        },
        loss: loss_chart(&audited)?,
        distance: distance_chart(&distances)?,
    };
    let nontrivial = &summary.nontrivial;
    let context = Context {
        s: summary,
        config,
        origin: run.origin.as_ref(),
        digest: &run.digest,
        folder,
        command,
        gates,
        failures: failures.iter().map(ToString::to_string).collect(),
        redacted: redact,
        has_text: decode.is_some(),
        headline: headline(summary),
        verdict: verdict(summary),
        audited_probes: of_passages(summary),
        lines: lines(&summary.scores, summary.control.as_ref(), summary.excess.as_ref()),
        nontrivial: if summary.trivial.iter().any(|filter| filter.audited + filter.control > 0) {
            lines(&nontrivial.audited, nontrivial.control.as_ref(), nontrivial.excess.as_ref())
        } else {
            Vec::new()
        },
        in_context: InContext::new(summary, config.separator().len()),
        never_drawn: audited.never_drawn,
        charts,
        worst: worst.show(run, redact, decode)?,
        works: positions.show(run, redact, decode)?,
        probes: audited.probes + control.probes + in_prompt,
        shown: table.rows as u64,
        seed,
        data: table.data(),
    };
    page::render_with("audit.html", &context, SCRIPT)
}

/// What one pass over the results brings.
struct Gathered {
    audited: Spread,
    control: Spread,
    /// Probes with the passage in the prompt.
    in_prompt: u64,
    table: Table,
    worst: Worst,
    positions: Positions,
}

fn gather(run: &Run, seed: u64) -> Result<Gathered, ReportError> {
    let summary = &run.summary;
    let control = summary.control_probes.as_ref().map_or(0, |control| control.probes.probes);
    let times = if summary.in_context.is_some() { 2 } else { 1 };
    let mut chooser = Chooser::new(MOST_ROWS, times * (summary.probes.probes + control), seed);
    let mut found = Gathered {
        audited: Spread::default(),
        control: Spread::default(),
        in_prompt: 0,
        table: probe_table(summary.in_context.is_some()),
        worst: Worst::default(),
        positions: Positions::of(&summary.works),
    };
    for row in run.results()? {
        let row = row?;
        if chooser.takes() {
            // A table without the last column takes no cell of it.
            found.table.push(probe_cells(&row));
        }
        if row.passage == Passage::InPrompt.name() {
            found.in_prompt += 1;
        } else if row.set == Set::Audited.name() {
            found.audited.add(&row);
            found.positions.offer(&row);
            found.worst.offer(row);
        } else if row.set == Set::Control.name() {
            found.control.add(&row);
        }
    }
    Ok(found)
}

const ROUGE_L: usize = position("rouge_l");
const LONGEST_RUN: usize = position("longest_run");
const LOSS: usize = position("loss");

fn probe_table(in_context: bool) -> Table {
    let mut columns = vec![
        Column::text("document", false),
        Column::text("set", true),
        Column::text(exact_match::SCORE.label, true),
        Column::number(match_length::SCORE.label, 0),
        Column::number(rouge_l::SCORE.label, 3),
        Column::number(longest_run::SCORE.label, 3),
        Column::number(loss::SCORE.label, 3),
        Column::number("offset", 0),
        Column::number("prefix", 0),
        Column::number("suffix", 0),
        Column::number("copies", 0),
        Column::text("source", true),
        Column::text("trivial", true),
        Column::text("probe", false),
    ];
    if in_context {
        columns.push(Column::text("passage", true));
    }
    // By exact match, then match length, then Rouge-L.
    Table { title: "Probes", rows: 0, order: vec![4, 3, 2], columns }
}

fn probe_cells(row: &ResultRow) -> [Cell<'_>; 15] {
    [
        Cell::Text(&row.doc_id),
        Cell::Text(&row.set),
        Cell::Text(if row.exact_match { "yes" } else { "no" }),
        Cell::Number(Some(row.match_length.into())),
        Cell::Number(row.scores[ROUGE_L]),
        Cell::Number(row.scores[LONGEST_RUN]),
        Cell::Number(row.scores[LOSS]),
        Cell::Number(Some(row.offset as f64)),
        Cell::Number(Some(row.prefix_tokens.into())),
        Cell::Number(Some(row.suffix_tokens.into())),
        Cell::Number(Some(row.copies as f64)),
        Cell::Text(&row.stratum),
        Cell::Text(if row.trivial.is_empty() { "no" } else { &row.trivial }),
        Cell::Text(row.probe_id.get(..12).unwrap_or(&row.probe_id)),
        Cell::Text(if row.passage == Passage::InPrompt.name() { "in the prompt" } else { &row.passage }),
    ]
}
