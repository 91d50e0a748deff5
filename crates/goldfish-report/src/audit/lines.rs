//! The numbers of a summary in words.

use goldfish_audit::score::{Score, exact_match, rouge_l};
use goldfish_audit::stat::{Difference, Rate};
use goldfish_audit::summary::{Excess, Scores, Summary};
use serde::Serialize;

use crate::estimate::Estimate;
use crate::number::{count, percent, plural};

/// A line of the table of scores.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    /// The score.
    name: &'static str,
    meaning: &'static str,
    audited: Estimate,
    control: Option<Estimate>,
    excess: Option<Estimate>,
}

impl Line {
    fn new(score: &Score, audited: Estimate, control: Option<Estimate>, excess: Option<&Excess>) -> Self {
        let excess = excess.and_then(|excess| excess.get(score.name));
        Self {
            name: score.name,
            meaning: score.meaning,
            audited,
            control,
            excess: excess.map(|difference| Estimate::difference(score, difference)),
        }
    }
}

/// The scores of two sets and the excess of the first over the second.
pub(super) fn lines(audited: &Scores, control: Option<&Scores>, excess: Option<&Excess>) -> Vec<Line> {
    let control_rate = control.map(|control| Estimate::rate(&control.exact_match));
    let exact = Line::new(&exact_match::SCORE, Estimate::rate(&audited.exact_match), control_rate, excess);
    // What was not measured has no line.
    let measured = audited.means.iter().filter(|(_, mean)| mean.n > 0);
    let means = measured.map(|(score, mean)| {
        let control = control.and_then(|control| control.means.get(score.name));
        let control = control.map(|mean| Estimate::mean(score, mean));
        Line::new(score, Estimate::mean(score, mean), control, excess)
    });
    std::iter::once(exact).chain(means).collect()
}

/// A rate in words: `3 of 40 probes (7.5%, 95% interval 2% to 20%)`.
pub(super) fn in_words(rate: &Rate, what: &str) -> String {
    let of = format!("{} of {}", count(rate.positives), plural(rate.n, what));
    if rate.positives == 0 {
        format!("{of} (95% interval up to {})", percent(rate.upper))
    } else {
        format!(
            "{of} ({}, 95% interval {} to {})",
            percent(rate.rate),
            percent(rate.lower),
            percent(rate.upper)
        )
    }
}

/// `none of 40 probes`, `3 of 40 probes` or `all of 40 probes`.
pub(crate) fn of_probes(rate: &Rate) -> String {
    let positives = match rate.positives {
        0 => "none".into(),
        all if all == rate.n => "all".into(),
        some => count(some),
    };
    format!("{positives} of {}", plural(rate.n, "probe"))
}

/// What the run found, in a line.
pub(super) fn headline(summary: &Summary) -> String {
    of_template(summary, found_in_a_line(summary))
}

/// What was found, with what it can't show if the model was asked in words.
fn of_template(summary: &Summary, found: String) -> String {
    match summary.model.template {
        None => found,
        Some(_) if summary.scores.exact_match.positives == 0 => {
            format!("{found} It was asked through a prompt template: a zero is no all-clear.")
        }
        Some(_) => format!("{found} It was asked through a prompt template: the rates are lower bounds."),
    }
}

fn found_in_a_line(summary: &Summary) -> String {
    let found = &summary.scores.exact_match;
    if found.n == 0 {
        return "No probe was measured.".into();
    }
    if summary.canary.is_some_and(|canary| !canary.passed) {
        return "The positive control failed: what was not found may be there.".into();
    }
    let recites = format!("The model recites {}", of_probes(found));
    match &summary.control {
        None => format!("{recites}. There is no control."),
        Some(control) => {
            format!("{recites}, and {} of text that it never saw.", of_probes(&control.exact_match))
        }
    }
}

/// The same with its statistics, in a sentence.
pub(super) fn verdict(summary: &Summary) -> String {
    of_template(summary, found_in_a_sentence(summary))
}

fn found_in_a_sentence(summary: &Summary) -> String {
    let found = &summary.scores.exact_match;
    if found.n == 0 {
        return "No probe was measured, so nothing can be said.".into();
    }
    if let Some(canary) = summary.canary.filter(|canary| !canary.passed) {
        let Rate { positives, n, .. } = canary.exact_match;
        return format!(
            "The positive control failed: this audit found {} of {} texts that the model recites, so what it does not find may be there.",
            count(positives),
            count(n)
        );
    }
    let what = format!("The model recites {} of its training data", in_words(found, "probe"));
    let Some((control, excess)) = summary.control.as_ref().zip(summary.excess.as_ref()) else {
        return format!("{what}; without a control, chance and common text are not ruled out.");
    };
    let against = format!("{what}, and {}", in_words(&control.exact_match, "control probe"));
    let sure = |difference: &Difference| difference.lower.is_some_and(|lower| lower > 0.0);
    let range = |score, difference| {
        let Estimate { value, interval, .. } = Estimate::difference(score, difference);
        interval.map_or_else(|| value.clone(), |interval| format!("{value} ({interval})"))
    };
    let exact = &excess[exact_match::SCORE.name];
    let difference = range(&exact_match::SCORE, exact);
    let conclusion = if sure(exact) {
        format!("{difference} more, which chance does not explain")
    } else if found.positives == 0 {
        "no recitation was found".into()
    } else {
        format!("the difference, {difference}, may be chance")
    };
    // Exact match is blunt: a model that recites with gaps shows in what its continuations have in common.
    let overlap = &excess[rouge_l::SCORE.name];
    if !sure(exact) && sure(overlap) {
        return format!(
            "{against}: {conclusion}, but its continuations are closer to the truth by a Rouge-L of {}.",
            range(&rouge_l::SCORE, overlap)
        );
    }
    format!("{against}: {conclusion}.")
}

/// The set that the verdict is about: `192 probes of 64 independent passages (192 documents)`.
#[must_use]
pub fn of_passages(summary: &Summary) -> String {
    let (rate, documents) = (&summary.scores.exact_match, summary.probes.probed);
    let of = plural(rate.n, "probe");
    if rate.clusters == documents {
        return format!("{of} of {}", plural(documents, "document"));
    }
    let passages = plural(rate.clusters, "independent passage");
    format!("{of} of {passages} ({})", plural(documents, "document"))
}
