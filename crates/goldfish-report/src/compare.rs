//! Runs on the same probes against each other, and the page of `goldfish compare`.

use std::collections::HashMap;

use goldfish_audit::backend::ModelDescription;
use goldfish_audit::gate::GateFailure;
use goldfish_audit::probe::{Passage, Set};
use goldfish_audit::run::Run;
use goldfish_audit::score::{Score, exact_match, position};
use goldfish_audit::stat::{Bootstrap, Rate};
use goldfish_audit::summary::Comparison;
use goldfish_audit::{ResultRow, compare};
use minijinja::Value;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::audit::of_probes;
use crate::chart::Chart;
use crate::error::ReportError;
use crate::estimate::Estimate;
use crate::number::{count, plural, probability};
use crate::page;
use crate::spread::Spread;
use crate::spread_charts::{Series, rouge_chart, survival_chart};
use crate::table::{Cell, Chooser, Column, MOST_ROWS, SCRIPT, Table};

const ROUGE_L: usize = position("rouge_l");

/// Several runs, each against the first one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Comparisons {
    /// The runs in the order in which they were named.
    pub runs: Vec<ComparedRun>,
    /// Every run but the first against the first.
    pub comparisons: Vec<RunComparison>,
}

/// A run that is compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ComparedRun {
    /// Its folder, as it was named.
    pub name: String,
    /// Key of its configuration.
    pub key: String,
    /// Its model.
    pub model: ModelDescription,
    /// Exact match of all its audited probes.
    pub exact_match: Rate,
    /// Exact match of its control, if it has one.
    pub control: Option<Rate>,
}

/// A run against the baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunComparison {
    /// The run that is compared with.
    pub baseline: String,
    /// The run.
    pub run: String,
    /// Exact matches of the baseline among the probes that both have.
    pub baseline_positives: u64,
    /// Exact matches of the run among the probes that both have.
    pub run_positives: u64,
    /// What was found: the run is the first, the baseline the second, so that a difference above 0 says that the run has
    /// more.
    pub comparison: Comparison,
    /// Probes that are an exact match in one of them only, in the order of the run.
    pub changed: Vec<Changed>,
}

/// A probe that is an exact match in one of two runs only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Changed {
    /// The probe.
    pub probe_id: String,
    /// The document's id.
    pub doc_id: String,
    /// Where the prefix starts in the document, in tokens.
    pub offset: u64,
    /// Tokens of prefix.
    pub prefix_tokens: u32,
    /// Tokens of suffix.
    pub suffix_tokens: u32,
    /// Whether it is one in the run; in the baseline it is the other way round.
    pub exact_match: bool,
    /// Tokens before the first divergence in the baseline.
    pub baseline_match_length: u32,
    /// Tokens before the first divergence in the run.
    pub run_match_length: u32,
    /// Rouge-L F1 in the baseline.
    pub baseline_rouge_l: Option<f64>,
    /// Rouge-L F1 in the run.
    pub run_rouge_l: Option<f64>,
}

/// Compared runs with what their plots need.
#[derive(Debug)]
pub struct Compared {
    /// What was found.
    pub comparisons: Comparisons,
    /// Of each run; but of the first only over probes that the baseline has.
    spreads: Vec<Spread>,
}

/// The audited results without the lists, which take most of the memory.
fn rows(run: &Run) -> Result<Vec<ResultRow>, ReportError> {
    let mut rows = Vec::new();
    for row in run.results()? {
        let row = row?;
        if row.is_of(Set::Audited, Passage::Absent) {
            rows.push(ResultRow { log_probs: None, ranks: None, generated: None, ..row });
        }
    }
    Ok(rows)
}

/// Compares runs with the first of them, on the audited probes that both have.
///
/// # Errors
///
/// If there are fewer than two, a table can't be read, or a run has no probe of the first one.
pub fn compare_runs(runs: &[(String, Run)], bootstrap: &Bootstrap) -> Result<Compared, ReportError> {
    let [(baseline, first), others @ ..] = runs else { return Err(ReportError::TooFewRuns) };
    if others.is_empty() {
        return Err(ReportError::TooFewRuns);
    }
    let baseline_rows = rows(first)?;
    let known: HashMap<&str, &ResultRow> =
        baseline_rows.iter().map(|row| (row.probe_id.as_str(), row)).collect();
    let mut spreads = vec![Spread::default()];
    baseline_rows.iter().for_each(|row| spreads[0].add(row));
    let mut comparisons = Vec::new();
    for (name, run) in others {
        let rows = rows(run)?;
        let pairs: Vec<(&ResultRow, &ResultRow)> =
            rows.iter().filter_map(|row| Some((row, *known.get(row.probe_id.as_str())?))).collect();
        if pairs.is_empty() {
            return Err(ReportError::NothingShared { baseline: baseline.clone(), run: name.clone() });
        }
        let mut spread = Spread::default();
        pairs.iter().for_each(|(row, _)| spread.add(row));
        spreads.push(spread);
        let positives = |exact: fn(&(&ResultRow, &ResultRow)) -> bool| {
            pairs.iter().filter(|pair| exact(pair)).count() as u64
        };
        let changed = pairs.iter().filter(|(row, before)| row.exact_match != before.exact_match);
        comparisons.push(RunComparison {
            baseline: baseline.clone(),
            run: name.clone(),
            baseline_positives: positives(|(_, before)| before.exact_match),
            run_positives: positives(|(row, _)| row.exact_match),
            comparison: compare(&rows, &baseline_rows, bootstrap),
            changed: changed.map(|(row, before)| change(row, before)).collect(),
        });
    }
    let described = |(name, run): &(String, Run)| ComparedRun {
        name: name.clone(),
        key: run.summary.key.clone(),
        model: run.summary.model.clone(),
        exact_match: run.summary.scores.exact_match,
        control: run.summary.control.as_ref().map(|control| control.exact_match),
    };
    let comparisons = Comparisons { runs: runs.iter().map(described).collect(), comparisons };
    Ok(Compared { comparisons, spreads })
}

fn change(row: &ResultRow, before: &ResultRow) -> Changed {
    Changed {
        probe_id: row.probe_id.clone(),
        doc_id: row.doc_id.clone(),
        offset: row.offset,
        prefix_tokens: row.prefix_tokens,
        suffix_tokens: row.suffix_tokens,
        exact_match: row.exact_match,
        baseline_match_length: before.match_length,
        run_match_length: row.match_length,
        baseline_rouge_l: before.scores[ROUGE_L],
        run_rouge_l: row.scores[ROUGE_L],
    }
}

impl RunComparison {
    /// What was found, in a sentence.
    #[must_use]
    pub fn verdict(&self) -> String {
        let Comparison { probes, exact_match_test: test, differences, .. } = &self.comparison;
        let Estimate { value, interval, .. } =
            Estimate::difference(&exact_match::SCORE, &differences[exact_match::SCORE.name]);
        let interval = interval.map(|interval| format!(", 95% interval {interval}")).unwrap_or_default();
        format!(
            "Of {} in common, {} continues {} token for token and {} {}: {}{interval}; McNemar's test gives {} by independent passages",
            plural(*probes, "probe"),
            self.run,
            count(self.run_positives),
            self.baseline,
            count(self.baseline_positives),
            value,
            probability(test.clustered),
        )
    }

    /// Names of scores with their differences and intervals, as text.
    #[must_use]
    pub fn lines(&self) -> Vec<(&'static str, String, String)> {
        let line = |(score, found): (&'static Score, Estimate)| {
            (score.label, found.value, found.interval.unwrap_or_default())
        };
        self.estimates().map(line).collect()
    }

    /// The scores whose differences were measured.
    fn estimates(&self) -> impl Iterator<Item = (&'static Score, Estimate)> {
        let differences = self.comparison.differences.iter();
        let measured = differences.filter(|(_, difference)| difference.difference.is_some());
        measured.map(|(score, difference)| (score, Estimate::difference(score, difference)))
    }
}

/// What the page of a comparison shows.
#[derive(Clone, Copy)]
pub struct ComparePage<'a> {
    /// What was found.
    pub compared: &'a Compared,
    /// The command line that makes this page.
    pub command: &'a str,
    /// Gates that were asked for, as they were given.
    pub gates: &'a [String],
    /// Those that fail, each with the run that it fails for.
    pub failures: &'a [(String, GateFailure)],
    /// Seed of the sample where more probes changed than the page holds.
    pub seed: u64,
}

/// What the template sees.
#[derive(Serialize)]
struct Context<'a> {
    c: &'a Comparisons,
    command: &'a str,
    gates: &'a [String],
    failures: Vec<String>,
    headline: String,
    verdicts: Vec<String>,
    lines: Vec<Vec<(&'static str, Estimate)>>,
    tests: Vec<[String; 2]>,
    survival: Option<Chart>,
    rouge: Option<Chart>,
    changed: u64,
    shown: u64,
    seed: u64,
    data: Value,
}

/// Writes the page of a comparison: one HTML file that needs nothing else.
///
/// # Errors
///
/// If the page can't be made, which is a bug in goldfish.
pub fn compare_page(input: &ComparePage<'_>) -> Result<String, ReportError> {
    let &ComparePage { compared: Compared { comparisons, spreads }, command, gates, failures, seed } = input;
    let series: Vec<Series<'_>> = (comparisons.runs.iter().zip(spreads))
        .map(|(run, spread)| Series { name: crate::text::plain(&run.name, 40), spread })
        .collect();
    let changed = comparisons.comparisons.iter().map(|one| one.changed.len() as u64).sum();
    let mut table = changed_table();
    let mut chooser = Chooser::new(MOST_ROWS, changed, seed);
    for one in &comparisons.comparisons {
        for probe in &one.changed {
            if chooser.takes() {
                table.push(changed_cells(&one.run, probe));
            }
        }
    }
    let tests = comparisons.comparisons.iter().map(|one| {
        let test = &one.comparison.exact_match_test;
        [probability(test.clustered), probability(test.exact)]
    });
    let context = Context {
        c: comparisons,
        command,
        gates,
        failures: failures.iter().map(|(run, failure)| format!("{run}: {failure}")).collect(),
        headline: headline(&comparisons.runs),
        verdicts: comparisons.comparisons.iter().map(RunComparison::verdict).collect(),
        lines: comparisons
            .comparisons
            .iter()
            .map(|one| one.estimates().map(|(score, found)| (score.name, found)).collect())
            .collect(),
        tests: tests.collect(),
        survival: survival_chart(&series)?,
        rouge: rouge_chart(&series)?,
        changed,
        shown: table.rows as u64,
        seed,
        data: table.data(),
    };
    page::render_with("compare.html", &context, SCRIPT)
}

/// How much each run recites, in a line: the baseline last.
fn headline(runs: &[ComparedRun]) -> String {
    let recites = |run: &ComparedRun| format!("{} recites {}", run.name, of_probes(&run.exact_match));
    let others = runs.iter().skip(1).chain(runs.first());
    others.map(recites).collect::<Vec<_>>().join("; ") + "."
}

fn changed_table() -> Table {
    let columns = vec![
        Column::text("run", true),
        Column::text("document", false),
        Column::text("exact match", true),
        Column::number("match length before", 0),
        Column::number("match length", 0),
        Column::number("Rouge-L before", 3),
        Column::number("Rouge-L", 3),
        Column::number("offset", 0),
        Column::number("prefix", 0),
        Column::number("suffix", 0),
        Column::text("probe", false),
    ];
    Table { title: "Probes whose verdict changed", rows: 0, order: vec![4, 2], columns }
}

fn changed_cells<'a>(run: &'a str, probe: &'a Changed) -> [Cell<'a>; 11] {
    [
        Cell::Text(run),
        Cell::Text(&probe.doc_id),
        Cell::Text(if probe.exact_match { "now" } else { "no longer" }),
        Cell::Number(Some(probe.baseline_match_length.into())),
        Cell::Number(Some(probe.run_match_length.into())),
        Cell::Number(probe.baseline_rouge_l),
        Cell::Number(probe.run_rouge_l),
        Cell::Number(Some(probe.offset as f64)),
        Cell::Number(Some(probe.prefix_tokens.into())),
        Cell::Number(Some(probe.suffix_tokens.into())),
        Cell::Text(probe.probe_id.get(..12).unwrap_or(&probe.probe_id)),
    ]
}
