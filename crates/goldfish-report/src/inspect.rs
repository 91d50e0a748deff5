//! The page of `goldfish inspect --html`.

mod charts;

use std::collections::BTreeMap;

use goldfish_inspect::{Duplicates, IdRates, Inspection, Leak};
use goldfish_shard::Manifest;
use serde::Serialize;

use crate::chart::Chart;
use crate::{ReportError, page};

/// What the page of an inspection shows.
#[derive(Clone, Copy)]
pub struct InspectPage<'a> {
    /// What was found.
    pub inspection: &'a Inspection,
    /// The folder's manifest.
    pub manifest: &'a Manifest,
    /// Bytes of all inputs.
    pub input_bytes: u64,
    /// What to call the folder.
    pub folder: &'a str,
    /// The command line that makes this page.
    pub command: &'a str,
    /// The text of a token id, where there is a tokenizer.
    pub token_text: Option<&'a dyn Fn(u32) -> Option<String>>,
}

/// What the template sees.
#[derive(Serialize)]
struct Context<'a> {
    i: &'a Inspection,
    manifest: &'a Manifest,
    folder: &'a str,
    command: &'a str,
    k: Option<u32>,
    /// What windows and contexts count.
    context_unit: &'static str,
    inputs: u64,
    input_bytes: u64,
    shard_bytes: u64,
    expected: f64,
    has_texts: bool,
    texts: BTreeMap<u32, String>,
    gap_chart: Option<Chart>,
    id_chart: Option<Chart>,
    copies_chart: Option<Chart>,
    leaks: Vec<LeakTable<'a>>,
    limits: Limits,
}

/// Leaks by one of their causes.
#[derive(Serialize)]
struct LeakTable<'a> {
    caption: &'static str,
    heading: &'static str,
    rows: Vec<LeakRow<'a>>,
}

/// The leaks of one row, by rule.
#[derive(Serialize)]
struct LeakRow<'a> {
    name: String,
    leaks: &'a [Leak],
}

/// How much of each list is shown.
#[derive(Serialize)]
struct Limits {
    groups: usize,
    ids: usize,
    keys: usize,
    pairs: usize,
    tokens: usize,
}

const LIMITS: Limits = Limits { groups: 60, ids: 20, keys: 20, pairs: 10, tokens: 300 };

/// Writes the page of an inspection: one HTML file that needs nothing else.
///
/// # Errors
///
/// If a chart or the page can't be made, which is a bug in goldfish.
pub fn inspect_page(input: &InspectPage<'_>) -> Result<String, ReportError> {
    let &InspectPage { inspection, manifest, input_bytes, folder, command, token_text } = input;
    let k = manifest.k();
    let context = Context {
        i: inspection,
        manifest,
        folder,
        command,
        k,
        context_unit: if manifest.rule.name().starts_with("text") { "characters" } else { "tokens" },
        inputs: manifest.input_count(),
        input_bytes,
        shard_bytes: manifest.shard_bytes(),
        expected: k.map_or(0.0, |k| 1.0 / f64::from(k)),
        has_texts: token_text.is_some(),
        texts: token_text.map(|text| texts(inspection, text)).unwrap_or_default(),
        gap_chart: charts::gap_chart(&inspection.gaps, k)?,
        id_chart: charts::id_chart(&inspection.ids, k)?,
        copies_chart: inspection.duplicates.as_ref().map(charts::copies_chart).transpose()?.flatten(),
        leaks: inspection.duplicates.as_ref().map(leak_tables).unwrap_or_default(),
        limits: LIMITS,
    };
    page::render("inspect.html", &context)
}

/// The leaks by what differs and by the distance from it, without the rows where nothing was dropped.
fn leak_tables(duplicates: &Duplicates) -> Vec<LeakTable<'_>> {
    let row = |name: String, leaks| LeakRow { name, leaks };
    let some = |row: &LeakRow<'_>| row.leaks.iter().any(|leak| leak.dropped > 0);
    let differences =
        duplicates.differences.iter().map(|found| row(found.difference.name().to_owned(), &*found.leaks));
    let distances = duplicates.distances.iter().map(|found| row(found.name(), &*found.leaks));
    vec![
        LeakTable {
            caption: "Leak by what differs near the token",
            heading: "what differs",
            rows: differences.filter(some).collect(),
        },
        LeakTable {
            caption: "Leak by the distance from an edit or the start of a passage",
            heading: "words since then",
            rows: distances.filter(some).collect(),
        },
    ]
}

/// The texts of all ids that the page shows.
fn texts(inspection: &Inspection, text: &dyn Fn(u32) -> Option<String>) -> BTreeMap<u32, String> {
    let IdRates { always, never, .. } = &inspection.ids;
    let counted = always.most_frequent.iter().chain(&never.most_frequent).map(|entry| entry.id);
    let keys = inspection.windows.iter().flat_map(|windows| &windows.worst).take(LIMITS.keys);
    let examples = keys.flat_map(|key| key.example.iter().copied());
    counted.chain(examples).filter_map(|id| Some((id, text(id)?))).collect()
}
