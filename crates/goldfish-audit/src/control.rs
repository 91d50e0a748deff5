//! Controls: probes that the model cannot have trained on, matched to the audited ones.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use goldfish_mask::normalize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::documents::{Document, Documents};
use crate::error::AuditError;
use crate::probe::{Grid, ProbeCounts, ProbeTable, Set, Start, sample_key};
use crate::runs::RunIndex;
use crate::sketch::Sketch;

/// Turns token ids to text.
pub type Decode<'a> = dyn Fn(&[u32]) -> String + 'a;

/// When a control document counts as one that the model may have seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Contamination {
    /// A run of so many tokens that it shares with the audited corpus; never more than the shortest probe has.
    pub tokens: u32,
    /// A run of so many characters of the [normalized stream](goldfish_mask::normalize), which finds the same
    /// text in other formatting. Four characters a token is usual.
    pub characters: u32,
}

impl Default for Contamination {
    fn default() -> Self {
        Self { tokens: 50, characters: 200 }
    }
}

/// How the control came about.
///
/// `checked = contaminated + clean`, and `wanted = matched + matched_other_length + unmatched`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlCounts {
    /// Documents of the control that were candidates and were compared with the audited corpus.
    pub checked: u64,
    /// Of those, removed because they share a long run with the audited corpus.
    pub contaminated: u64,
    /// Of the removed, those whose run shows in the normalized stream only.
    pub contaminated_normalised_only: u64,
    /// Of the checked, those that stayed.
    pub clean: u64,
    /// Whether the normalized stream was compared, which needs the corpus's text.
    pub normalised_checked: bool,
    /// Starts asked for: one for each audited one.
    pub wanted: u64,
    /// Starts found with the stratum, the offset and the document length (within a power of two) of an audited one.
    pub matched: u64,
    /// Starts found with stratum and offset only.
    pub matched_other_length: u64,
    /// Starts without a matching one.
    pub unmatched: u64,
    /// What documents would match them: the kinds of which most are lacking, at most five.
    pub lacking: Vec<Lacking>,
}

/// Held-out documents of a kind that the control lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lacking {
    /// How many more it takes.
    pub documents: u64,
    /// Their stratum, empty without one.
    pub stratum: String,
    /// The fewest tokens that they have.
    pub from_tokens: u64,
    /// The most tokens that they have.
    pub to_tokens: u64,
}

/// `12 more documents of source "books" with 256 to 511 tokens`.
impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { documents, stratum, from_tokens, to_tokens } = self;
        write!(f, "{documents} more document{}", if *documents == 1 { "" } else { "s" })?;
        if !stratum.is_empty() {
            write!(f, " of source {stratum:?}")?;
        }
        write!(f, " with {from_tokens} to {to_tokens} tokens")
    }
}

/// Kinds of lacking documents that are named.
const MOST_LACKING: usize = 5;

/// Candidates that are kept for each start that is wanted, so that contaminated ones can be replaced.
const CANDIDATES: usize = 4;

/// Stratum, offset and length class of a start.
type Cell = (String, u64, u32);

/// Documents of about the same length: within a power of two.
fn length_class(tokens: u64) -> u32 {
    tokens.max(1).ilog2()
}

fn cell(start: &Start) -> Cell {
    (start.stratum.clone(), start.offset, length_class(start.document_tokens))
}

struct Candidate {
    start: Start,
    document: Arc<[u32]>,
}

/// Chooses control probes from held-out documents: for each audited start one of the same stratum, offset and document
/// length, none of a document that shares a long run with `corpus`.
///
/// `corpus` are the audited documents, all of which are compared. `decode` turns ids to text for the normalized
/// stream; without it only token ids are compared, and the counts say so.
///
/// # Errors
///
/// If documents can't be read.
pub fn match_controls(
    audited: &ProbeTable,
    corpus: &Documents,
    held_out: &Documents,
    grid: &Grid,
    seed: u64,
    contamination: Contamination,
    decode: Option<&Decode<'_>>,
) -> Result<(ProbeTable, ControlCounts), AuditError> {
    let mut demand: BTreeMap<Cell, usize> = BTreeMap::new();
    for start in &audited.starts {
        *demand.entry(cell(start)).or_default() += 1;
    }
    let mut probes = ProbeCounts::default();
    let candidates = gather(held_out, grid, seed, &demand, &mut probes)?;
    let mut counts = ControlCounts { normalised_checked: decode.is_some(), ..ControlCounts::default() };
    let candidates = remove_contaminated(candidates, corpus, grid, contamination, decode, &mut counts)?;
    let chosen = choose(candidates, &demand, grid.shortest(), &mut counts);
    Ok((ProbeTable::new(Set::Control, chosen, grid, probes), counts))
}

/// For each cell with the stratum and offset of a wanted start, the candidates with the smallest keys, in their order.
fn gather(
    held_out: &Documents,
    grid: &Grid,
    seed: u64,
    demand: &BTreeMap<Cell, usize>,
    counts: &mut ProbeCounts,
) -> Result<BTreeMap<Cell, Vec<Candidate>>, AuditError> {
    let mut wanted: HashMap<(&str, u64), usize> = HashMap::new();
    for ((stratum, offset, _), n) in demand {
        *wanted.entry((stratum, *offset)).or_default() += n;
    }
    let mut sketches: BTreeMap<Cell, Sketch<Candidate>> = BTreeMap::new();
    counts.documents = held_out.for_each(&mut |document: Document<'_>| {
        let starts = grid.starts(document.ids.len() as u64);
        counts.too_short += u64::from(starts.is_empty());
        counts.candidates += starts.len() as u64;
        let mut whole: Option<Arc<[u32]>> = None;
        for (offset, tokens) in starts {
            let Some(n) = wanted.get(&(document.stratum, offset)) else { continue };
            let class = length_class(document.ids.len() as u64);
            let sketch = sketches
                .entry((document.stratum.to_owned(), offset, class))
                .or_insert_with(|| Sketch::new(n * CANDIDATES));
            let key = sample_key(&document.ids[offset as usize..offset as usize + tokens], seed);
            let make = || Candidate {
                start: Start::cut(&document, offset, tokens),
                document: whole.get_or_insert_with(|| document.ids.into()).clone(),
            };
            sketch.offer(key, make, |kept| kept.start.fold(&document));
        }
        Ok(())
    })?;
    Ok(sketches.into_iter().map(|(cell, sketch)| (cell, sketch.into_values().collect())).collect())
}

fn remove_contaminated(
    mut candidates: BTreeMap<Cell, Vec<Candidate>>,
    corpus: &Documents,
    grid: &Grid,
    contamination: Contamination,
    decode: Option<&Decode<'_>>,
    counts: &mut ControlCounts,
) -> Result<BTreeMap<Cell, Vec<Candidate>>, AuditError> {
    // By their number in the corpus, so that a document with several starts is compared once.
    let documents: BTreeMap<u64, &Arc<[u32]>> =
        candidates.values().flatten().map(|c| (c.start.document, &c.document)).collect();
    let run = u64::from(contamination.tokens).min(grid.shortest()) as usize;
    let mut tokens = RunIndex::new(documents.values().map(|ids| ids.to_vec()).collect(), run);
    let normalized = |decode: &Decode<'_>, ids: &[u32]| -> Vec<u32> {
        normalize(&decode(ids)).chars().map(u32::from).collect()
    };
    let mut characters = decode.map(|decode| {
        let texts = documents.values().map(|ids| normalized(decode, ids)).collect();
        RunIndex::new(texts, contamination.characters as usize)
    });
    corpus.for_each(&mut |document| {
        tokens.show(document.ids);
        if let (Some(characters), Some(decode)) = (&mut characters, decode) {
            characters.show(&normalized(decode, document.ids));
        }
        Ok(())
    })?;
    let in_tokens = tokens.found();
    let in_text = characters.as_ref().map(RunIndex::found);
    let mut removed = HashMap::new();
    for (i, number) in documents.keys().enumerate() {
        let (by_tokens, by_text) = (in_tokens[i], in_text.is_some_and(|found| found[i]));
        removed.insert(*number, by_tokens || by_text);
        counts.checked += 1;
        counts.contaminated += u64::from(by_tokens || by_text);
        counts.contaminated_normalised_only += u64::from(by_text && !by_tokens);
    }
    counts.clean = counts.checked - counts.contaminated;
    for cell in candidates.values_mut() {
        cell.retain(|candidate| !removed[&candidate.start.document]);
    }
    Ok(candidates)
}

/// Fills each wanted cell from its own candidates, then from those of the nearest length class that are left over.
fn choose(
    mut candidates: BTreeMap<Cell, Vec<Candidate>>,
    demand: &BTreeMap<Cell, usize>,
    shortest: u64,
    counts: &mut ControlCounts,
) -> Vec<Start> {
    let mut chosen = Vec::new();
    let (mut missing, mut unmatched) = (Vec::new(), Vec::new());
    for (cell, wanted) in demand {
        let own = candidates.get_mut(cell).map(|own| own.drain(..(*wanted).min(own.len()))).into_iter();
        let before = chosen.len();
        chosen.extend(own.flatten().map(|candidate| candidate.start));
        let found = chosen.len() - before;
        counts.wanted += *wanted as u64;
        counts.matched += found as u64;
        missing.push((cell, wanted - found));
    }
    for ((stratum, offset, class), mut wanted) in missing {
        let mut others: Vec<&mut Vec<Candidate>> = Vec::new();
        let mut near: Vec<(u32, &mut Vec<Candidate>)> = candidates
            .iter_mut()
            .filter(|((s, o, _), left)| s == stratum && o == offset && !left.is_empty())
            .map(|((_, _, c), left)| (c.abs_diff(*class), left))
            .collect();
        near.sort_by_key(|(distance, _)| *distance);
        others.extend(near.into_iter().map(|(_, left)| left));
        for left in others {
            let n = wanted.min(left.len());
            chosen.extend(left.drain(..n).map(|candidate| candidate.start));
            wanted -= n;
            counts.matched_other_length += n as u64;
        }
        counts.unmatched += wanted as u64;
        if wanted > 0 {
            unmatched.push(((stratum.as_str(), *offset, *class), wanted as u64));
        }
    }
    counts.lacking = lacking(unmatched, shortest);
    chosen
}

/// The documents that would match starts, those of which most are lacking first. One document can match a start at each offset.
fn lacking(unmatched: Vec<((&str, u64, u32), u64)>, shortest: u64) -> Vec<Lacking> {
    let mut kinds: BTreeMap<(&str, u32), Lacking> = BTreeMap::new();
    for ((stratum, offset, class), starts) in unmatched {
        let kind = kinds.entry((stratum, class)).or_insert_with(|| Lacking {
            documents: 0,
            stratum: stratum.to_owned(),
            from_tokens: 1 << class,
            to_tokens: u64::MAX >> (63 - class),
        });
        kind.documents = kind.documents.max(starts);
        kind.from_tokens = kind.from_tokens.max(offset.saturating_add(shortest));
    }
    let mut all: Vec<Lacking> = kinds.into_values().collect();
    all.sort_by_key(|kind| std::cmp::Reverse(kind.documents));
    all.truncate(MOST_LACKING);
    all
}
