//! What a sweep found out about architectures beside its arms.

use goldfish_audit::stat::Rate;
use serde::{Deserialize, Serialize};

use crate::ReportError;
use crate::axis::{Axis, shares};
use crate::chart::{Caption, Chart, Curve, curves, described};
use crate::copy::{CopyArm, characters_by_length};
use crate::number::percent;

/// What an architecture costs, by position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepCost {
    /// Its name.
    pub architecture: String,
    /// By growing position.
    pub at: Vec<SweepCostAt>,
}

/// The costs after so many tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepCostAt {
    /// Tokens of the sequence.
    pub tokens: u64,
    /// Bytes that the model keeps of them.
    pub state_bytes: u64,
    /// Milliseconds for the last token, with what is kept of those before: a median.
    pub step_ms: f64,
    /// Milliseconds for all tokens at once: for the last one, if nothing is kept.
    pub whole_ms: f64,
}

/// A copy task that models were trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepTask {
    /// Its name.
    pub task: String,
    /// Tokens that each model was trained on.
    pub tokens: u64,
    /// Shortest and longest length in training.
    pub trained: [usize; 2],
    /// The models.
    pub arms: Vec<CopyArm>,
}

/// Weights or context: exact matches beside those of passages of the training that are not in the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepContext {
    /// Passages that the model never saw.
    pub held_out: Rate,
    /// Passages of the training, with the passage in the prompt.
    pub in_prompt: Rate,
    /// Passages that the model never saw, with the passage in the prompt: what it copies.
    pub held_out_in_prompt: Rate,
}

/// A task on the page.
#[derive(Serialize)]
pub(crate) struct TaskShown<'a> {
    task: &'a SweepTask,
    chart: Option<Chart>,
}

impl<'a> TaskShown<'a> {
    pub(crate) fn new(task: &'a SweepTask) -> Result<Self, ReportError> {
        let chart =
            characters_by_length(&task.arms, &task.task, task.trained[1], &format!("task-{}", task.task))?;
        Ok(Self { task, chart })
    }
}

/// How often a model must see the passages until it recites them.
#[derive(Serialize)]
pub(crate) struct Learned<'a> {
    name: &'a str,
    /// How often it had seen every document, and the share of passages that it recited then.
    points: Vec<(f64, f64)>,
    /// The first of these with [`ENOUGH`] of the passages.
    epochs: Option<f64>,
}

/// The share of the passages from which on a model counts as one that recites.
const ENOUGH: f64 = 0.9;

impl<'a> Learned<'a> {
    pub(crate) fn new(name: &'a str, recited: &[(f64, u64)], passages: u64) -> Self {
        let share = |(epochs, recited): &(f64, u64)| (*epochs, *recited as f64 / passages.max(1) as f64);
        let points: Vec<(f64, f64)> = recited.iter().map(share).collect();
        let epochs = points.iter().find(|(_, share)| *share >= ENOUGH).map(|(epochs, _)| *epochs);
        Self { name, points, epochs }
    }
}

/// The share of the passages that is recited, by epochs.
pub(crate) fn learned_chart(learned: &[Learned<'_>]) -> Result<Option<Chart>, ReportError> {
    let last = learned.iter().flat_map(|one| one.points.last()).map(|(epochs, _)| *epochs).reduce(f64::max);
    let Some(last) = last else { return Ok(None) };
    let drawn: Vec<Curve> = learned
        .iter()
        .enumerate()
        .map(|(series, one)| Curve {
            name: one.name.to_owned(),
            points: one.points.clone(),
            series,
            dots: true,
        })
        .collect();
    let caption = Caption {
        id: "learned".into(),
        title: "Passages recited with the standard loss, by epochs".into(),
        description: described(&drawn, |(epochs, share)| format!("{} after {epochs:.1}", percent(share))),
    };
    let x = Axis {
        title: "epochs (times every document was seen)",
        from: 0.0,
        to: last * 1.03,
        log: false,
        ticks: None,
        format: &|epochs| format!("{epochs:.1}"),
    };
    curves(caption, &x, &shares("share of passages"), &drawn).map(Some)
}
