//! The numbers of a summary in words.

use goldfish_audit::stat::{Difference, Mean, Rate};
use goldfish_audit::summary::{Excess, Scores, Summary};
use serde::Serialize;

use crate::number::{count, decimal, percent, plural, points, signed};

/// A line of the table of scores.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    name: &'static str,
    meaning: &'static str,
    audited: Cell,
    control: Option<Cell>,
    excess: Option<Cell>,
}

/// A number with its interval.
#[derive(Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) value: String,
    pub(crate) interval: Option<String>,
}

impl Cell {
    fn new(value: Option<f64>, ends: Option<(f64, f64)>, format: impl Fn(f64) -> String) -> Self {
        Self {
            value: value.map_or("–".into(), &format),
            // The unit stands with the value.
            interval: ends
                .filter(|_| value.is_some())
                .map(|(low, high)| format!("{} to {}", format(low), format(high)).replace(" points", "")),
        }
    }

    fn rate(rate: &Rate) -> Self {
        Self::new((rate.n > 0).then_some(rate.rate), Some((rate.lower, rate.upper)), percent)
    }

    fn mean(mean: &Mean, format: Format) -> Self {
        Self::new(mean.mean, mean.lower.zip(mean.upper), format)
    }

    pub(crate) fn difference(difference: &Difference, format: Format) -> Self {
        Self::new(difference.difference, difference.lower.zip(difference.upper), format)
    }
}

type Format = fn(f64) -> String;

/// A score whose mean is shown: name, meaning, where it stands, where its excess stands, and whether it is a share.
type Score = (&'static str, &'static str, fn(&Scores) -> &Mean, fn(&Excess) -> Option<&Difference>, bool);

/// The scores of two sets and what the first has more of.
pub(crate) fn lines(audited: &Scores, control: Option<&Scores>, excess: Option<&Excess>) -> Vec<Line> {
    let means: [Score; 9] = [
        (
            "Match length",
            "tokens before the first that differs",
            |s| &s.match_length,
            |e| Some(&e.match_length),
            false,
        ),
        ("Rouge-L", "longest common subsequence of tokens, F1", |s| &s.rouge_l, |e| Some(&e.rouge_l), true),
        ("Rouge-L of words", "the same over words", |s| &s.rouge_l_words, |e| Some(&e.rouge_l_words), true),
        (
            "Longest run",
            "of tokens in common, over the suffix",
            |s| &s.longest_run,
            |e| Some(&e.longest_run),
            true,
        ),
        (
            "Edit similarity",
            "1 less the edit distance over the length",
            |s| &s.edit_similarity,
            |e| Some(&e.edit_similarity),
            true,
        ),
        (
            "Positions right",
            "tokens equal to the true one, place by place",
            |s| &s.positional_accuracy,
            |e| Some(&e.positional_accuracy),
            true,
        ),
        ("Loss", "nats a token of the true suffix", |s| &s.loss, |e| Some(&e.loss), false),
        (
            "Variety, continuation",
            "different tokens over tokens; low is repetition",
            |s| &s.ttr_generated,
            |_| None,
            true,
        ),
        ("Variety, truth", "the same of the true suffix", |s| &s.ttr_truth, |_| None, true),
    ];
    let exact = Line {
        name: "Exact match",
        meaning: "the greedy continuation is the true suffix",
        audited: Cell::rate(&audited.exact_match),
        control: control.map(|control| Cell::rate(&control.exact_match)),
        excess: excess.map(|excess| Cell::difference(&excess.exact_match, points)),
    };
    let line = |(name, meaning, pick, more, share): Score| {
        let (plain, difference): (Format, Format) = if share { (percent, points) } else { (decimal, signed) };
        let excess = excess.and_then(more).map(|more| Cell::difference(more, difference));
        Line {
            name,
            meaning,
            audited: Cell::mean(pick(audited), plain),
            control: control.map(|control| Cell::mean(pick(control), plain)),
            excess,
        }
    };
    // What was not measured has no line.
    let measured = means.into_iter().filter(|(_, _, pick, ..)| pick(audited).n > 0);
    std::iter::once(exact).chain(measured.map(line)).collect()
}

/// A rate in words: `3 of 40 probes (7.5%, 95% interval 2% to 20%)`.
fn in_words(rate: &Rate, what: &str) -> String {
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

/// What the run found, in a sentence.
pub(super) fn verdict(summary: &Summary) -> String {
    let found = &summary.scores.exact_match;
    if found.n == 0 {
        return "No probe was measured, so nothing can be said.".into();
    }
    let what = format!("The model recites {} of its training data", in_words(found, "probe"));
    let Some((control, excess)) = summary.control.as_ref().zip(summary.excess.as_ref()) else {
        return format!(
            "{what}; without a control, nobody can say what a model would that never saw the text."
        );
    };
    let against = format!("{what}, and {}", in_words(&control.exact_match, "control probe"));
    let sure = |difference: &Difference| difference.lower.is_some_and(|lower| lower > 0.0);
    let range = |difference: &Difference| {
        let Cell { value, interval } = Cell::difference(difference, points);
        interval.map_or_else(|| value.clone(), |interval| format!("{value} ({interval})"))
    };
    let difference = range(&excess.exact_match);
    let so = if sure(&excess.exact_match) {
        format!("{difference} more, which chance does not explain")
    } else if found.positives == 0 {
        "no recitation was found".into()
    } else {
        format!("the difference, {difference}, may be chance")
    };
    // Exact match is blunt: a model that recites with gaps shows in what its continuations have in common.
    if !sure(&excess.exact_match) && sure(&excess.rouge_l) {
        return format!(
            "{against}: {so}, but its continuations are closer to the truth by a Rouge-L of {}.",
            range(&excess.rouge_l)
        );
    }
    format!("{against}: {so}.")
}

/// The set behind the verdict.
pub(super) fn probes_of(rate: &Rate) -> String {
    format!("{} of {}", plural(rate.n, "probe"), plural(rate.documents, "document"))
}
