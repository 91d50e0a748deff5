//! The page of `goldfish inspect --html`.

use std::collections::BTreeMap;

use goldfish_inspect::{Duplicates, Gaps, IdRates, Inspection};
use goldfish_shard::Manifest;
use serde::Serialize;

use crate::chart::{Axis, Bar, Caption, Chart, Curve, bars, curves};
use crate::number::{count, percent, plural, short_count, short_percent};
use crate::{ReportError, page};

/// What the page of an inspection shows.
#[derive(Clone, Copy)]
pub struct InspectPage<'a> {
    /// What was found.
    pub inspection: &'a Inspection,
    /// The folder's manifest.
    pub manifest: &'a Manifest,
    /// What to call the folder.
    pub folder: &'a str,
    /// The command line that makes this page.
    pub command: &'a str,
    /// The text of a token id, where a tokenizer tells it.
    pub token_text: Option<&'a dyn Fn(u32) -> Option<String>>,
}

/// What the template sees.
#[derive(Serialize)]
struct Context<'a> {
    i: &'a Inspection,
    manifest: &'a Manifest,
    folder: &'a str,
    command: &'a str,
    k: u32,
    /// What windows and contexts count.
    context_unit: &'static str,
    input_bytes: u64,
    shard_bytes: u64,
    expected: f64,
    has_texts: bool,
    texts: BTreeMap<u32, String>,
    gap_chart: Option<Chart>,
    id_chart: Option<Chart>,
    copies_chart: Option<Chart>,
    limits: Limits,
}

/// How much of each list is shown.
#[derive(Serialize)]
struct Limits {
    groups: usize,
    ids: usize,
    keys: usize,
    kinds: usize,
    pairs: usize,
    tokens: usize,
}

const LIMITS: Limits = Limits { groups: 60, ids: 20, keys: 20, kinds: 30, pairs: 10, tokens: 300 };

/// Writes the page of an inspection: one HTML file that needs nothing else.
///
/// # Errors
///
/// If a chart or the page can't be made, which is a fault in goldfish.
pub fn inspect_page(input: &InspectPage<'_>) -> Result<String, ReportError> {
    let &InspectPage { inspection, manifest, folder, command, token_text } = input;
    let k = manifest.rule.k();
    let context = Context {
        i: inspection,
        manifest,
        folder,
        command,
        k,
        context_unit: if manifest.rule.name().starts_with("text") { "characters" } else { "tokens" },
        input_bytes: manifest.inputs.iter().map(|input| input.size).sum(),
        shard_bytes: manifest.shards.iter().map(|shard| shard.size).sum(),
        expected: 1.0 / f64::from(k),
        has_texts: token_text.is_some(),
        texts: token_text.map(|text| texts(inspection, text)).unwrap_or_default(),
        gap_chart: gap_chart(&inspection.gaps, k)?,
        id_chart: id_chart(&inspection.ids, k)?,
        copies_chart: inspection.duplicates.as_ref().map(copies_chart).transpose()?.flatten(),
        limits: LIMITS,
    };
    page::render("inspect.html", &context)
}

/// The texts of all ids that the page shows.
fn texts(inspection: &Inspection, text: &dyn Fn(u32) -> Option<String>) -> BTreeMap<u32, String> {
    let IdRates { always, never, .. } = &inspection.ids;
    let counted = always.most_frequent.iter().chain(&never.most_frequent).map(|entry| entry.id);
    let keys = inspection.windows.iter().flat_map(|windows| &windows.worst).take(LIMITS.keys);
    let examples = keys.flat_map(|key| key.example.iter().copied());
    counted.chain(examples).filter_map(|id| Some((id, text(id)?))).collect()
}

/// Smallest share on the axis of the gaps.
const LEAST_SHARE: f64 = 1e-8;

/// A logarithmic axis of gaps starts to pay where the longest gap has so many times the mean.
const LOG_FROM: f64 = 40.0;

/// How long gaps last, against the geometric law. Nothing where there are no gaps.
fn gap_chart(gaps: &Gaps, k: u32) -> Result<Option<Chart>, ReportError> {
    let usable = |share: f64| share.is_finite() && share > 0.0;
    let measured: Vec<_> =
        gaps.survival.iter().filter(|point| point.gap > 0 && usable(point.measured)).collect();
    let (Some(first), Some(last)) = (measured.first(), measured.last()) else { return Ok(None) };
    let least = measured.iter().map(|point| point.measured).fold(1.0, f64::min).max(LEAST_SHARE);
    // Down to the power of ten below the rarest gap.
    let floor = 10f64.powf(least.log10().floor()).min(0.1);
    let law = |gap: f64| (1.0 - 1.0 / f64::from(k.max(2))).powf(gap - 1.0);
    let log = last.gap as f64 > LOG_FROM * f64::from(k);
    let end = (last.gap as f64).max(first.gap as f64 + 1.0);
    let steps = 160;
    let between = |step: i32| {
        let share = f64::from(step) / f64::from(steps);
        if log { end.powf(share) } else { 1.0 + (end - 1.0) * share }
    };
    let law_points = (0..=steps).map(between).map(|gap| (gap, law(gap)));
    let points: Vec<(f64, f64)> =
        measured.iter().map(|point| (point.gap as f64, point.measured.min(1.0))).collect();
    let drawn = [
        Curve { name: "measured".into(), points, measured: true },
        Curve { name: "geometric law".into(), points: law_points.collect(), measured: false },
    ];
    let said = gaps.survival.iter().map(|point| {
        format!("{} tokens: {}, law {}", count(point.gap), percent(point.measured), percent(point.law))
    });
    let caption = Caption {
        id: "gap-chart",
        title: "Share of the gaps that are at least this long".into(),
        description: format!("By gap length. {}.", said.collect::<Vec<_>>().join("; ")),
    };
    let x = Axis {
        title: "gap between dropped tokens (tokens)",
        from: 1.0,
        to: end,
        log,
        labels: 8,
        format: &|gap| short_count(*gap),
    };
    let y = Axis {
        title: "share of gaps",
        from: floor,
        to: 1.0,
        log: true,
        labels: 10,
        format: &|share| short_percent(*share),
    };
    curves(caption, &x, &y, &drawn).map(Some)
}

/// Ids by drop rate. Nothing where no id is frequent enough.
fn id_chart(ids: &IdRates, k: u32) -> Result<Option<Chart>, ReportError> {
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
            height,
            label: String::new(),
        })
        .collect();
    let said = drawn.iter().filter(|bar| bar.height > 0).map(|bar| {
        format!("{} to {}: {}", short_percent(bar.from), short_percent(bar.to), plural(bar.height, "id"))
    });
    let caption = Caption {
        id: "id-chart",
        title: "Token ids by the share of their occurrences that is dropped".into(),
        description: format!("{}.", said.collect::<Vec<_>>().join("; ")),
    };
    let x = Axis {
        title: "share of an id's occurrences that is dropped",
        from: 0.0,
        to: 1.0,
        log: false,
        labels: 6,
        format: &|share| short_percent(*share),
    };
    let y = Axis {
        title: "token ids",
        from: 0.0,
        to: highest as f64 * 1.2,
        log: false,
        labels: 5,
        format: &|n| short_count(*n),
    };
    let rate = 1.0 / f64::from(k.max(2));
    bars(caption, &x, &y, &drawn, Some((rate, format!("1/k = {}", percent(rate))))).map(Some)
}

/// Fingerprints by the number of places. Nothing where nothing recurs.
fn copies_chart(duplicates: &Duplicates) -> Result<Option<Chart>, ReportError> {
    let buckets = &duplicates.copies;
    let highest = buckets.iter().map(|bucket| bucket.fingerprints).max().unwrap_or(0);
    if highest == 0 {
        return Ok(None);
    }
    let name = |from: u64, to: u64| {
        if from == to {
            count(from)
        } else {
            format!("{}–{}", short_count(from as f64), short_count(to as f64))
        }
    };
    let drawn: Vec<Bar> = buckets
        .iter()
        .enumerate()
        .map(|(at, bucket)| Bar {
            from: at as f64 - 0.42,
            to: at as f64 + 0.42,
            height: bucket.fingerprints,
            label: short_count(bucket.fingerprints as f64),
        })
        .collect();
    let said = buckets.iter().map(|bucket| {
        format!("{} places: {}", name(bucket.from, bucket.to), plural(bucket.fingerprints, "fingerprint"))
    });
    let caption = Caption {
        id: "copies-chart",
        title: "Recurring text by the number of places where it stands".into(),
        description: format!("{}.", said.collect::<Vec<_>>().join("; ")),
    };
    let tick = |at: &f64| {
        let bucket = (at.fract().abs() < 1e-6).then(|| buckets.get(at.round() as usize)).flatten();
        bucket.map(|bucket| name(bucket.from, bucket.to)).unwrap_or_default()
    };
    let x = Axis {
        title: "places where the same text stands",
        from: -0.6,
        to: buckets.len() as f64 - 0.4,
        log: false,
        labels: buckets.len().min(10),
        format: &tick,
    };
    let y = Axis {
        title: "fingerprints (log scale)",
        from: 0.8,
        to: highest as f64 * 3.0,
        log: true,
        labels: 6,
        format: &|n| short_count(*n),
    };
    bars(caption, &x, &y, &drawn, None).map(Some)
}
