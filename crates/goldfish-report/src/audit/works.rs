//! Works as strips: how likely their suffixes are by position, and which parts were recited.

use std::collections::HashMap;

use goldfish_audit::ResultRow;
use goldfish_audit::run::Run;
use goldfish_audit::score::position;
use goldfish_audit::summary::{WorkPart, WorkSummary};
use serde::Serialize;

use super::passages::{Decode, text_of};
use crate::ReportError;
use crate::axis::{Axis, counted};
use crate::chart::{Caption, Chart, Curve, curves};
use crate::number::{count, percent, plural};

const LOSS: usize = position("loss");

/// Works that are shown.
const SHOWN: usize = 5;

/// Points of a chart at most.
const POINTS: u64 = 300;

/// Tokens of the longest part that are shown.
const TEXT_TOKENS: usize = 400;

/// Probes of the shown works, by position.
#[derive(Debug, Default)]
pub(super) struct Positions(HashMap<String, Vec<(u64, f64)>>);

/// A work on the page.
#[derive(Serialize)]
pub(super) struct Work {
    doc_id: String,
    /// Tokens of the document.
    tokens: u64,
    starts: u64,
    probed: u64,
    verbatim: u64,
    verbatim_share: String,
    near: Option<u64>,
    near_share: Option<String>,
    /// Parts of the strip.
    marks: Vec<Mark>,
    described: String,
    longest: Option<Longest>,
    parts: Vec<Part>,
    more_parts: usize,
    chart: Option<Chart>,
}

/// A part on the strip, in parts per thousand of the document.
#[derive(Serialize)]
struct Mark {
    class: &'static str,
    at: f64,
    width: f64,
}

/// A part in the list.
#[derive(Serialize)]
struct Part {
    from: u64,
    to: u64,
    tokens: u64,
    above_control: Option<bool>,
}

/// The longest part that was recited.
#[derive(Serialize)]
struct Longest {
    from: u64,
    tokens: u64,
    text: Option<String>,
    /// Tokens after what is shown.
    more: u64,
}

/// Parts that are listed.
const LISTED: usize = 12;

impl Positions {
    /// For the works of a summary that are shown.
    pub(super) fn of(works: &[WorkSummary]) -> Self {
        Self(works.iter().take(SHOWN).map(|work| (work.doc_id.clone(), Vec::new())).collect())
    }

    /// Looks at a row of the audited set.
    pub(super) fn offer(&mut self, row: &ResultRow) {
        if let (Some(found), Some(loss)) = (self.0.get_mut(&row.doc_id), row.scores[LOSS]) {
            let middle = row.offset + u64::from(row.prefix_tokens) + u64::from(row.suffix_tokens) / 2;
            found.push((middle, loss));
        }
    }

    /// The works with their strips, and the text of the longest parts unless the page is redacted.
    pub(super) fn show(
        self,
        run: &Run,
        redact: bool,
        decode: Option<&Decode<'_>>,
    ) -> Result<Vec<Work>, ReportError> {
        let shown: Vec<&WorkSummary> = run.summary.works.iter().take(SHOWN).collect();
        let longest: Vec<Option<WorkPart>> = shown.iter().map(|work| longest(&work.verbatim)).collect();
        let at: HashMap<&str, usize> =
            shown.iter().enumerate().map(|(at, work)| (work.doc_id.as_str(), at)).collect();
        let mut tokens = vec![0; shown.len()];
        let mut texts: Vec<Vec<Option<u32>>> =
            longest.iter().map(|part| vec![None; part.map_or(0, |part| shown_tokens(&part))]).collect();
        if !shown.is_empty() {
            for probe in run.probes()? {
                let probe = probe?;
                let Some(&at) = at.get(probe.doc_id.as_str()).filter(|_| probe.set == "audited") else {
                    continue;
                };
                tokens[at] = probe.document_tokens;
                let (Some(part), Some(suffix)) = (longest[at], &probe.suffix) else { continue };
                let first = probe.offset + u64::from(probe.prefix_tokens);
                for (id, position) in suffix.iter().zip(first..) {
                    let place = position.checked_sub(part.from).and_then(|at| usize::try_from(at).ok());
                    if let Some(place) = place.and_then(|place| texts[at].get_mut(place)) {
                        *place = Some(*id);
                    }
                }
            }
        }
        let mut positions = self.0;
        let works = shown.iter().zip(longest).zip(tokens).zip(texts).enumerate();
        works
            .map(|(number, (((work, longest), tokens), text))| {
                let found = positions.remove(&work.doc_id).unwrap_or_default();
                let longest = longest.map(|part| {
                    let ids: Option<Vec<u32>> = text.into_iter().collect();
                    let text = ids.filter(|_| !redact).map(|ids| in_words(&ids, decode));
                    Longest {
                        from: part.from,
                        tokens: part.tokens(),
                        text,
                        more: part.tokens() - shown_tokens(&part) as u64,
                    }
                });
                Work::new(number, work, tokens, longest, found)
            })
            .collect()
    }
}

fn longest(parts: &[WorkPart]) -> Option<WorkPart> {
    parts.iter().copied().reduce(|a, b| if b.tokens() > a.tokens() { b } else { a })
}

fn shown_tokens(part: &WorkPart) -> usize {
    usize::try_from(part.tokens()).unwrap_or(usize::MAX).min(TEXT_TOKENS)
}

fn in_words(ids: &[u32], decode: Option<&Decode<'_>>) -> String {
    match decode {
        Some(decode) => text_of(ids, 0..ids.len(), decode),
        None => ids.iter().map(|id| format!("{id} ")).collect(),
    }
}

impl Work {
    fn new(
        number: usize,
        work: &WorkSummary,
        tokens: u64,
        longest: Option<Longest>,
        positions: Vec<(u64, f64)>,
    ) -> Result<Self, ReportError> {
        let share = |part: u64| percent(part as f64 / work.probed_tokens.max(1) as f64);
        let whole = tokens.max(1) as f64;
        let marks = |parts: &[WorkPart], class| -> Vec<Mark> {
            let mark = |part: &WorkPart| Mark {
                class,
                at: 1000.0 * part.from as f64 / whole,
                // A short part of a long work stays visible.
                width: (1000.0 * part.tokens() as f64 / whole).max(1.5),
            };
            parts.iter().map(mark).collect()
        };
        let listed = |part: &WorkPart| Part {
            from: part.from,
            to: part.to,
            tokens: part.tokens(),
            above_control: part.above_control,
        };
        let mut parts: Vec<Part> = work.verbatim.iter().map(listed).collect();
        parts.sort_by(|a, b| b.tokens.cmp(&a.tokens).then(a.from.cmp(&b.from)));
        let more_parts = parts.len().saturating_sub(LISTED);
        parts.truncate(LISTED);
        let said: Vec<String> =
            parts.iter().map(|part| format!("tokens {} to {}", count(part.from), count(part.to))).collect();
        Ok(Self {
            doc_id: work.doc_id.clone(),
            tokens,
            starts: work.starts,
            probed: work.probed_tokens,
            verbatim: work.verbatim_tokens,
            verbatim_share: share(work.verbatim_tokens),
            near: work.near_tokens,
            near_share: work.near_tokens.map(share),
            marks: marks(&work.near, "near").into_iter().chain(marks(&work.verbatim, "verbatim")).collect(),
            described: if said.is_empty() {
                "Nothing was recited.".into()
            } else {
                format!("Recited: {}.", said.join("; "))
            },
            longest,
            parts,
            more_parts,
            chart: chart(number, tokens, positions)?,
        })
    }
}

/// The log-probability of the suffixes by their position; of many the mean of some next to each other.
fn chart(number: usize, tokens: u64, mut positions: Vec<(u64, f64)>) -> Result<Option<Chart>, ReportError> {
    if positions.is_empty() {
        return Ok(None);
    }
    positions.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let width = tokens.div_ceil(POINTS).max(1);
    let point = |near: &[(u64, f64)]| {
        let of = near.len() as f64;
        let middle = near.iter().map(|(at, _)| *at as f64).sum::<f64>() / of;
        (middle, -near.iter().map(|(_, loss)| loss).sum::<f64>() / of)
    };
    let points: Vec<(f64, f64)> = positions.chunk_by(|a, b| a.0 / width == b.0 / width).map(point).collect();
    let lowest = points.iter().map(|point| point.1).fold(0.0, f64::min);
    let (first, last) = (points[0], points[points.len() - 1]);
    let highest = points.iter().copied().reduce(|a, b| if b.1 > a.1 { b } else { a }).unwrap_or(first);
    let caption = Caption {
        id: format!("work-{number}-chart"),
        title: "Log-probability of the suffixes, a token, by position in the work".into(),
        description: format!(
            "From token {} to {}: highest {:.2} nats at token {}, lowest {lowest:.2}; 0 is certain.",
            count(first.0 as u64),
            count(last.0 as u64),
            highest.1,
            count(highest.0 as u64),
        ),
    };
    let x = counted("position in the work (tokens)", tokens as f64);
    let y = Axis {
        title: "log-probability (nats a token)",
        from: (lowest * 1.05).min(-0.1),
        to: 0.0,
        log: false,
        ticks: None,
        format: &|nats| format!("{nats:.1}"),
    };
    let curve = Curve { name: plural(positions.len() as u64, "probe"), points, series: 0, dots: false };
    curves(caption, &x, &y, &[curve]).map(Some)
}
