//! Probes, their grid, and their seeded sample.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use goldfish_remedy::{Remedy, Setting};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64_with_seed, xxh3_128_with_seed};

use crate::documents::{Document, Documents};
use crate::error::AuditError;
use crate::rows::ProbeRow;
pub use crate::set::{Passage, Set};
use crate::sketch::{Sketch, share_out};
use crate::stat::Joined;

/// Where probes are cut from a document: every offset with every prefix length and every suffix length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// Positions in the document at which prefixes start, in tokens from 0, ascending.
    pub offsets: Vec<u64>,
    /// Also every so many tokens after each offset, to the document's end.
    pub stride: Option<u64>,
    /// Prefix lengths in tokens, ascending.
    pub prefixes: Vec<u32>,
    /// Suffix lengths in tokens, ascending.
    pub suffixes: Vec<u32>,
}

impl Grid {
    /// Sorts the lists and removes duplicates.
    ///
    /// # Errors
    ///
    /// If a list is empty, or a length or the stride is 0.
    pub fn new(
        mut offsets: Vec<u64>,
        stride: Option<u64>,
        mut prefixes: Vec<u32>,
        mut suffixes: Vec<u32>,
    ) -> Result<Self, AuditError> {
        let axes = [
            ("offsets", Setting::Offset, offsets.is_empty()),
            ("prefix lengths", Setting::Prefix, prefixes.is_empty()),
            ("suffix lengths", Setting::Suffix, suffixes.is_empty()),
        ];
        if let Some((what, setting, _)) = axes.into_iter().find(|(.., empty)| *empty) {
            return Err(AuditError::EmptyGrid { what, remedies: vec![Remedy::give(setting)] });
        }
        if stride == Some(0) || prefixes.contains(&0) || suffixes.contains(&0) {
            return Err(AuditError::ZeroLength);
        }
        offsets.sort_unstable();
        offsets.dedup();
        for lengths in [&mut prefixes, &mut suffixes] {
            lengths.sort_unstable();
            lengths.dedup();
        }
        Ok(Self { offsets, stride, prefixes, suffixes })
    }

    /// Every (prefix, suffix) in tokens, by prefix, then suffix.
    pub fn splits(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.prefixes.iter().flat_map(|prefix| self.suffixes.iter().map(|suffix| (*prefix, *suffix)))
    }

    /// Tokens of the shortest probe.
    #[must_use]
    pub fn shortest(&self) -> u64 {
        self.splits().map(|(prefix, suffix)| u64::from(prefix) + u64::from(suffix)).min().unwrap_or(0)
    }

    /// The starts in a document of `length` tokens at which at least one probe fits, each with the tokens
    /// of the longest probe that does.
    #[must_use]
    pub fn starts(&self, length: u64) -> Vec<(u64, usize)> {
        let mut starts = BTreeSet::new();
        for offset in &self.offsets {
            match self.stride {
                Some(stride) => {
                    let room = length.saturating_sub(self.shortest());
                    if *offset <= room {
                        starts
                            .extend((*offset..=room).step_by(usize::try_from(stride).unwrap_or(usize::MAX)));
                    }
                }
                None => {
                    starts.insert(*offset);
                }
            }
        }
        let longest = |start: u64| {
            let sizes = self.splits().map(|(prefix, suffix)| u64::from(prefix) + u64::from(suffix));
            sizes.filter(|size| start.checked_add(*size).is_some_and(|end| end <= length)).max()
        };
        starts.into_iter().filter_map(|start| Some((start, longest(start)? as usize))).collect()
    }
}

/// How many starts are taken, and which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Starts (document and offset) at most; each brings every (prefix, suffix) split that fits. All of them if
    /// absent.
    pub starts: Option<u64>,
    /// Seed of the choice.
    pub seed: u64,
    /// How the starts are allocated to strata.
    pub allocation: Allocation,
}

/// How a sample is allocated to strata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Allocation {
    /// Every start is as likely as any other, whatever its stratum.
    #[default]
    Proportional,
    /// Every stratum gets the same number; the rest of a small one goes to the others.
    Equal,
}

/// What a probe is called, in every run and on every machine: 128 bits over the document's id, the offset, the two lengths and the
/// tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProbeId(pub u128);

impl ProbeId {
    pub(crate) fn of(document: &str, offset: u64, prefix: u32, ids: &[u32]) -> Self {
        let mut hash = Xxh3Default::new();
        hash.update(&(document.len() as u64).to_le_bytes());
        hash.update(document.as_bytes());
        hash.update(&offset.to_le_bytes());
        hash.update(&prefix.to_le_bytes());
        hash.update(&(ids.len() as u64).to_le_bytes());
        ids.iter().for_each(|id| hash.update(&id.to_le_bytes()));
        Self(hash.digest128())
    }
}

impl fmt::Display for ProbeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A position in a document with the tokens from there: what one scoring pass covers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// The document's position in its corpus.
    pub document: u64,
    /// The document's id.
    pub doc_id: String,
    /// The document's stratum.
    pub stratum: String,
    /// Tokens in the document.
    pub document_tokens: u64,
    /// Where the tokens start in it.
    pub offset: u64,
    /// What comes before them in the prompt: the passage and a separator, where it is [in the prompt](Passage::InPrompt).
    pub before: Vec<u32>,
    /// As many tokens as the longest probe has that fits.
    pub ids: Vec<u32>,
    /// Their mask, where the corpus has masks.
    pub mask: Option<Vec<u8>>,
    /// How many starts of the corpus have the same tokens, this one included.
    pub copies: u64,
    /// What it depends on, as hashes: the clusters of its document and of those that its copies are in.
    pub(crate) clusters: Vec<u64>,
}

/// What documents of one cluster have in common: the value of their column, or else the document itself.
fn cluster_key(document: &Document<'_>) -> u64 {
    match document.cluster {
        "" => xxh3_64_with_seed(document.id.as_bytes(), 0),
        value => xxh3_64_with_seed(value.as_bytes(), 1),
    }
}

impl Start {
    pub(crate) fn cut(document: &Document<'_>, offset: u64, tokens: usize) -> Self {
        let range = offset as usize..offset as usize + tokens;
        Self {
            document: document.number,
            doc_id: document.id.to_owned(),
            stratum: document.stratum.to_owned(),
            document_tokens: document.ids.len() as u64,
            offset,
            before: Vec::new(),
            ids: document.ids[range.clone()].to_vec(),
            mask: document.mask.map(|mask| mask[range].to_vec()),
            copies: 1,
            clusters: vec![cluster_key(document)],
        }
    }

    /// Whether the prompt has its passage.
    #[must_use]
    pub fn passage(&self) -> Passage {
        if self.before.is_empty() { Passage::Absent } else { Passage::InPrompt }
    }

    /// Tokens that the model is given to score it, a BOS apart.
    #[must_use]
    pub fn sequence(&self) -> Vec<u32> {
        [self.before.as_slice(), &self.ids].concat()
    }

    /// Counts a copy of it in a document.
    pub(crate) fn fold(&mut self, document: &Document<'_>) {
        self.copies += 1;
        let key = cluster_key(document);
        if self.clusters.last() != Some(&key) {
            self.clusters.push(key);
        }
    }
}

/// One probe: a split of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Its name.
    pub id: ProbeId,
    /// Index of its start in the table.
    pub start: usize,
    /// Tokens of prefix.
    pub prefix: u32,
    /// Tokens of suffix after it.
    pub suffix: u32,
    /// How many starts of the corpus have the same prefix and suffix, as far as the sample shows.
    pub copies: u64,
}

/// How the probes of a set came about. `documents = too_short +` those with starts, and
/// `splits = probes + duplicates`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeCounts {
    /// Documents read.
    pub documents: u64,
    /// Documents too short for any probe.
    pub too_short: u64,
    /// Starts that the grid has in the documents, copies included.
    pub candidates: u64,
    /// Different starts that were taken.
    pub starts: u64,
    /// (prefix, suffix) splits of those that fit.
    pub splits: u64,
    /// Splits with the same tokens as another one, folded into it.
    pub duplicates: u64,
    /// Probes.
    pub probes: u64,
    /// Documents with a start that was taken.
    pub probed: u64,
    /// Clusters of those: independent as far as is known, and the unit of every interval and test.
    pub clusters: u64,
    /// Clusters that near-copies joined to others: so many more there would be without looking for them.
    pub joined: u64,
}

/// The probes of one set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeTable {
    /// The set.
    pub set: Set,
    /// Starts by document and offset.
    pub starts: Vec<Start>,
    /// Probes by start, prefix and suffix.
    pub probes: Vec<Probe>,
    /// How they came about.
    pub counts: ProbeCounts,
    /// The cluster of each start: the first start that belongs to it.
    pub(crate) clusters: Joined,
}

impl ProbeTable {
    /// Samples the probes of a grid from documents.
    ///
    /// Starts with the same tokens are one start with [`copies`](Start::copies): asking a deterministic model twice
    /// shows nothing new. Which starts are taken depends on their tokens and the seed alone, not on the order
    /// of the documents, and a larger sample holds every smaller one of the same seed (under
    /// [`Allocation::Proportional`]).
    ///
    /// # Errors
    ///
    /// If documents can't be read.
    pub fn sample(documents: &Documents, grid: &Grid, sample: &Sample) -> Result<Self, AuditError> {
        let mut counts = ProbeCounts::default();
        let cap = sample.starts.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let mut sketches: BTreeMap<String, Sketch<Start>> = BTreeMap::new();
        counts.documents = documents.for_each(&mut |document| {
            let starts = grid.starts(document.ids.len() as u64);
            counts.too_short += u64::from(starts.is_empty());
            counts.candidates += starts.len() as u64;
            let stratum = if sample.allocation == Allocation::Equal { document.stratum } else { "" };
            if !sketches.contains_key(stratum) {
                sketches.insert(stratum.to_owned(), Sketch::new(cap));
            }
            let Some(sketch) = sketches.get_mut(stratum) else { return Ok(()) };
            for (offset, tokens) in starts {
                let window = &document.ids[offset as usize..offset as usize + tokens];
                let key = sample_key(window, sample.seed);
                sketch.offer(key, || Start::cut(&document, offset, tokens), |start| start.fold(&document));
            }
            Ok(())
        })?;
        let starts = share_out(sketches.into_values().collect(), cap);
        Ok(Self::new(Set::Audited, starts, grid, counts))
    }

    /// Cuts starts into probes.
    pub(crate) fn new(set: Set, mut starts: Vec<Start>, grid: &Grid, mut counts: ProbeCounts) -> Self {
        starts.sort_by_key(|start| (start.document, start.offset));
        let mut clusters = clusters(&starts);
        let mut probes: Vec<Probe> = Vec::new();
        let mut seen: HashMap<(u32, u128), usize> = HashMap::new();
        for (number, start) in starts.iter().enumerate() {
            for (prefix, suffix) in grid.splits() {
                let Some(ids) = start.ids.get(..(prefix + suffix) as usize) else { continue };
                counts.splits += 1;
                match seen.get(&(prefix, sample_key(ids, 0))) {
                    Some(first) => {
                        probes[*first].copies += start.copies;
                        clusters.join(probes[*first].start, number);
                        counts.duplicates += 1;
                    }
                    None => {
                        seen.insert((prefix, sample_key(ids, 0)), probes.len());
                        let id = ProbeId::of(&start.doc_id, start.offset, prefix, ids);
                        probes.push(Probe { id, start: number, prefix, suffix, copies: start.copies });
                    }
                }
            }
        }
        counts.starts = starts.len() as u64;
        counts.probes = probes.len() as u64;
        counts.probed = starts.iter().map(|start| &start.doc_id).collect::<HashSet<_>>().len() as u64;
        counts.clusters = clusters.groups() as u64;
        Self { set, starts, probes, counts, clusters }
    }

    /// The table of rows of a run's file, with a start for each row; `None` if the rows have no tokens. `separator` is that of rows with
    /// the passage in the prompt.
    #[must_use]
    pub fn from_rows(set: Set, rows: &[&ProbeRow], separator: &[u32]) -> Option<Self> {
        let mut starts = Vec::with_capacity(rows.len());
        let mut probes = Vec::with_capacity(rows.len());
        for (number, row) in rows.iter().enumerate() {
            let before = row.before(separator)?;
            let ids = [row.prefix.as_deref()?, row.suffix.as_deref()?].concat();
            let id = ProbeId::of(&row.doc_id, row.offset, row.prefix_tokens, &ids);
            let (prefix, suffix) = (row.prefix_tokens, row.suffix_tokens);
            probes.push(Probe { id, start: number, prefix, suffix, copies: row.copies });
            starts.push(Start {
                document: number as u64,
                doc_id: row.doc_id.clone(),
                stratum: row.stratum.clone(),
                document_tokens: row.document_tokens,
                offset: row.offset,
                before,
                ids,
                mask: row.mask(),
                copies: row.copies,
                clusters: Vec::new(),
            });
        }
        let n = rows.len() as u64;
        let counts = ProbeCounts { starts: n, splits: n, probes: n, ..ProbeCounts::default() };
        Some(Self { set, clusters: clusters(&starts), starts, probes, counts })
    }

    /// The table as a positive control, whose documents may be audited ones too: they and their probes get other names.
    #[must_use]
    pub fn into_canary(mut self) -> Self {
        self.set = Set::Canary;
        for start in &mut self.starts {
            start.doc_id.insert_str(0, "canary ");
        }
        for probe in &mut self.probes {
            let start = &self.starts[probe.start];
            let ids = &start.ids[..(probe.prefix + probe.suffix) as usize];
            probe.id = ProbeId::of(&start.doc_id, start.offset, probe.prefix, ids);
        }
        self
    }

    /// Joins the clusters of starts that are near-copies of each other: `groups` has a number for each start, the same one for
    /// near-copies.
    pub fn join(&mut self, groups: &[usize]) {
        let mut first = HashMap::new();
        for (start, group) in groups.iter().enumerate().take(self.starts.len()) {
            let other = *first.entry(*group).or_insert(start);
            self.clusters.join(other, start);
        }
        let clusters = self.clusters.groups() as u64;
        self.counts.joined += self.counts.clusters - clusters;
        self.counts.clusters = clusters;
    }

    /// The cluster of a start, by the number of its first start in the table.
    #[must_use]
    pub fn group(&self, start: usize) -> usize {
        self.clusters.first(start)
    }

    /// The cluster of a start, by the id of its first document in the table.
    #[must_use]
    pub fn cluster(&self, start: usize) -> &str {
        &self.starts[self.group(start)].doc_id
    }

    /// Prefix and suffix of a probe of this table.
    #[must_use]
    pub fn tokens(&self, probe: &Probe) -> (&[u32], &[u32]) {
        let ids = &self.starts[probe.start].ids[..(probe.prefix + probe.suffix) as usize];
        ids.split_at(probe.prefix as usize)
    }

    /// Mask of a probe's prefix and suffix, where the corpus has masks.
    #[must_use]
    pub fn mask(&self, probe: &Probe) -> Option<&[u8]> {
        let mask = self.starts[probe.start].mask.as_ref()?;
        Some(&mask[..(probe.prefix + probe.suffix) as usize])
    }

    /// The table as the run's file holds it; without the tokens if `redact`.
    #[must_use]
    pub fn rows(&self, redact: bool) -> Vec<ProbeRow> {
        self.probes.iter().map(|probe| self.row(probe, redact)).collect()
    }

    /// The row of a probe of this table.
    #[must_use]
    pub fn row(&self, probe: &Probe, redact: bool) -> ProbeRow {
        let start = &self.starts[probe.start];
        let (prefix, suffix) = self.tokens(probe);
        ProbeRow {
            probe_id: probe.id.to_string(),
            set: self.set.name().into(),
            passage: start.passage().name().into(),
            doc_id: start.doc_id.clone(),
            cluster: self.cluster(probe.start).to_owned(),
            stratum: start.stratum.clone(),
            document_tokens: start.document_tokens,
            offset: start.offset,
            prefix_tokens: probe.prefix,
            suffix_tokens: probe.suffix,
            copies: probe.copies,
            prefix: (!redact).then(|| prefix.to_vec()),
            suffix: (!redact).then(|| suffix.to_vec()),
            dropped: self
                .mask(probe)
                .map(|mask| (0..).zip(mask).filter(|(_, kept)| **kept == 0).map(|(at, _)| at).collect()),
        }
    }
}

/// Which starts depend on each other, before near-copies are looked for: those of one document, of documents with the same
/// value of the column of clusters, and of documents that have the same tokens at a start.
fn clusters(starts: &[Start]) -> Joined {
    let mut joined = Joined::new(starts.len());
    let (mut documents, mut keys) = (HashMap::new(), HashMap::new());
    for (number, start) in starts.iter().enumerate() {
        joined.join(*documents.entry(start.doc_id.as_str()).or_insert(number), number);
        for key in &start.clusters {
            joined.join(*keys.entry(*key).or_insert(number), number);
        }
    }
    joined
}

/// Orders starts at random by their tokens: the smallest keys are the sample.
pub(crate) fn sample_key(ids: &[u32], seed: u64) -> u128 {
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    xxh3_128_with_seed(&bytes, seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(offsets: &[u64], stride: Option<u64>, prefixes: &[u32], suffixes: &[u32]) -> Grid {
        Grid::new(offsets.to_vec(), stride, prefixes.to_vec(), suffixes.to_vec()).unwrap()
    }

    #[test]
    fn starts_of_a_document() {
        let one = grid(&[0], None, &[50], &[50]);
        assert_eq!(one.starts(99), []);
        assert_eq!(one.starts(100), [(0, 100)]);
        let far = grid(&[0, 100, 1000], None, &[50], &[50]);
        assert_eq!(far.starts(250), [(0, 100), (100, 100)]);
        let strided = grid(&[5, 0], Some(10), &[4], &[4]);
        assert_eq!(strided.starts(25), [(0, 8), (5, 8), (10, 8), (15, 8)]);
        let several = grid(&[0, 7], None, &[2, 6], &[2, 4]);
        assert_eq!(several.splits().collect::<Vec<_>>(), [(2, 2), (2, 4), (6, 2), (6, 4)]);
        assert_eq!(several.starts(12), [(0, 10), (7, 4)]);
        assert_eq!(grid(&[u64::MAX], None, &[1], &[1]).starts(5), []);
    }

    #[test]
    fn grids_that_are_none() {
        assert!(Grid::new(vec![], None, vec![1], vec![1]).is_err());
        assert!(Grid::new(vec![0], Some(0), vec![1], vec![1]).is_err());
        assert!(Grid::new(vec![0], None, vec![0], vec![1]).is_err());
        assert!(Grid::new(vec![0], None, vec![1], vec![]).is_err());
    }

    fn start(document: u64, ids: &[u32], copies: u64) -> Start {
        Start {
            document,
            doc_id: format!("d{document}"),
            stratum: String::new(),
            document_tokens: ids.len() as u64,
            offset: 0,
            before: Vec::new(),
            ids: ids.to_vec(),
            mask: None,
            copies,
            clusters: vec![document],
        }
    }

    #[test]
    fn probes_with_the_same_tokens_are_one() {
        let starts = vec![start(1, &[1, 2, 3, 9], 2), start(0, &[1, 2, 3, 4], 3)];
        let table =
            ProbeTable::new(Set::Audited, starts, &grid(&[0], None, &[2], &[1, 2]), ProbeCounts::default());
        let found: Vec<_> = table.probes.iter().map(|p| (p.start, p.prefix, p.suffix, p.copies)).collect();
        assert_eq!(found, [(0, 2, 1, 5), (0, 2, 2, 3), (1, 2, 2, 2)]);
        assert_eq!((table.counts.splits, table.counts.duplicates, table.counts.probes), (4, 1, 3));
        assert_eq!(table.tokens(&table.probes[2]), (&[1, 2][..], &[3, 9][..]));
        // Same tokens, cut elsewhere: another probe.
        let cuts = ProbeTable::new(
            Set::Audited,
            vec![start(0, &[1, 2, 3], 1)],
            &grid(&[0], None, &[1, 2], &[1, 2]),
            ProbeCounts::default(),
        );
        assert_eq!(cuts.counts.duplicates, 0);
    }

    #[test]
    fn probe_names_are_stable() {
        let id =
            |document, offset, prefix, ids: &[u32]| ProbeId::of(document, offset, prefix, ids).to_string();
        let names = [
            id("a", 0, 1, &[1, 2]),
            id("b", 0, 1, &[1, 2]),
            id("a", 1, 1, &[1, 2]),
            id("a", 0, 2, &[1, 2, 3]),
            id("a", 0, 1, &[1, 3]),
        ];
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        assert_eq!(names[0], PROBE_A);
    }

    // Python: xxhash.xxh3_128_hexdigest(pack("<Q", 1) + b"a" + pack("<QI", 0, 1) + pack("<QII", 2, 1, 2)).
    const PROBE_A: &str = "97ba69ab8b94d318f4be77c1d82abe8e";
}
