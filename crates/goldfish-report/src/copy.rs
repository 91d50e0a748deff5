//! The page of `goldfish lab copy`.

use std::collections::BTreeSet;

use goldfish_audit::stat::Rate;
use serde::{Deserialize, Serialize};

use crate::axis::{Axis, shares};
use crate::chart::{Caption, Chart, Curve, curves, described};
use crate::number::{count, percent, short_count};
use crate::{ReportError, page};

/// How well samples of one length were answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopyLength {
    /// Letters of the texts, or entries of the phone books.
    pub length: usize,
    /// Answers that were right to the last character.
    pub strings: Rate,
    /// Characters of answers that were right, over samples as independent units.
    pub characters: Rate,
}

/// A model that was trained on a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopyArm {
    /// The name of its architecture.
    pub architecture: String,
    /// Its parameters.
    pub parameters: u64,
    /// Tokens in training.
    pub tokens: u64,
    /// Of those, in answers.
    pub supervised_tokens: u64,
    /// Mean loss over the answers in the last tenth of the steps.
    pub loss: f64,
    /// Bytes of its state, if that has a fixed size.
    pub state_bytes: Option<u64>,
    /// Letters of the longest text that such a state can copy.
    pub longest_copy: Option<f64>,
    /// The evaluation by length, as the options have them.
    pub lengths: Vec<CopyLength>,
}

/// What the page of a copy task shows.
#[derive(Clone, Copy)]
pub struct CopyPage<'a> {
    /// The name of the task.
    pub task: &'a str,
    /// Shortest and longest length in training.
    pub trained: [usize; 2],
    /// The models, in order.
    pub arms: &'a [CopyArm],
    /// What was done: names and values.
    pub facts: &'a [(String, String)],
    /// The command line that makes this page.
    pub command: &'a str,
}

/// What the template sees.
#[derive(Serialize)]
struct Context<'a> {
    task: &'a str,
    trained: [usize; 2],
    arms: &'a [CopyArm],
    facts: &'a [(String, String)],
    command: &'a str,
    headline: String,
    statistics: Vec<String>,
    charts: Vec<Chart>,
}

/// Writes the page of a copy task: one HTML file that needs nothing else.
///
/// # Errors
///
/// If the page can't be made, which is a bug in goldfish.
pub fn copy_page(input: &CopyPage<'_>) -> Result<String, ReportError> {
    let &CopyPage { task, trained, arms, facts, command } = input;
    let charts = [&CHARACTERS, &STRINGS].map(|share| by_length(arms, task, trained[1], share, share.id));
    let context = Context {
        task,
        trained,
        arms,
        facts,
        command,
        headline: headline(arms),
        statistics: statistics(arms, trained[1]),
        charts: charts.into_iter().filter_map(Result::transpose).collect::<Result<_, _>>()?,
    };
    page::render("copy.html", &context)
}

/// Who copies best and who worst, at the longest length, in a line.
fn headline(arms: &[CopyArm]) -> String {
    let mut found: Vec<(&str, &CopyLength)> = arms
        .iter()
        .filter_map(|arm| {
            Some((arm.architecture.as_str(), arm.lengths.iter().max_by_key(|found| found.length)?))
        })
        .collect();
    found.sort_by(|a, b| b.1.characters.rate.total_cmp(&a.1.characters.rate));
    let share = |(_, found): &(&str, &CopyLength)| percent(found.characters.rate);
    match &found[..] {
        [] => "No model was asked.".into(),
        [one] => {
            format!(
                "{} gets {} of the characters right at length {}.",
                one.0,
                share(one),
                count(one.1.length as u64)
            )
        }
        [best, .., worst] => format!(
            "At length {}, {} gets most characters right, {}, and {} fewest, {}.",
            count(best.1.length as u64),
            best.0,
            share(best),
            worst.0,
            share(worst)
        ),
    }
}

/// The same of each model, at the longest length in training and at the longest of all.
fn statistics(arms: &[CopyArm], trained: usize) -> Vec<String> {
    let said = arms.iter().map(|arm| {
        let share = |found: &CopyLength| {
            format!(
                "{} of the characters at length {}",
                percent(found.characters.rate),
                count(found.length as u64)
            )
        };
        let within = arm.lengths.iter().find(|found| found.length == trained);
        let last = arm.lengths.iter().max_by_key(|found| found.length).filter(|found| found.length > trained);
        let shares: Vec<String> = within.into_iter().chain(last).map(share).collect();
        format!("{}: {}.", arm.architecture, shares.join(", "))
    });
    said.collect()
}

/// A share that is drawn by length.
struct Share {
    id: &'static str,
    title: &'static str,
    axis: &'static str,
    of: fn(&CopyLength) -> &Rate,
}

const STRINGS: Share = Share {
    id: "strings-by-length",
    title: "Answers that are right to the last character, by length",
    axis: "share of answers",
    of: |found| &found.strings,
};

const CHARACTERS: Share = Share {
    id: "characters-by-length",
    title: "Characters of answers that are right, by length",
    axis: "share of characters",
    of: |found| &found.characters,
};

/// Colors are few: so many models are drawn at most.
const MOST: usize = 8;

/// The characters of each model by length; `id` is the chart's name in the page.
pub(crate) fn characters_by_length(
    arms: &[CopyArm],
    task: &str,
    trained: usize,
    id: &str,
) -> Result<Option<Chart>, ReportError> {
    by_length(arms, task, trained, &CHARACTERS, id)
}

fn by_length(
    arms: &[CopyArm],
    task: &str,
    trained: usize,
    share: &Share,
    id: &str,
) -> Result<Option<Chart>, ReportError> {
    let lengths: BTreeSet<usize> =
        arms.iter().flat_map(|arm| arm.lengths.iter().map(|found| found.length)).collect();
    let lengths: Vec<f64> = lengths.into_iter().map(|length| length as f64).collect();
    let (Some(first), Some(last)) = (lengths.first().copied(), lengths.last().copied()) else {
        return Ok(None);
    };
    let mut drawn: Vec<Curve> = Vec::new();
    for arm in arms.iter().take(MOST) {
        let mut points: Vec<(f64, f64)> =
            arm.lengths.iter().map(|found| (found.length as f64, (share.of)(found).rate)).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        drawn.push(Curve { name: arm.architecture.clone(), points, series: drawn.len(), dots: true });
    }
    let description = described(&drawn, |(length, rate)| format!("{} at {length}", percent(rate)));
    let limit = vec![(trained as f64, 0.0), (trained as f64, 1.0)];
    drawn.push(Curve { name: "longest in training".into(), points: limit, series: drawn.len(), dots: false });
    let caption = Caption { id: id.into(), title: share.title.into(), description };
    let x = Axis {
        title: if task == "phone-book" { "length (entries)" } else { "length (letters)" },
        from: first.min(trained as f64) * 0.9,
        to: last.max(trained as f64) * 1.12,
        log: true,
        ticks: Some(lengths),
        format: &|length| short_count(*length),
    };
    curves(caption, &x, &shares(share.axis), &drawn).map(Some)
}
