//! Weights or context: exact match with and without the passage in the prompt.

use goldfish_audit::score::exact_match;
use goldfish_audit::stat::{Difference, Rate};
use goldfish_audit::summary::{Copying, Excess, InContextSummary, Summary};
use serde::Serialize;

use super::lines::{Line, in_words, lines};
use crate::estimate::Estimate;

/// What the page says of the control of copying.
#[derive(Debug, Serialize)]
pub(super) struct InContext {
    /// Tokens between the passage and the prefix.
    separator: usize,
    rows: [Row; 2],
    gain: Estimate,
    control_gain: Option<Estimate>,
    conclusion: String,
    /// All scores with the passage in the prompt.
    lines: Vec<Line>,
}

/// A row of the table: with or without the passage in the prompt.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    audited: Cell,
    control: Option<Cell>,
    excess: Option<Estimate>,
}

/// A cell, and what it shows.
#[derive(Debug, Serialize)]
struct Cell {
    rate: Estimate,
    meaning: &'static str,
}

fn exact(differences: &Excess) -> &Difference {
    &differences[exact_match::SCORE.name]
}

impl Row {
    fn new(
        name: &'static str,
        [audited, control]: [(Option<&Rate>, &'static str); 2],
        excess: Option<&Excess>,
    ) -> Option<Self> {
        let cell = |(rate, meaning): (Option<&Rate>, _)| {
            rate.map(|rate| Cell { rate: Estimate::rate(rate), meaning })
        };
        let excess = excess.map(|excess| Estimate::difference(&exact_match::SCORE, exact(excess)));
        Some(Self { name, audited: cell(audited)?, control: cell(control), excess })
    }
}

impl InContext {
    /// Of a run that asked for it.
    pub(super) fn new(summary: &Summary, separator: usize) -> Option<Self> {
        let found = summary.in_context.as_ref()?;
        let rate = |scores: &goldfish_audit::summary::Scores| scores.exact_match;
        let (absent, held_out) = (rate(&summary.scores), summary.control.as_ref().map(rate));
        let (present, copied) = (rate(&found.scores), found.control.as_ref().map(rate));
        let gain = |gain: &Excess| Estimate::difference(&exact_match::SCORE, exact(gain));
        Some(Self {
            separator,
            rows: [
                Row::new(
                    "absent",
                    [
                        (Some(&absent), "recited: from the weights"),
                        (held_out.as_ref(), "guessed: neither seen nor shown"),
                    ],
                    summary.excess.as_ref(),
                )?,
                Row::new(
                    "in the prompt",
                    [
                        (Some(&present), "from the weights or copied"),
                        (copied.as_ref(), "copied: from the prompt alone"),
                    ],
                    found.excess.as_ref(),
                )?,
            ],
            gain: gain(&found.gain),
            control_gain: found.control_gain.as_ref().map(gain),
            conclusion: copying_in_words(summary, found),
            lines: lines(&found.scores, found.control.as_ref(), found.excess.as_ref()),
        })
    }
}

/// Whether the model copies, and what that says of what it recites.
#[must_use]
pub fn copying_in_words(summary: &Summary, found: &InContextSummary) -> String {
    let (Some(copying), Some(control)) = (found.copying, &found.control) else {
        return "Without a control, what the model repeats with the passage in its prompt may come from its weights or from the prompt.".into();
    };
    let repeats = in_words(&control.exact_match, "control probe");
    let recited = in_words(&summary.scores.exact_match, "audited probe");
    let recites =
        summary.excess.as_ref().is_some_and(|excess| exact(excess).lower.is_some_and(|lower| lower > 0.0));
    match (copying, recites) {
        (Copying::Copies, false) => format!(
            "The model copies {repeats} from its prompt, so that it is able to say such text: that it recites {recited} without the passage is not inability."
        ),
        (Copying::Copies, true) => format!(
            "The model copies {repeats} from its prompt. It also recites {recited} without the passage, more than of the control: these come from its weights."
        ),
        (Copying::DoesNotCopy, false) => format!(
            "The model does not copy from its prompt at this length: it repeats {repeats} that it has just read. That it recites {recited} may be inability, and shows little."
        ),
        (Copying::DoesNotCopy, true) => format!(
            "The model does not copy from its prompt at this length: it repeats {repeats} that it has just read. That it recites {recited} comes from its weights."
        ),
        (Copying::Unclear, _) => format!(
            "Whether the model copies from its prompt at this length is not clear: it repeats {repeats}, an interval that has one half in it."
        ),
    }
}
