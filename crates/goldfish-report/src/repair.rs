//! The page of `goldfish lab repair`.

use goldfish_audit::stat::Rate;
use serde::{Deserialize, Serialize};

use crate::axis::{Axis, counted, losses, shares};
use crate::chart::{Caption, Chart, Curve, curves, described};
use crate::number::{count, decimal, percent, plural, short_count, signed_percent};
use crate::{ReportError, page};

/// A model after some steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepairPoint {
    /// Steps so far; 0 for the model as it was.
    pub step: u64,
    /// Supervised tokens so far.
    pub supervised_tokens: u64,
    /// Loss on the validation documents, in nats a token.
    pub validation_loss: f64,
    /// Suffixes that are recited token for token.
    pub recited: Rate,
    /// Mean Rouge-L F1 of the greedy continuations and the suffixes.
    pub rouge_l: f64,
    /// Mean number of tokens before the first that differs.
    pub match_length: f64,
}

/// A way to repair a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepairArm {
    /// Its name.
    pub name: String,
    /// Steps.
    pub steps: u64,
    /// Tokens of all steps that gradients were computed of.
    pub tokens: u64,
    /// Of those, included in the loss.
    pub supervised_tokens: u64,
    /// Pairs of continuations of which one was preferred, and pairs that were ties; absent for an arm without preferences.
    pub pairs: Option<(u64, u64)>,
    /// The model by steps, from that as it was.
    pub points: Vec<RepairPoint>,
}

/// What the page of a repair shows.
#[derive(Clone, Copy)]
pub struct RepairPage<'a> {
    /// The arms, in order.
    pub arms: &'a [RepairArm],
    /// What was done: names and values.
    pub facts: &'a [(String, String)],
    /// The command line that makes this page.
    pub command: &'a str,
}

/// What the template sees.
#[derive(Serialize)]
struct Context<'a> {
    headline: String,
    statistics: Vec<String>,
    arms: &'a [RepairArm],
    facts: &'a [(String, String)],
    command: &'a str,
    charts: Vec<Chart>,
}

/// Writes the page of a repair: one HTML file that needs nothing else.
///
/// # Errors
///
/// If the page can't be made, which is a bug in goldfish.
pub fn repair_page(input: &RepairPage<'_>) -> Result<String, ReportError> {
    let &RepairPage { arms, facts, command } = input;
    let charts = [against_loss(arms), by_step(arms, &RECITED), by_step(arms, &ROUGE), by_step(arms, &LOSS)];
    let charts = charts.into_iter().filter_map(Result::transpose).collect::<Result<_, _>>()?;
    let (headline, statistics) = (headline(arms), statistics(arms));
    page::render("repair.html", &Context { headline, statistics, arms, facts, command, charts })
}

/// What each arm recites at the end, and what became of the loss.
fn headline(arms: &[RepairArm]) -> String {
    let ends = || arms.iter().filter_map(|arm| Some((arm, arm.points.first()?, arm.points.last()?)));
    let before = ends().map(|(_, first, _)| first.recited).next();
    let Some(before) = before else { return "Nothing was measured.".into() };
    let left: Vec<String> = ends()
        .map(|(arm, _, last)| format!("{} leaves {}", arm.name, count(last.recited.positives)))
        .collect();
    format!("Of {} that were recited, {}.", plural(before.positives, "passage"), left.join(", "))
}

/// The same with what it costs, for each arm.
fn statistics(arms: &[RepairArm]) -> Vec<String> {
    let said = arms.iter().filter_map(|arm| {
        let (first, last) = (arm.points.first()?, arm.points.last()?);
        Some(format!(
            "{}: {} of {} recited before, {} after {}; loss on other text {} before, {} after ({}).",
            arm.name,
            count(first.recited.positives),
            plural(first.recited.n, "passage"),
            count(last.recited.positives),
            plural(last.step, "step"),
            decimal(first.validation_loss),
            decimal(last.validation_loss),
            signed_percent(last.validation_loss / first.validation_loss - 1.0),
        ))
    });
    said.collect()
}

/// Recited share by loss on other text: a line leads from the model as it was through the steps.
fn against_loss(arms: &[RepairArm]) -> Result<Option<Chart>, ReportError> {
    let all = || arms.iter().flat_map(|arm| arm.points.iter().map(|point| point.validation_loss));
    let (Some(least), Some(most)) = (all().reduce(f64::min), all().reduce(f64::max)) else {
        return Ok(None);
    };
    let room = ((most - least) * 0.05).max(0.01);
    let (from, to) = (least - room, most + room);
    let drawn = drawn(arms, |point| (point.validation_loss, point.recited.rate));
    let caption = Caption {
        id: "recited-by-loss".into(),
        title: "Passages recited, by the loss on other text; each line leads from the model as it was".into(),
        description: described(&drawn, |(loss, rate)| {
            format!("{} at a loss of {}", percent(rate), decimal(loss))
        }),
    };
    let x = Axis {
        title: "loss on other text (nats a token)",
        from,
        to,
        log: false,
        ticks: None,
        format: &|loss| format!("{loss:.2}"),
    };
    curves(caption, &x, &shares("share of passages"), &drawn).map(Some)
}

/// A number that is drawn by supervised tokens.
struct Measure {
    id: &'static str,
    title: &'static str,
    axis: &'static str,
    of: fn(&RepairPoint) -> f64,
    said: fn(f64) -> String,
    share: bool,
}

const RECITED: Measure = Measure {
    id: "recited-by-step",
    title: "Passages recited token for token, by supervised tokens",
    axis: "share of passages",
    of: |point| point.recited.rate,
    said: percent,
    share: true,
};

const ROUGE: Measure = Measure {
    id: "rouge-by-step",
    title: "Rouge-L of the greedy continuations, by supervised tokens",
    axis: "mean Rouge-L F1",
    of: |point| point.rouge_l,
    said: decimal,
    share: true,
};

const LOSS: Measure = Measure {
    id: "loss-by-step",
    title: "Loss on other text, by supervised tokens",
    axis: "loss (nats a token)",
    of: |point| point.validation_loss,
    said: decimal,
    share: false,
};

fn by_step(arms: &[RepairArm], measure: &Measure) -> Result<Option<Chart>, ReportError> {
    let points = || arms.iter().flat_map(|arm| &arm.points);
    let furthest = points().map(|point| point.supervised_tokens).max().unwrap_or_default();
    if furthest == 0 {
        return Ok(None);
    }
    let highest = points().map(measure.of).fold(0.0, f64::max);
    let drawn = drawn(arms, |point| (point.supervised_tokens as f64, (measure.of)(point)));
    let caption = Caption {
        id: measure.id.into(),
        title: measure.title.into(),
        description: described(&drawn, |(tokens, value)| {
            format!("{} after {}", (measure.said)(value), short_count(tokens))
        }),
    };
    let y = if measure.share { shares(measure.axis) } else { losses(measure.axis, highest) };
    curves(caption, &counted("number of supervised tokens", furthest as f64), &y, &drawn).map(Some)
}

fn drawn(arms: &[RepairArm], point: impl Fn(&RepairPoint) -> (f64, f64)) -> Vec<Curve> {
    let curve = |(series, arm): (usize, &RepairArm)| Curve {
        name: arm.name.clone(),
        points: arm.points.iter().map(&point).collect(),
        series,
        dots: true,
    };
    arms.iter().enumerate().map(curve).collect()
}
