//! Charts of how values are spread over probes, one series or several laid over each other.

use crate::ReportError;
use crate::axis::Axis;
use crate::chart::{Bar, Beside, Caption, Chart, Curve, bars, curves};
use crate::number::{count, nats, percent, plural, short_count, short_percent};
use crate::spread::{Histogram, Spread};

/// Values with a name.
pub(crate) struct Series<'a> {
    pub(crate) name: String,
    pub(crate) spread: &'a Spread,
}

/// Shares are said in words for so many points of a curve at most.
const SAID: usize = 12;

/// A share of matches below this is hardly seen on a linear axis.
const LOG_BELOW: f64 = 0.02;

/// Shares of probes that match for so many tokens at least. Nothing where no probe matches anywhere.
pub(crate) fn survival_chart(series: &[Series<'_>]) -> Result<Option<Chart>, ReportError> {
    let found: Vec<Vec<(u32, f64)>> = series.iter().map(|series| series.spread.survival()).collect();
    let longest = found.iter().flatten().map(|(length, _)| *length).max().unwrap_or(0);
    if longest == 0 {
        return Ok(None);
    }
    let least = found.iter().flatten().map(|(_, share)| *share).fold(1.0, f64::min);
    let log = least < LOG_BELOW;
    let said = series.iter().zip(&found).map(|(series, points)| {
        let step = points.len().div_ceil(SAID).max(1);
        let shares: Vec<String> = points
            .iter()
            .step_by(step)
            .chain(points.last())
            .map(|(length, share)| {
                format!("{} or more: {}", plural((*length).into(), "token"), percent(*share))
            })
            .collect();
        format!("{}: {}", series.name, shares.join("; "))
    });
    let caption = Caption {
        id: "survival-chart".into(),
        title: "Share of the probes whose match is at least this long".into(),
        description: format!("{}.", said.collect::<Vec<_>>().join(". ")),
    };
    let drawn: Vec<Curve> = (series.iter().zip(&found).enumerate())
        .map(|(at, (series, points))| Curve {
            name: series.name.clone(),
            points: steps_down(points),
            series: at,
            dots: false,
        })
        .collect();
    let x = Axis {
        title: "tokens before the first that differs",
        from: 0.0,
        to: f64::from(longest),
        log: false,
        ticks: None,
        format: &|length| short_count(*length),
    };
    let y = Axis {
        title: "share of probes",
        from: if log { 10f64.powf(least.log10().floor()) } else { 0.0 },
        to: 1.0,
        log,
        ticks: None,
        format: &|share| short_percent(*share),
    };
    curves(caption, &x, &y, &drawn).map(Some)
}

/// The corners of a curve that falls in steps: `(length, share at least that long)`.
fn steps_down(points: &[(u32, f64)]) -> Vec<(f64, f64)> {
    let mut corners = Vec::new();
    for pair in points.windows(2) {
        corners.push((f64::from(pair[0].0), pair[0].1));
        corners.push((f64::from(pair[0].0), pair[1].1));
    }
    corners.extend(points.last().map(|(length, share)| (f64::from(*length), *share)));
    corners.dedup();
    corners
}

/// How a histogram is drawn.
struct Drawing<'a> {
    id: &'static str,
    title: String,
    axis: &'a str,
    from: f64,
    to: f64,
    steps: i64,
    format: &'a dyn Fn(&f64) -> String,
    above: Vec<(f64, String)>,
}

/// The first histogram as bars, the others as outlines. Nothing where the first one is empty.
fn histogram(
    drawing: Drawing<'_>,
    histograms: &[(String, &Histogram)],
) -> Result<Option<Chart>, ReportError> {
    let Drawing { id, title, axis, from, to, steps, format, above } = drawing;
    let filled: Vec<&(String, &Histogram)> =
        histograms.iter().filter(|(_, values)| values.total > 0).collect();
    let Some((name, _)) = filled.first() else { return Ok(None) };
    let shares: Vec<Vec<(f64, f64, f64)>> =
        filled.iter().map(|(_, values)| values.shares(from, to, steps)).collect();
    let highest = shares.iter().flatten().map(|(.., share)| *share).fold(0.0, f64::max);
    let said = filled.iter().zip(&shares).map(|((name, values), shares)| {
        let parts: Vec<String> = shares
            .iter()
            .filter(|(.., share)| *share > 0.0)
            .map(|(from, to, share)| format!("{} to {}: {}", format(from), format(to), percent(*share)))
            .collect();
        format!("{name}, {}: {}", plural(values.total, "probe"), parts.join("; "))
    });
    let caption =
        Caption { id: id.into(), title, description: format!("{}.", said.collect::<Vec<_>>().join(". ")) };
    let drawn: Vec<Bar> =
        shares[0].iter().map(|&(from, to, height)| Bar { from, to, height, label: String::new() }).collect();
    let outlines = (1..filled.len()).map(|at| Curve {
        name: filled[at].0.clone(),
        points: outline(&shares[at]),
        series: at,
        dots: false,
    });
    let end = shares[0].last().map_or(to, |(_, end, _)| *end).max(to);
    let start = shares[0].first().map_or(from, |(start, ..)| *start).min(from);
    let x = Axis { title: axis, from: start, to: end, log: false, ticks: None, format };
    let y = Axis {
        title: "share of probes",
        from: 0.0,
        to: highest * 1.05,
        log: false,
        ticks: None,
        format: &|share| short_percent(*share),
    };
    let beside = Beside { outlines: outlines.collect(), name: name.clone(), above, reference: None };
    bars(caption, &x, &y, &drawn, &beside).map(Some)
}

/// The corners of bars.
fn outline(shares: &[(f64, f64, f64)]) -> Vec<(f64, f64)> {
    let mut corners = vec![(shares.first().map_or(0.0, |(from, ..)| *from), 0.0)];
    for (from, to, share) in shares {
        corners.extend([(*from, *share), (*to, *share)]);
    }
    corners.push((shares.last().map_or(0.0, |(_, to, _)| *to), 0.0));
    corners.dedup();
    corners
}

/// Probes by Rouge-L.
pub(crate) fn rouge_chart(series: &[Series<'_>]) -> Result<Option<Chart>, ReportError> {
    let values: Vec<_> = series.iter().map(|series| (series.name.clone(), &series.spread.rouge_l)).collect();
    let drawing = Drawing {
        id: "rouge-chart",
        title: "Probes by Rouge-L of their continuation".into(),
        axis: "Rouge-L F1 over tokens; 1 is the same text",
        from: 0.0,
        // Whole matches have the last bar to themselves.
        to: 1.05,
        steps: 1,
        format: &|value| if *value > 1.01 { String::new() } else { format!("{value:.2}") },
        above: Vec::new(),
    };
    histogram(drawing, &values)
}

/// Probes by the probability of drawing their suffix. `p` is the chance with which n(p) draws show it.
pub(crate) fn draws_chart(series: &[Series<'_>], p: f64) -> Result<Option<Chart>, ReportError> {
    let values: Vec<_> = series.iter().map(|series| (series.name.clone(), &series.spread.log10_p)).collect();
    let ranges = || values.iter().filter_map(|(_, values)| values.range());
    let from = ranges().map(|(from, _)| from).fold(-1.0, f64::min).floor();
    let Some((_, first)) = values.first() else { return Ok(None) };
    let steps = first.steps_for(from, 0.0, 40);
    let every = ((-from / 6.0).ceil() as usize).max(1);
    let above = (0..=(-from) as usize).step_by(every).map(|decades| {
        let draws = draws(decades, p);
        (-(decades as f64), if draws < 1e4 { short_count(draws) } else { format!("{draws:.0e}") })
    });
    let drawing = Drawing {
        id: "draws-chart",
        title: format!(
            "Probes by the probability of drawing their suffix; above, the draws n(p) that show it with p = {p}"
        ),
        axis: "probability of the suffix (log scale)",
        from,
        to: 0.0,
        steps,
        format: &|value| format!("1e{value:.0}"),
        above: above.collect(),
    };
    histogram(drawing, &values)
}

/// Draws after which a suffix with a probability of `10^-decades` was seen with the chance `p`.
fn draws(decades: usize, p: f64) -> f64 {
    let missed = (-(10f64.powi(-(decades as i32)))).ln_1p();
    if missed.is_finite() { ((-p).ln_1p() / missed).ceil().max(1.0) } else { 1.0 }
}

/// Probes by their loss on kept and on dropped tokens.
pub(crate) fn loss_chart(spread: &Spread) -> Result<Option<Chart>, ReportError> {
    let values =
        [("kept tokens".to_owned(), &spread.loss_kept), ("dropped tokens".to_owned(), &spread.loss_dropped)];
    let ends = values.iter().filter_map(|(_, values)| values.range()).map(|(_, end)| end);
    let to = ends.fold(0.0, f64::max);
    let drawing = Drawing {
        id: "loss-chart",
        title: "Probes by their loss on kept and on dropped tokens".into(),
        axis: "loss (nats a token)",
        from: 0.0,
        to,
        steps: spread.loss_kept.steps_for(0.0, to, 40),
        format: &|value| nats(*value, to),
        above: Vec::new(),
    };
    histogram(drawing, &values)
}

/// Distances beyond this are left out of the chart.
const FARTHEST: i64 = 16;

/// First divergences by distance to the nearest dropped token: `(distance, divergences)`.
pub(crate) fn distance_chart(distances: &[(i64, u64)]) -> Result<Option<Chart>, ReportError> {
    let total: u64 = distances.iter().map(|(_, count)| count).sum();
    let near: Vec<&(i64, u64)> =
        distances.iter().filter(|(distance, _)| distance.abs() <= FARTHEST).collect();
    let Some(highest) = near.iter().map(|(_, count)| *count).max() else { return Ok(None) };
    let widest = near.iter().map(|(distance, _)| distance.unsigned_abs()).max().unwrap_or(0).max(4) as f64;
    let said = near.iter().map(|(distance, found)| format!("{distance}: {}", count(*found)));
    let beyond: u64 = total - near.iter().map(|(_, count)| count).sum::<u64>();
    let caption = Caption {
        id: "distance-chart".into(),
        title: "First divergences by their distance to the nearest dropped token".into(),
        description: format!(
            "In tokens, 0 at a dropped token, 1 just after one. {}. Farther off: {}.",
            said.collect::<Vec<_>>().join("; "),
            count(beyond)
        ),
    };
    let drawn: Vec<Bar> = near
        .iter()
        .map(|(distance, found)| Bar {
            from: *distance as f64 - 0.42,
            to: *distance as f64 + 0.42,
            height: *found as f64,
            label: String::new(),
        })
        .collect();
    let x = Axis {
        title: "distance in tokens; 0 is a dropped token, 1 just after one",
        from: -widest - 0.6,
        to: widest + 0.6,
        log: false,
        ticks: None,
        format: &|distance| whole(*distance).map_or_else(String::new, |distance| distance.to_string()),
    };
    let y = Axis {
        title: "number of divergences",
        from: 0.0,
        to: highest as f64 * 1.05,
        log: false,
        ticks: None,
        format: &|count| short_count(*count),
    };
    bars(caption, &x, &y, &drawn, &Beside::default()).map(Some)
}

fn whole(distance: f64) -> Option<i64> {
    (distance.fract().abs() < 1e-6).then_some(distance.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_by_hand() {
        // ln(0.5) / ln(1 - 0.01) is 68.97.
        assert_eq!([draws(0, 0.5), draws(2, 0.5), draws(6, 0.9)], [1.0, 69.0, 2_302_584.0]);
    }

    #[test]
    fn corners() {
        assert_eq!(steps_down(&[(0, 1.0), (3, 0.5)]), [(0.0, 1.0), (0.0, 0.5), (3.0, 0.5)]);
        assert_eq!(
            outline(&[(0.0, 1.0, 0.25), (1.0, 2.0, 0.25)]),
            [(0.0, 0.0), (0.0, 0.25), (1.0, 0.25), (2.0, 0.25), (2.0, 0.0)]
        );
    }
}
