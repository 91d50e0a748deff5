//! The reading of the shards.

use std::collections::HashSet;
use std::path::Path;

use arrow::array::{Array, ArrayRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use goldfish_mask::diagnostics::{Tally, TokenCounter, Warning};
use goldfish_mask::{
    Coverage, Masker, RuleSpec, Scope, SequenceMasker, SequenceState, TextWords, TokenSpan, document_key,
};
use goldfish_pipeline::ShardText;
use goldfish_shard::{InputEntry, Manifest, ShardBatch, ShardError, read_passages};
use rayon::prelude::*;

use crate::duplicates::{Against, Copies, Document, DocumentWords, Finder, Found, Masks, Needles, Search};
use crate::error::InspectError;
use crate::gaps::GapCounts;
use crate::groups::{ColumnCounts, DocumentCounts};
use crate::ids::IdCounts;
use crate::options::InspectOptions;
use crate::rates::rates;
use crate::report::{Duplicates, Inspection, TallyReport, Undropped};
use crate::sample::DocumentSample;
use crate::shards::{batches, row};
use crate::stretches::StretchSearch;
use crate::windows::WindowSample;

/// Tokens of the documents that are indexed where copies are looked for, about.
const MOST_INDEXED: u64 = 1 << 24;

/// The column that every folder can be grouped by: the input that a document came from.
const INPUT: &str = "input";

/// Looks through a folder. `text` decodes its documents; `observe` is called with the number of documents
/// read so far, of which each counts three times where copies are looked for.
///
/// # Errors
///
/// If a shard can't be read or is not what the manifest says, if the column to group by is not there or has too many
/// values, or if duplicates are asked for without `text`.
pub fn inspect(
    folder: &Path,
    manifest: &Manifest,
    text: Option<&ShardText>,
    options: &InspectOptions,
    observe: &mut dyn FnMut(u64),
) -> Result<Inspection, InspectError> {
    let mut needles = match (&options.duplicates, text) {
        (None, _) => None,
        (Some(_), None) => return Err(InspectError::NoText),
        (Some(_), Some(_)) => Some(Needles::new(true)?),
    };
    let k = manifest.k();
    let reach = Masker::new(manifest.rule.build_coverage(Coverage::Decided)?, &manifest.exempt_ids);
    let mut reading = Reading::new(manifest, text, options, &reach)?;
    for passage in read_passages(folder, manifest)?.into_iter().flatten() {
        reading.by_works.insert(document_key(&passage?.doc_id));
    }
    let mut inputs = match options.by.as_deref() {
        Some(INPUT) => Some(Inputs { entries: Box::new(manifest.read_inputs(folder)?), end: 0, name: None }),
        _ => None,
    };
    let mut seen = 0;
    for batch in batches(folder, manifest) {
        let (path, first_row, batch) = batch?;
        reading.batch((&path, first_row), &batch, needles.as_mut(), inputs.as_mut())?;
        seen += batch.len() as u64;
        observe(seen);
    }
    let duplicates = match (needles, options.duplicates) {
        (Some(needles), Some(duplicates)) => {
            let mut search = needles.build(duplicates, options.seed);
            look_for_copies(&mut search, text, folder, manifest, &mut |searched| observe(seen + searched))?;
            let masks = Masks { rule: &manifest.rule, scope: manifest.scope, exempt: &manifest.exempt_ids };
            let found = search.found(&masks, text, Against::All)?;
            Some(compare(found, folder, manifest, &mut |compared| observe(2 * seen + compared))?)
        }
        _ => None,
    };
    let Reading {
        totals, counted, tallies, too_short, gaps, stretches, undropped, windows, groups, ids, ..
    } = reading;
    let warnings = tallies.as_ref().map_or_else(Vec::new, |tallies| warnings(manifest, tallies));
    let tally = tallies.map(|tallies| {
        tallies.into_iter().fold(Tally::default(), |mut all, tally| {
            all.add(&tally);
            all
        })
    });
    Ok(Inspection {
        totals: rates(totals.0, totals.1, totals.2),
        tally: tally.map(|tally| TallyReport {
            documents: counted,
            tokens: tally.tokens,
            special: tally.special,
            blank: tally.blank(),
            head: tally.short_context(),
            decided: tally.decided,
            dropped: tally.dropped,
            decided_drop_rate: tally.decided_rate(),
            too_short,
        }),
        gaps: gaps.report(k),
        longest_kept: stretches.report(text),
        undropped,
        windows: windows.map(WindowSample::report),
        groups: groups.map(ColumnCounts::report).transpose()?,
        ids: ids.report(k),
        duplicates,
        warnings,
    })
}

/// What speaks against each rule.
fn warnings(manifest: &Manifest, tallies: &[Tally]) -> Vec<String> {
    let mut found = Vec::new();
    for (number, ((rule, _), tally)) in manifest.rules().into_iter().zip(tallies).enumerate() {
        let mut warnings = tally.warnings(rule.definition());
        // What existing masks exclude is no fault of the rule's.
        warnings
            .retain(|warning| manifest.existing_mask.is_none() || !matches!(warning, Warning::Rate { .. }));
        found.extend(warnings.iter().map(|warning| match manifest.policy.get(number) {
            None => warning.to_string(),
            Some(entry) => format!("{}: {warning}", entry.name),
        }));
    }
    found
}

/// Searches all documents for copies of what is in those that are indexed. `observe` is called with the number of documents
/// searched.
fn look_for_copies(
    search: &mut Search,
    text: Option<&ShardText>,
    folder: &Path,
    manifest: &Manifest,
    observe: &mut dyn FnMut(u64),
) -> Result<(), InspectError> {
    let mut number = 0;
    for batch in batches(folder, manifest) {
        let (path, first_row, batch) = batch?;
        let find = |(finder, words): &mut (Finder<'_>, DocumentWords<'_>), index: usize| {
            let (ids, _) = row(&path, first_row, &batch, index)?;
            let words = words.read(ids).map_err(|error| InspectError::Row {
                path: path.clone(),
                row: first_row + index as u64,
                problem: error.to_string(),
            })?;
            Ok(finder.find(number + index as u64, words))
        };
        let scratch = || (search.finder(), DocumentWords::new(text));
        let copies: Vec<Copies> =
            (0..batch.len()).into_par_iter().map_init(scratch, find).collect::<Result<_, InspectError>>()?;
        copies.iter().for_each(|copies| search.note(copies));
        number += batch.len() as u64;
        observe(number);
    }
    Ok(())
}

/// Reads the documents with passages to compare again, and compares these. `observe` is called with the number of
/// documents read.
fn compare(
    mut found: Found<'_>,
    folder: &Path,
    manifest: &Manifest,
    observe: &mut dyn FnMut(u64),
) -> Result<Duplicates, InspectError> {
    let mut number = 0;
    for batch in batches(folder, manifest) {
        let (path, first_row, batch) = batch?;
        let mut documents = Vec::new();
        for index in (0..batch.len()).filter(|&index| found.wants(number + index as u64)) {
            let (ids, mask) = row(&path, first_row, &batch, index)?;
            let doc_id = batch.doc_ids().value(index);
            documents.push(Document { number: number + index as u64, doc_id, ids, mask });
        }
        found.read(&documents)?;
        number += batch.len() as u64;
        observe(number);
    }
    Ok(found.compare())
}

/// What is counted on the way through the shards.
struct Reading<'a> {
    manifest: &'a Manifest,
    /// The rules, each with the ids that it never drops.
    rules: Vec<(&'a RuleSpec, &'a [u32])>,
    text: Option<&'a ShardText>,
    sample: DocumentSample,
    /// Of these, the documents that are indexed where copies are looked for.
    indexed: DocumentSample,
    sequences: Option<SequenceMasker<'a>>,
    reach: &'a Masker,
    /// Documents, tokens, dropped tokens.
    totals: (u64, u64, u64),
    counted: u64,
    /// By rule, of documents without passages of protected works.
    tallies: Option<Vec<Tally>>,
    /// Keys of the documents with such passages.
    by_works: HashSet<u64>,
    too_short: u64,
    gaps: GapCounts,
    stretches: StretchSearch,
    undropped: Undropped,
    windows: Option<WindowSample<'a>>,
    groups: Option<ColumnCounts>,
    ids: IdCounts,
}

/// Where documents are counted by input: the inputs, on the way through their documents.
struct Inputs<'a> {
    entries: Box<dyn Iterator<Item = Result<InputEntry, ShardError>> + 'a>,
    /// Documents of the inputs so far.
    end: u64,
    /// The last of them.
    name: Option<String>,
}

impl Inputs<'_> {
    /// The input of a document; documents must come in order.
    fn of(&mut self, document: u64) -> Result<Option<String>, ShardError> {
        while self.end <= document {
            let entry = self.entries.next().transpose()?;
            self.end = entry.as_ref().map_or(u64::MAX, |entry| self.end.saturating_add(entry.documents));
            self.name = entry.map(|entry| entry.name);
        }
        Ok(self.name.clone())
    }
}

/// What a closer look at a document shows.
struct Looked {
    /// The number of the rule that decided it.
    rule: usize,
    tally: Tally,
    /// 0 for each token that the rule decided.
    decided: Vec<u8>,
    /// Where the document is indexed.
    words: Option<TextWords>,
}

impl<'a> Reading<'a> {
    fn new(
        manifest: &'a Manifest,
        text: Option<&'a ShardText>,
        options: &InspectOptions,
        reach: &'a Masker,
    ) -> Result<Self, InspectError> {
        let sequences = match manifest.scope {
            Scope::Document => None,
            Scope::Sequence { length } => Some(SequenceMasker::new(reach, length, SequenceState::default())?),
        };
        let rules = manifest.rules();
        let knows = text.is_some() || !rules.iter().any(|(rule, _)| rule.definition().needs_text());
        let tallies = knows.then(|| vec![Tally::default(); rules.len()]);
        let sample = |tokens: u64| DocumentSample::new(tokens, manifest.totals.tokens, options.seed);
        let windows = if manifest.policy.is_empty() { manifest.rule.window_keys() } else { None };
        Ok(Self {
            manifest,
            rules,
            text,
            sample: sample(options.sample_tokens),
            indexed: sample(options.sample_tokens.min(MOST_INDEXED)),
            sequences,
            reach,
            totals: (0, 0, 0),
            counted: 0,
            by_works: HashSet::new(),
            tallies,
            too_short: 0,
            gaps: GapCounts::default(),
            stretches: StretchSearch::new(manifest),
            undropped: Undropped::default(),
            windows: windows.map(WindowSample::new),
            groups: options.by.clone().map(ColumnCounts::new).transpose()?,
            ids: IdCounts::default(),
        })
    }

    fn batch(
        &mut self,
        (path, first_row): (&Path, u64),
        batch: &ShardBatch,
        needles: Option<&mut Needles>,
        inputs: Option<&mut Inputs<'_>>,
    ) -> Result<(), InspectError> {
        let rows: Vec<_> =
            (0..batch.len()).map(|index| row(path, first_row, batch, index)).collect::<Result<_, _>>()?;
        let reached: Option<Vec<Vec<u8>>> = self.sequences.as_mut().map(|sequences| {
            let decide = |(ids, _): &(&[u32], &[u8])| {
                let mut mask = vec![0; ids.len()];
                sequences.decide_next(ids, &mut mask);
                mask
            };
            rows.iter().map(decide).collect()
        });
        let looked = self.look(path, first_row, batch, &rows, reached, needles.is_some())?;
        let values = match &self.groups {
            None => Vec::new(),
            Some(groups) => {
                values(path, batch, groups.column(), inputs.map(|inputs| (inputs, self.totals.0)))?
            }
        };
        let first_document = self.totals.0;
        let Self { gaps, ids, stretches, .. } = self;
        let (counted, ()) = rayon::join(
            || rows.iter().map(|(_, mask)| gaps.add(mask)).collect::<Vec<_>>(),
            || {
                for (index, (row_ids, mask)) in rows.iter().enumerate() {
                    ids.add(row_ids, mask);
                    stretches.add(batch.doc_ids().value(index), row_ids, mask);
                }
            },
        );
        for (index, ((ids, mask), stretches)) in rows.iter().zip(counted).enumerate() {
            self.totals.0 += 1;
            self.totals.1 += ids.len() as u64;
            self.totals.2 += stretches.dropped;
            if stretches.dropped == 0 {
                self.undropped.documents += 1;
                self.undropped.tokens += ids.len() as u64;
            }
            let mut decided = (0, 0);
            if let Some(looked) = &looked[index] {
                decided = (looked.tally.decided, looked.tally.dropped);
                self.note(ids, mask, looked);
            }
            if let Some(groups) = &mut self.groups {
                let value = values[index].clone();
                groups.add(DocumentCounts { value, tokens: ids.len() as u64, stretches, decided })?;
            }
        }
        if let Some(needles) = needles {
            for (number, looked) in (first_document..).zip(&looked) {
                if let Some(words) = looked.as_ref().and_then(|looked| looked.words.as_ref()) {
                    needles.add(number, words)?;
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, ids: &[u32], mask: &[u8], looked: &Looked) {
        self.counted += 1;
        // Documents with passages of protected works have none.
        if let Some(tallies) = self.tallies.as_mut().filter(|_| looked.tally.tokens == ids.len() as u64) {
            tallies[looked.rule].add(&looked.tally);
            self.too_short += u64::from(looked.tally.decided == 0);
        }
        if let Some(windows) = &mut self.windows {
            windows.add(ids, mask, &looked.decided);
        }
    }

    /// A closer look at the sampled rows, on all cores.
    fn look(
        &self,
        path: &Path,
        first_row: u64,
        batch: &ShardBatch,
        rows: &[(&[u32], &[u8])],
        reached: Option<Vec<Vec<u8>>>,
        with_words: bool,
    ) -> Result<Vec<Option<Looked>>, InspectError> {
        let doc_ids = batch.doc_ids();
        let chosen: Vec<bool> =
            (0..rows.len()).map(|index| self.sample.contains(doc_ids.value(index))).collect();
        let look = |index: usize| -> Result<Option<Looked>, InspectError> {
            if !chosen[index] {
                return Ok(None);
            }
            let (ids, mask) = rows[index];
            let (mut text, mut spans) = (String::new(), Vec::new());
            let unreadable =
                |problem| InspectError::Row { path: path.to_owned(), row: first_row + index as u64, problem };
            if let Some(reader) = self.text {
                reader.read(ids, &mut text, &mut spans).map_err(|error| unreadable(error.to_string()))?;
            }
            let rule = batch.rule(self.manifest, index).map_err(unreadable)?;
            let is_counted = self.tallies.is_some()
                && !self.by_works.contains(&document_key(batch.doc_ids().value(index)));
            let (tally, decided) = match (&reached, is_counted) {
                (_, false) => (Tally::default(), vec![1; ids.len()]),
                (Some(reached), true) => {
                    let decided = &reached[index];
                    (Tally::of_tokens(self.reach, ids, decided, mask), decided.clone())
                }
                (None, true) => {
                    let (spec, exempt_ids) = self.rules[rule];
                    let mut tallier = TokenCounter::new(spec.definition(), exempt_ids)?;
                    let key = document_key(batch.doc_ids().value(index));
                    let span = TokenSpan::document(ids).with_key(key).with_text(&text, &spans);
                    let (tally, decided) = tallier.count(&span, mask);
                    (tally, decided.to_vec())
                }
            };
            let mut words = None;
            if with_words && self.indexed.contains(doc_ids.value(index)) {
                words.insert(TextWords::default()).read(&text)?;
            }
            Ok(Some(Looked { rule, tally, decided, words }))
        };
        (0..rows.len()).into_par_iter().map(look).collect()
    }
}

/// The values of a column, one a row, as text; or the inputs, where the batch starts at a document of them all.
fn values(
    path: &Path,
    batch: &ShardBatch,
    column: &str,
    inputs: Option<(&mut Inputs<'_>, u64)>,
) -> Result<Vec<Option<String>>, InspectError> {
    let batch = batch.record_batch();
    if let Some(values) = batch.column_by_name(column) {
        let cell = |source| InspectError::Cell { path: path.to_owned(), column: column.to_owned(), source };
        return texts(values).map_err(cell);
    }
    let Some((inputs, first)) = inputs else {
        let schema = batch.schema();
        let found =
            schema.fields().iter().map(|field| field.name().clone()).chain([INPUT.to_owned()]).collect();
        return Err(InspectError::Column { column: column.to_owned(), found });
    };
    Ok((first..first + batch.num_rows() as u64)
        .map(|document| inputs.of(document))
        .collect::<Result<_, _>>()?)
}

fn texts(values: &ArrayRef) -> Result<Vec<Option<String>>, arrow::error::ArrowError> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(values, &options)?;
    let text = |row| match values.is_null(row) {
        true => Ok(None),
        false => formatter.value(row).try_to_string().map(Some),
    };
    (0..values.len()).map(text).collect()
}
