//! The page of `goldfish lab memory`.

use goldfish_audit::stat::Rate;
use serde::{Deserialize, Serialize};

use crate::axis::{counted, losses, shares};
use crate::chart::{Caption, Chart, Curve, curves, described};
use crate::number::{decimal, percent};
use crate::{ReportError, page};

/// How well a model answers after so many other facts were injected.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryPoint {
    /// Facts that were injected after the one that is asked for.
    pub later: usize,
    /// Letters of the answers that were right, over facts as independent units.
    pub letters: Rate,
    /// Answers that were right to the last letter.
    pub facts: Rate,
    /// The share of a fact's vectors that is still in the pool: `(1 - replaced / slots)^later`.
    pub kept: f64,
}

/// A model with a pool of memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryArm {
    /// The loss: `standard` or `masked`.
    pub name: String,
    /// One token in k was excluded from the loss.
    pub k: Option<u32>,
    /// Steps, and the mean loss of the steps since the entry before.
    pub losses: Vec<(u64, f64)>,
    /// The evaluation, by later facts.
    pub points: Vec<MemoryPoint>,
}

/// What the page shows.
#[derive(Clone, Copy)]
pub struct MemoryPage<'a> {
    /// The models.
    pub arms: &'a [MemoryArm],
    /// What was done: names and values.
    pub facts: &'a [(String, String)],
    /// The command line that makes this page.
    pub command: &'a str,
}

/// What the template sees.
#[derive(Serialize)]
struct Context<'a> {
    arms: &'a [MemoryArm],
    facts: &'a [(String, String)],
    command: &'a str,
    headline: String,
    statistics: Vec<String>,
    charts: Vec<Chart>,
}

/// Writes the page of an experiment with a pool of memory: one HTML file that needs nothing else.
///
/// # Errors
///
/// If the page can't be made, which is a bug in goldfish.
pub fn memory_page(input: &MemoryPage<'_>) -> Result<String, ReportError> {
    let &MemoryPage { arms, facts, command } = input;
    let said = arms.iter().filter_map(|arm| {
        let (first, last) = (arm.points.first()?, arm.points.last()?);
        let share = |point: &MemoryPoint| {
            format!("{} of the letters after {} later facts", percent(point.letters.rate), point.later)
        };
        Some(format!("{}: {}, {}.", arm.name, share(first), share(last)))
    });
    let statistics = said.collect();
    let last = arms.iter().filter_map(|arm| Some((arm.name.as_str(), arm.points.last()?)));
    let shares: Vec<String> =
        last.clone().map(|(name, point)| format!("{name} {}", percent(point.letters.rate))).collect();
    let later = last.map(|(_, point)| point.later).max().unwrap_or_default();
    let headline = format!("Letters of facts right after {later} later ones: {}.", shares.join(", "));
    let charts = retention(arms)?.into_iter().chain(training(arms)?).collect();
    page::render("memory.html", &Context { arms, facts, command, headline, statistics, charts })
}

/// Letters that are right by later facts, beside the share of a fact's vectors that is still in the pool.
fn retention(arms: &[MemoryArm]) -> Result<Option<Chart>, ReportError> {
    let mut drawn: Vec<Curve> = Vec::new();
    for arm in arms {
        let points = arm.points.iter().map(|point| (point.later as f64, point.letters.rate)).collect();
        drawn.push(Curve { name: arm.name.clone(), points, series: drawn.len(), dots: true });
    }
    let Some(first) = arms.first().filter(|arm| arm.points.len() > 1) else { return Ok(None) };
    let kept = first.points.iter().map(|point| (point.later as f64, point.kept)).collect();
    drawn.push(Curve {
        name: "vectors still in the pool".into(),
        points: kept,
        series: drawn.len(),
        dots: false,
    });
    let caption = Caption {
        id: "retention".into(),
        title: "Letters that are right, by facts that were injected later".into(),
        description: described(&drawn, |(later, share)| format!("{} after {later}", percent(share))),
    };
    let last = first.points.iter().map(|point| point.later).max().unwrap_or(1);
    let x = counted("number of facts injected later", last as f64);
    curves(caption, &x, &shares("share of letters, or of vectors"), &drawn).map(Some)
}

/// The loss in training.
fn training(arms: &[MemoryArm]) -> Result<Option<Chart>, ReportError> {
    let all = || arms.iter().flat_map(|arm| &arm.losses);
    let (Some(last), Some(highest)) =
        (all().map(|(step, _)| *step).max(), all().map(|(_, loss)| *loss).reduce(f64::max))
    else {
        return Ok(None);
    };
    let curve = |(series, arm): (usize, &MemoryArm)| Curve {
        name: arm.name.clone(),
        points: arm.losses.iter().map(|(step, loss)| (*step as f64, *loss)).collect(),
        series,
        dots: false,
    };
    let drawn: Vec<Curve> = arms.iter().enumerate().map(curve).collect();
    let said = arms.iter().filter_map(|arm| {
        let (step, loss) = arm.losses.last()?;
        Some(format!("{}: {} nats a letter at step {step}", arm.name, decimal(*loss)))
    });
    let caption = Caption {
        id: "losses".into(),
        title: "Loss of the answers in training".into(),
        description: format!("{}.", said.collect::<Vec<_>>().join(". ")),
    };
    let (x, y) = (counted("steps of training", last as f64), losses("loss (nats a letter)", highest));
    curves(caption, &x, &y, &drawn).map(Some)
}
