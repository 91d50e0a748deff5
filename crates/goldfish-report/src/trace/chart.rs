//! How long the longest spans are, and how many copies of a suffix it takes to recite it.

use goldfish_trace::{GroupSummary, LongestAtLeast, RecitedByCopies, TraceSummary};

use crate::ReportError;
use crate::axis::{Axis, shares};
use crate::chart::{Caption, Chart, Curve, curves};
use crate::number::{count, percent, plural, short_count, short_percent};

/// Shares are said in words for so many points of a curve at most.
const SAID: usize = 12;

/// Shares of texts whose longest span has at least so many words. Nothing where no text has a span.
pub(super) fn longest_chart(summary: &TraceSummary) -> Result<Option<Chart>, ReportError> {
    let groups: Vec<(&str, &GroupSummary)> = std::iter::once(("texts", &summary.texts))
        .chain(summary.control.as_ref().map(|control| ("control", control)))
        .collect();
    let points = || groups.iter().flat_map(|(_, group)| &group.longest);
    let (Some(shortest), Some(longest)) =
        (points().map(|point| point.words).min(), points().map(|point| point.words).max())
    else {
        return Ok(None);
    };
    let caption = Caption {
        id: "longest-chart".into(),
        title: "Share of the texts whose longest span has at least so many words".into(),
        description: groups.iter().map(|(name, group)| described(name, group)).collect::<Vec<_>>().join(" "),
    };
    let drawn: Vec<Curve> = (groups.iter().enumerate())
        .map(|(series, (name, group))| Curve {
            name: (*name).into(),
            points: steps(group),
            series,
            dots: false,
        })
        .collect();
    let highest = points_of(&drawn).map(|(_, share)| share).fold(0.0, f64::max);
    let x = Axis {
        title: "words in the longest span (log scale)",
        from: (shortest as f64).log2().floor(),
        to: (longest as f64 + 1.0).log2().ceil(),
        log: false,
        ticks: None,
        format: &power,
    };
    let y = Axis {
        title: "share of texts",
        from: 0.0,
        to: highest * 1.05,
        log: false,
        ticks: None,
        format: &|share| short_percent(*share),
    };
    curves(caption, &x, &y, &drawn).map(Some)
}

/// Shares of an audit's suffixes that were recited, by the copies that the corpus has of them. Nothing where all have about as many.
pub(super) fn copies_chart(summary: &TraceSummary) -> Result<Option<Chart>, ReportError> {
    let groups = summary.recited_by_copies.as_deref().unwrap_or_default();
    if groups.len() < 2 {
        return Ok(None);
    }
    let described = |group: &RecitedByCopies| {
        let recited = format!("{} of {}", count(group.recited.positives), count(group.recited.n));
        format!("{}: {recited}, {}", copies(group), percent(group.recited.rate))
    };
    let caption = Caption {
        id: "copies-chart".into(),
        title: "Share of the suffixes that were recited, by their copies in the corpus".into(),
        description: groups.iter().map(described).collect::<Vec<_>>().join("; ") + ".",
    };
    let curve = |name: &str, series, of: fn(&RecitedByCopies) -> f64| Curve {
        name: name.into(),
        points: (0..).zip(groups).map(|(at, group)| (f64::from(at), of(group))).collect(),
        series,
        dots: series == 0,
    };
    let drawn = [
        curve("recited", 0, |group| group.recited.rate),
        curve("95% interval, lower end", 1, |group| group.recited.lower),
        curve("95% interval, upper end", 2, |group| group.recited.upper),
    ];
    let label = |at: &f64| groups.get(*at as usize).map(range).unwrap_or_default();
    let last = groups.len() as f64 - 1.0;
    let x = Axis {
        title: "copies in the corpus",
        from: -0.2,
        to: last + 0.2,
        log: false,
        ticks: Some((0..groups.len()).map(|at| at as f64).collect()),
        format: &label,
    };
    curves(caption, &x, &shares("share of suffixes"), &drawn).map(Some)
}

/// How many copies the suffixes of a group have.
pub(super) fn range(group: &RecitedByCopies) -> String {
    if group.from == group.to {
        count(group.from)
    } else {
        format!("{} to {}", count(group.from), count(group.to))
    }
}

fn copies(group: &RecitedByCopies) -> String {
    if group.to == 1 && group.from == 1 { "1 copy".into() } else { format!("{} copies", range(group)) }
}

fn points_of(drawn: &[Curve]) -> impl Iterator<Item = (f64, f64)> {
    drawn.iter().flat_map(|curve| curve.points.iter().copied())
}

/// Words at a position of the axis, whose unit is a doubling.
fn power(position: &f64) -> String {
    if (position - position.round()).abs() < 1e-6 { short_count(position.exp2()) } else { String::new() }
}

/// The corners of a curve that falls in steps, to nothing after the longest span.
fn steps(group: &GroupSummary) -> Vec<(f64, f64)> {
    let at = |point: &LongestAtLeast| (point.words as f64).log2();
    let shares = group.longest.iter().map(|point| share(point, group)).skip(1).chain([0.0]);
    let corners = group.longest.iter().zip(shares);
    corners.flat_map(|(point, next)| [(at(point), share(point, group)), (at(point), next)]).collect()
}

fn share(point: &LongestAtLeast, group: &GroupSummary) -> f64 {
    point.texts as f64 / group.texts.max(1) as f64
}

fn described(name: &str, group: &GroupSummary) -> String {
    if group.longest.is_empty() {
        return format!("{name}: none has a span.");
    }
    let step = group.longest.len().div_ceil(SAID);
    let said = group.longest.iter().step_by(step).chain(group.longest.last());
    let said: Vec<String> = said
        .map(|point| format!("{} or more: {}", plural(point.words, "word"), percent(share(point, group))))
        .collect();
    format!("{name}: {}.", said.join("; "))
}
