//! The page of `goldfish lab sweep`.

use std::collections::BTreeSet;

use goldfish_audit::stat::{Mean, Rate};
use goldfish_audit::summary::GoldfishSummary;
use serde::{Deserialize, Serialize};

use crate::architectures::{Learned, SweepContext, SweepCost, SweepTask, TaskShown, learned_chart};
use crate::axis::{Axis, counted, losses, shares};
use crate::chart::{Caption, Chart, Curve, curves, described};
use crate::estimate::Reading;
use crate::number::{count, decimal, percent, plural, short_count, short_percent};
use crate::spread_charts::distance_chart;
use crate::tuned::{SweepLengths, SweepTuned};
use crate::{ReportError, page};

/// One model of a sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepArm {
    /// Its name.
    pub name: String,
    /// How the copies in training differ: `equal` (the sweep over k), `layouts` or `edited`; or `architectures`.
    pub group: String,
    /// The rule; `standard` for the standard loss, `control` for a model that never saw the audited passages.
    pub series: String,
    /// One token in k was dropped.
    pub k: Option<u32>,
    /// How it differs from the other arms of its group with this series and k.
    pub variant: Option<String>,
    /// How often the model saw every document; more often if it was trained until it saw as many supervised tokens as another.
    pub epochs: u64,
    /// Tokens in training.
    pub tokens: u64,
    /// Of those, included in the loss.
    pub supervised_tokens: u64,
    /// Supervised tokens so far, and the loss on the validation documents.
    pub validation: Vec<(u64, f64)>,
    /// Passages recited token for token.
    pub exact_match: Rate,
    /// Rouge-L F1 over token ids.
    pub rouge_l: Mean,
    /// Tokens before the first divergence.
    pub match_length: Mean,
    /// The same for each passage, in order.
    pub match_lengths: Vec<u32>,
    /// How often the model had seen every document, and the passages that it recited then; empty where this was not counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recited: Vec<(f64, u64)>,
    /// The same with passages that the model never saw, and with the passages in the prompt, where this was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_context: Option<SweepContext>,
    /// Divergences and losses at dropped tokens, where the audited copy has that of training.
    pub goldfish: Option<GoldfishSummary>,
    /// Share of the suffixes' tokens that are dropped or just after a dropped one: what [`near_dropped`](Self::near_dropped) would be
    /// by chance.
    pub near_by_chance: Option<f64>,
}

impl SweepArm {
    /// First divergences at a dropped token or just after one, and all.
    #[must_use]
    pub fn near_dropped(&self) -> Option<(u64, u64)> {
        let masks = self.goldfish.as_ref()?;
        let near =
            masks.nearest.iter().filter(|found| (0..=1).contains(&found.distance)).map(|found| found.count);
        Some((near.sum(), masks.at_dropped.n))
    }

    fn last_loss(&self) -> Option<f64> {
        self.validation.last().map(|(_, loss)| *loss)
    }
}

/// What the page of a sweep shows.
#[derive(Clone, Copy)]
pub struct SweepPage<'a> {
    /// The arms, in order.
    pub arms: &'a [SweepArm],
    /// What a token costs in each architecture.
    pub costs: &'a [SweepCost],
    /// The copy tasks.
    pub tasks: &'a [SweepTask],
    /// Models that were trained further on the passages.
    pub tuned: &'a [SweepTuned],
    /// Long documents against random ones.
    pub lengths: &'a [SweepLengths],
    /// What was done: names and values.
    pub facts: &'a [(String, String)],
    /// The command line that makes this page.
    pub command: &'a str,
}

/// A row of the table of arms.
#[derive(Serialize)]
struct Row<'a> {
    arm: &'a SweepArm,
    rouge_l: Option<f64>,
    near: Option<(u64, u64)>,
    loss: Option<f64>,
    reading: Option<Reading>,
}

/// What the template sees.
#[derive(Serialize)]
struct Context<'a> {
    headline: String,
    statistics: Vec<String>,
    facts: &'a [(String, String)],
    command: &'a str,
    groups: Vec<Group<'a>>,
    exact: Option<Chart>,
    rouge: Option<Chart>,
    losses: Option<Chart>,
    distances: Option<Chart>,
    edited: Option<Chart>,
    /// Models whose epochs were counted.
    learned: Vec<Learned<'a>>,
    learning: Option<Chart>,
    /// Arms that were asked with the passages in the prompt.
    in_context: Vec<&'a SweepArm>,
    costs: &'a [SweepCost],
    tasks: Vec<TaskShown<'a>>,
    tuned: &'a [SweepTuned],
    lengths: &'a [SweepLengths],
}

/// A table of arms.
#[derive(Serialize)]
struct Group<'a> {
    id: &'static str,
    name: &'static str,
    about: &'static str,
    rows: Vec<Row<'a>>,
}

/// Names of the groups in `SweepArm::group`, their titles, and what is said about them.
const GROUPS: [[&str; 3]; 4] = [
    ["equal", "Equal copies", "All copies of a passage in training were the passage itself."],
    [
        "layouts",
        "Copies in layouts",
        "The copies of a passage differed in line breaks, comment marks or case; it is asked for in its plain form. Masks that depend on tokens differ between such copies; those that depend on words don't.",
    ],
    [
        "architectures",
        "Architectures",
        "Other models on the documents of the equal copies, with the standard loss, with a mask, and never having seen the passages. A mask only means something where the standard loss recites.",
    ],
    [
        "edited",
        "Edited copies",
        "Every copy of a passage had other words replaced, 5% of them or 10%; it is asked for as it was before. Each edit also changes the masks around it, more of them the more context a rule looks at.",
    ],
];

/// Writes the page of a sweep: one HTML file that needs nothing else.
///
/// # Errors
///
/// If the page can't be made, which is a bug in goldfish.
pub fn sweep_page(input: &SweepPage<'_>) -> Result<String, ReportError> {
    let &SweepPage { arms, costs, tasks, tuned, lengths, facts, command } = input;
    let row = |arm| Row {
        arm,
        rouge_l: arm.rouge_l.mean,
        near: arm.near_dropped(),
        loss: arm.last_loss(),
        reading: reading(arm, arms),
    };
    let group = |[id, name, about]: [&'static str; 3]| Group {
        id,
        name,
        about,
        rows: arms.iter().filter(|arm| arm.group == id).map(row).collect(),
    };
    let masks = find(arms, "equal", "text", Some(4)).and_then(|arm| arm.goldfish.as_ref());
    let distances: Vec<(i64, u64)> =
        masks.iter().flat_map(|masks| &masks.nearest).map(|found| (found.distance, found.count)).collect();
    let standard = arms.iter().filter(|arm| arm.series == "standard" && !arm.recited.is_empty());
    let learned: Vec<Learned<'_>> = standard
        .map(|arm| Learned::new(arm.variant.as_deref().unwrap_or(&arm.name), &arm.recited, arm.exact_match.n))
        .collect();
    let context = Context {
        headline: headline(arms),
        statistics: statistics(arms),
        facts,
        command,
        groups: GROUPS.map(group).into_iter().filter(|group| !group.rows.is_empty()).collect(),
        exact: by_k(arms, &EXACT)?,
        rouge: by_k(arms, &ROUGE)?,
        losses: validation(arms)?,
        distances: distance_chart(&distances)?,
        edited: matches(arms)?,
        learning: learned_chart(&learned)?,
        learned,
        in_context: arms.iter().filter(|arm| arm.in_context.is_some()).collect(),
        costs,
        tasks: tasks.iter().map(TaskShown::new).collect::<Result<_, _>>()?,
        tuned,
        lengths,
    };
    page::render("sweep.html", &context)
}

/// The arm without a variant.
fn find<'a>(arms: &'a [SweepArm], group: &str, series: &str, k: Option<u32>) -> Option<&'a SweepArm> {
    let mut own = arms.iter().filter(|arm| arm.group == group && arm.series == series && arm.k == k);
    own.find(|arm| arm.variant.is_none())
}

/// What the rule and the standard loss recite, in a line: of the first copies that both were trained on.
fn headline(arms: &[SweepArm]) -> String {
    let both = GROUPS.iter().find_map(|[id, name, _]| {
        let recited = |series, k| find(arms, id, series, k).map(|arm| arm.exact_match);
        Some((*name, recited("text", Some(4))?, recited("standard", None)?))
    });
    match both {
        Some((name, text, standard)) => format!(
            "{name}: with k = 4 the rule text recites {} of {}, the standard loss {}.",
            count(text.positives),
            plural(text.n, "passage"),
            count(standard.positives)
        ),
        None => format!("{} trained so far.", plural(arms.len() as u64, "model")),
    }
}

/// What is recited in each group.
fn statistics(arms: &[SweepArm]) -> Vec<String> {
    let recited = |group: &str| {
        let found = |(series, k, name): (&str, Option<u32>, &str)| {
            Some(format!("{name} {}", find(arms, group, series, k)?.exact_match.positives))
        };
        if group == "architectures" {
            return compared(arms);
        }
        let parts: Vec<String> = [
            ("standard", None, "standard loss"),
            ("text", Some(4), "text"),
            ("text-v1", Some(4), "text-v1"),
            ("anchor", Some(4), "anchor"),
            ("hash", Some(4), "hash"),
            ("random", Some(4), "random"),
            ("control", None, "never seen"),
        ]
        .into_iter()
        .filter_map(found)
        .collect();
        parts.join(", ")
    };
    let passages = plural(arms.first().map_or(0, |arm| arm.exact_match.n), "passage");
    let groups = GROUPS.map(|[id, name, _]| (name, recited(id)));
    let groups = groups.iter().filter(|(_, said)| !said.is_empty());
    groups
        .map(|(name, said)| format!("{name}, recited of {passages} with k = 4 unless said: {said}."))
        .collect()
}

/// What the share that an arm recites says against the standard loss of its group, by whether the intervals overlap.
fn reading(arm: &SweepArm, arms: &[SweepArm]) -> Option<Reading> {
    let mut standard = arms.iter().filter(|other| other.group == arm.group && other.series == "standard");
    let own = standard.clone().find(|other| other.variant == arm.variant);
    let standard = own.or_else(|| standard.find(|other| other.variant.is_none()))?.exact_match;
    match arm.exact_match {
        _ if arm.series == "standard" => None,
        rate if rate.upper < standard.lower => Some(Reading::LESS),
        rate if rate.lower > standard.upper => Some(Reading::MORE),
        _ => Some(Reading::UNCLEAR),
    }
}

/// What the arms of each architecture recite: with the standard loss, with a mask, and never having seen the passages.
fn compared(arms: &[SweepArm]) -> String {
    let own = |arm: &&SweepArm| arm.group == "architectures";
    let mut names: Vec<&str> = arms.iter().filter(own).filter_map(|arm| arm.variant.as_deref()).collect();
    names.dedup();
    let said = names.iter().map(|name| {
        let arms = arms.iter().filter(own).filter(|arm| arm.variant.as_deref() == Some(*name));
        let count = |arm: &SweepArm| {
            let k = arm.k.map_or_else(String::new, |k| format!(" (k = {k})"));
            format!("{}{k} {}", arm.series, arm.exact_match.positives)
        };
        let counts: Vec<String> = arms.map(count).collect();
        format!("{name}: {}", counts.join(", "))
    });
    said.collect::<Vec<_>>().join("; ")
}

/// A score that is drawn by k.
struct Score {
    id: &'static str,
    title: &'static str,
    axis: &'static str,
    of: fn(&SweepArm) -> Option<f64>,
    said: fn(f64) -> String,
    format: fn(&f64) -> String,
}

const EXACT: Score = Score {
    id: "exact-by-k",
    title: "Passages recited token for token, by k",
    axis: "share of passages",
    of: |arm| Some(arm.exact_match.rate),
    said: percent,
    format: |share| short_percent(*share),
};

const ROUGE: Score = Score {
    id: "rouge-by-k",
    title: "Rouge-L of the continuations, by k",
    axis: "mean Rouge-L F1",
    of: |arm| arm.rouge_l.mean,
    said: decimal,
    format: |value| format!("{value:.1}"),
};

/// The lines of the charts: rules over k, then those that have no k, from end to end.
const RULES: [&str; 6] = ["text", "text-v1", "anchor", "hash", "static", "random"];
const LEVELS: [&str; 2] = ["standard", "control"];

fn by_k(arms: &[SweepArm], score: &Score) -> Result<Option<Chart>, ReportError> {
    let own = |arm: &&SweepArm| arm.group == "equal";
    let ks: BTreeSet<u32> = arms.iter().filter(own).filter_map(|arm| arm.k).collect();
    let ks: Vec<f64> = ks.into_iter().map(f64::from).collect();
    let (Some(first), Some(last)) = (ks.first().copied(), ks.last().copied()) else { return Ok(None) };
    let of =
        |series: &'static str| arms.iter().filter(move |arm| arm.group == "equal" && arm.series == series);
    let mut drawn = Vec::new();
    for series in RULES {
        let point = |arm: &SweepArm| {
            arm.variant.is_none().then_some(())?;
            Some((f64::from(arm.k?), (score.of)(arm)?))
        };
        let points: Vec<(f64, f64)> = of(series).filter_map(point).collect();
        drawn.push(Curve { name: series.into(), points, series: drawn.len(), dots: true });
    }
    for series in LEVELS {
        let levels = of(series).filter_map(score.of).flat_map(|level| [(first, level), (last, level)]);
        drawn.push(Curve { name: series.into(), points: levels.collect(), series: drawn.len(), dots: false });
    }
    drawn.retain(|curve| !curve.points.is_empty());
    let caption = Caption {
        id: score.id.into(),
        title: score.title.into(),
        description: described(&drawn, |(k, value)| format!("{} at k = {k}", (score.said)(value))),
    };
    let x = Axis {
        title: "k (one token in k is dropped)",
        from: first * 0.9,
        to: last * 1.12,
        log: true,
        ticks: Some(ks),
        format: &|k| short_count(*k),
    };
    let y = Axis {
        format: &|value| {
            if *value > 1.01 { String::new() } else { (score.format)(value) }
        },
        ..shares(score.axis)
    };
    curves(caption, &x, &y, &drawn).map(Some)
}

/// Shares of the passages whose continuation matches for so many tokens at least, after edited copies.
fn matches(arms: &[SweepArm]) -> Result<Option<Chart>, ReportError> {
    let series = ["text", "standard", "text-v1", "hash", "anchor", "control"];
    let found = series.into_iter().filter_map(|series| {
        let arm =
            arms.iter().find(|arm| arm.group == "edited" && arm.series == series && arm.variant.is_none())?;
        (!arm.match_lengths.is_empty()).then_some((series, &arm.match_lengths))
    });
    let mut drawn: Vec<Curve> = Vec::new();
    for (series, lengths) in found {
        let share = |least: u32| {
            lengths.iter().filter(|length| **length >= least).count() as f64 / lengths.len() as f64
        };
        let points = (0..=LONGEST).map(|least| (f64::from(least), share(least))).collect();
        drawn.push(Curve { name: series.into(), points, series: drawn.len(), dots: false });
    }
    if drawn.is_empty() {
        return Ok(None);
    }
    let said = drawn.iter().map(|curve| {
        let shares =
            curve.points.iter().step_by(10).map(|(least, share)| format!("{least}: {}", percent(*share)));
        format!("{}, by least length: {}", curve.name, shares.collect::<Vec<_>>().join(", "))
    });
    let caption = Caption {
        id: "edited-matches".into(),
        title: "Share of the passages that are continued for at least so many tokens, after edited copies"
            .into(),
        description: format!("{}.", said.collect::<Vec<_>>().join(". ")),
    };
    let x = Axis {
        title: "tokens before the first that differs",
        from: 0.0,
        to: f64::from(LONGEST),
        log: false,
        ticks: None,
        format: &|length| short_count(*length),
    };
    curves(caption, &x, &shares("share of passages"), &drawn).map(Some)
}

/// Tokens of the text that a model must continue with.
const LONGEST: u32 = 50;

/// The losses on the validation documents by supervised tokens.
fn validation(arms: &[SweepArm]) -> Result<Option<Chart>, ReportError> {
    let longer = arms.iter().find(|arm| arm.group == "equal" && arm.variant.is_some());
    let wanted = [
        (find(arms, "equal", "standard", None), "standard"),
        (find(arms, "equal", "text", Some(4)), "text, k = 4"),
        (longer, "text, k = 4, trained longer"),
        (find(arms, "equal", "hash", Some(4)), "hash, k = 4"),
    ];
    let drawn: Vec<Curve> = wanted
        .into_iter()
        .filter_map(|(arm, name)| Some((arm?, name)))
        .filter(|(arm, _)| !arm.validation.is_empty())
        .enumerate()
        .map(|(at, (arm, name))| {
            let points = arm.validation.iter().map(|(tokens, loss)| (*tokens as f64, *loss)).collect();
            Curve { name: name.into(), points, series: at, dots: false }
        })
        .collect();
    let all = || drawn.iter().flat_map(|curve| &curve.points);
    let highest = all().map(|(_, loss)| *loss).fold(0.0, f64::max);
    let furthest = all().map(|(tokens, _)| *tokens).fold(0.0, f64::max);
    if furthest <= 0.0 {
        return Ok(None);
    }
    let said = drawn.iter().filter_map(|curve| {
        let (tokens, loss) = curve.points.last()?;
        Some(format!(
            "{}: {} nats a token after {} supervised tokens",
            curve.name,
            decimal(*loss),
            short_count(*tokens)
        ))
    });
    let caption = Caption {
        id: "validation".into(),
        title: "Loss on passages that were not trained on, by supervised tokens".into(),
        description: format!("{}.", said.collect::<Vec<_>>().join(". ")),
    };
    let (x, y) = (counted("number of supervised tokens", furthest), losses("loss (nats a token)", highest));
    curves(caption, &x, &y, &drawn).map(Some)
}
