//! The charts of an inspection.

use goldfish_inspect::{CopyBucket, Duplicates, Gaps, IdRates};

use crate::ReportError;
use crate::axis::Axis;
use crate::chart::{Bar, Beside, Caption, Chart, Curve, bars, curves};
use crate::number::{count, percent, plural, short_count, short_percent};

/// Smallest share on the axis of the gaps.
const LEAST_SHARE: f64 = 1e-8;

/// A logarithmic axis of gaps starts to pay where the longest gap has so many times the mean.
const LOG_FROM: f64 = 40.0;

/// How long gaps last, against the geometric law. Nothing where there are no gaps.
pub(super) fn gap_chart(gaps: &Gaps, k: Option<u32>) -> Result<Option<Chart>, ReportError> {
    let usable = |share: f64| share.is_finite() && share > 0.0;
    let measured: Vec<_> =
        gaps.survival.iter().filter(|point| point.gap > 0 && usable(point.measured)).collect();
    let (Some(first), Some(last)) = (measured.first(), measured.last()) else { return Ok(None) };
    let least = measured.iter().map(|point| point.measured).fold(1.0, f64::min).max(LEAST_SHARE);
    // Down to the power of ten below the rarest gap.
    let floor = 10f64.powf(least.log10().floor()).min(0.1);
    let log = last.gap as f64 > LOG_FROM * k.map_or(gaps.measured.mean, f64::from);
    let end = (last.gap as f64).max(first.gap as f64 + 1.0);
    let steps = 160;
    let between = |step: i32| {
        let share = f64::from(step) / f64::from(steps);
        if log { end.powf(share) } else { 1.0 + (end - 1.0) * share }
    };
    let points: Vec<(f64, f64)> =
        measured.iter().map(|point| (point.gap as f64, point.measured.min(1.0))).collect();
    let mut drawn = vec![Curve { name: "measured".into(), points, series: 0, dots: true }];
    if let Some(k) = k {
        let law = |gap: f64| (1.0 - 1.0 / f64::from(k.max(2))).powf(gap - 1.0);
        let points = (0..=steps).map(between).map(|gap| (gap, law(gap))).collect();
        drawn.push(Curve { name: "geometric law".into(), points, series: 1, dots: false });
    }
    let said = gaps.survival.iter().map(|point| {
        let law = k.map_or_else(String::new, |_| format!(", law {}", percent(point.law)));
        format!("{} tokens: {}{law}", count(point.gap), percent(point.measured))
    });
    let caption = Caption {
        id: "gap-chart".into(),
        title: "Share of the gaps that are at least this long".into(),
        description: format!("By gap length. {}.", said.collect::<Vec<_>>().join("; ")),
    };
    let x = Axis {
        title: "gap between dropped tokens (tokens)",
        from: 1.0,
        to: end,
        log,
        ticks: None,
        format: &|gap| short_count(*gap),
    };
    let y = Axis {
        title: "share of gaps",
        from: floor,
        to: 1.0,
        log: true,
        ticks: None,
        format: &|share| short_percent(*share),
    };
    curves(caption, &x, &y, &drawn).map(Some)
}

/// Ids by drop rate. Nothing where no id is frequent enough.
pub(super) fn id_chart(ids: &IdRates, k: Option<u32>) -> Result<Option<Chart>, ReportError> {
    let highest = ids.histogram.iter().copied().max().unwrap_or(0);
    if highest == 0 {
        return Ok(None);
    }
    let step = 1.0 / ids.histogram.len() as f64;
    let drawn: Vec<Bar> = ids
        .histogram
        .iter()
        .enumerate()
        .map(|(at, &height)| Bar {
            from: at as f64 * step,
            to: (at + 1) as f64 * step,
            height: height as f64,
            label: String::new(),
        })
        .collect();
    let said = drawn.iter().filter(|bar| bar.height > 0.0).map(|bar| {
        format!(
            "{} to {}: {}",
            short_percent(bar.from),
            short_percent(bar.to),
            plural(bar.height as u64, "id")
        )
    });
    let caption = Caption {
        id: "id-chart".into(),
        title: "Token ids by the share of their occurrences that is dropped".into(),
        description: format!("{}.", said.collect::<Vec<_>>().join("; ")),
    };
    let x = Axis {
        title: "share of an id's occurrences that is dropped",
        from: 0.0,
        to: 1.0,
        log: false,
        ticks: None,
        format: &|share| short_percent(*share),
    };
    let y = Axis {
        title: "number of token ids",
        from: 0.0,
        to: highest as f64 * 1.05,
        log: false,
        ticks: None,
        format: &|n| short_count(*n),
    };
    let rate = k.map(|k| 1.0 / f64::from(k.max(2)));
    let reference = rate.map(|rate| (rate, format!("1/k = {}", percent(rate))));
    bars(caption, &x, &y, &drawn, &Beside { reference, name: "token ids".into(), ..Beside::default() })
        .map(Some)
}

/// Words by the number of places. Nothing where nothing recurs.
pub(super) fn copies_chart(duplicates: &Duplicates) -> Result<Option<Chart>, ReportError> {
    let buckets = &duplicates.copies;
    let highest = buckets.iter().map(|bucket| bucket.words).max().unwrap_or(0);
    if highest == 0 {
        return Ok(None);
    }
    let drawn: Vec<Bar> = buckets
        .iter()
        .enumerate()
        .map(|(at, bucket)| Bar {
            from: at as f64 - 0.42,
            to: at as f64 + 0.42,
            height: bucket.words as f64,
            label: if buckets.len() <= MOST_LABELS {
                short_count(bucket.words as f64)
            } else {
                String::new()
            },
        })
        .collect();
    let said =
        buckets.iter().map(|bucket| format!("{} places: {}", places(bucket), plural(bucket.words, "word")));
    let caption = Caption {
        id: "copies-chart".into(),
        title: "Recurring text by its number of occurrences".into(),
        description: format!("{}.", said.collect::<Vec<_>>().join("; ")),
    };
    let tick = |at: &f64| {
        buckets.get(*at as usize).map(|bucket| short_count(bucket.from as f64)).unwrap_or_default()
    };
    let x = Axis {
        title: "occurrences of the same text, up to the next bar",
        from: -0.6,
        to: buckets.len() as f64 - 0.4,
        log: false,
        ticks: Some((0..buckets.len()).map(|at| at as f64).collect()),
        format: &tick,
    };
    let y = Axis {
        title: "words",
        from: 0.8,
        to: highest as f64 * 3.0,
        log: true,
        ticks: None,
        format: &|n| short_count(*n),
    };
    bars(caption, &x, &y, &drawn, &Beside::default()).map(Some)
}

/// So many bars have room for a label each.
const MOST_LABELS: usize = 12;

fn places(bucket: &CopyBucket) -> String {
    if bucket.from == bucket.to {
        count(bucket.from)
    } else {
        format!("{} to {}", count(bucket.from), count(bucket.to))
    }
}
