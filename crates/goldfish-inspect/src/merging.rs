//! The third step: what was counted is put together, in the order of the documents.

use std::path::Path;

use arrow::array::{Array, ArrayRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use goldfish_mask::diagnostics::{Tally, Warning, WindowKeys};
use goldfish_pipeline::ShardText;
use goldfish_shard::{InputEntry, Manifest, ShardError};

use crate::counting::{Counted, Looked, Sums};
use crate::duplicates::Needles;
use crate::error::InspectError;
use crate::groups::{ColumnCounts, DocumentCounts};
use crate::rates::rates;
use crate::reading::Read;
use crate::report::{Duplicates, Inspection, TallyReport, Undropped};
use crate::shards::Batch;
use crate::stretches::StretchSearch;
use crate::windows::WindowSample;

/// The column that every folder can be grouped by: the input that a document came from.
const INPUT: &str = "input";

/// Puts together what was counted.
pub(crate) struct Merging<'a> {
    manifest: &'a Manifest,
    documents: u64,
    tokens: u64,
    dropped: u64,
    /// Documents that were looked at.
    looked: u64,
    /// By rule, if there is what it decides by.
    tallies: Option<Vec<Tally>>,
    too_short: u64,
    stretches: StretchSearch,
    undropped: Undropped,
    windows: Option<WindowSample<'a>>,
    groups: Option<ColumnCounts>,
    inputs: Option<Inputs<'a>>,
    needles: Option<Needles>,
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

impl<'a> Merging<'a> {
    /// Groups are `by` a column. The documents with words are added to `needles`.
    pub(crate) fn new(
        folder: &Path,
        manifest: &'a Manifest,
        tallied: bool,
        windows: Option<&'a WindowKeys<'a>>,
        by: Option<&str>,
        needles: Option<Needles>,
    ) -> Result<Self, InspectError> {
        let inputs = match by {
            Some(INPUT) => {
                Some(Inputs { entries: Box::new(manifest.read_inputs(folder)?), end: 0, name: None })
            }
            _ => None,
        };
        Ok(Self {
            manifest,
            documents: 0,
            tokens: 0,
            dropped: 0,
            looked: 0,
            tallies: tallied.then(|| vec![Tally::default(); manifest.rules().len()]),
            too_short: 0,
            stretches: StretchSearch::new(manifest),
            undropped: Undropped::default(),
            windows: windows.map(WindowSample::new),
            groups: by.map(|column| ColumnCounts::new(column.to_owned())).transpose()?,
            inputs,
            needles,
        })
    }

    /// Documents so far.
    pub(crate) fn documents(&self) -> u64 {
        self.documents
    }

    /// Windows whose hash is above this are of no use.
    pub(crate) fn limit(&self) -> u64 {
        self.windows.as_ref().map_or(0, WindowSample::limit)
    }

    /// Adds the next group.
    pub(crate) fn add(&mut self, group: &[Read], counted: Vec<Counted>) -> Result<(), InspectError> {
        let mut counted = counted.into_iter();
        for Read { batch, .. } in group {
            let mut values = self.values(batch)?.into_iter();
            for (row, counted) in (0..batch.rows.len()).zip(&mut counted) {
                self.add_document(batch, row, counted, values.next().flatten())?;
            }
        }
        Ok(())
    }

    fn add_document(
        &mut self,
        batch: &Batch,
        row: usize,
        Counted { stretches, looked }: Counted,
        value: Option<String>,
    ) -> Result<(), InspectError> {
        let (ids, mask) = batch.checked_row(row);
        let tokens = ids.len() as u64;
        if stretches.dropped == 0 {
            self.undropped.documents += 1;
            self.undropped.tokens += tokens;
        }
        self.stretches.add(batch.rows.doc_ids().value(row), ids, mask, stretches.longest_kept);
        let mut decided = (0, 0);
        if let Some(Looked { rule, tally, windows, words }) = looked {
            self.looked += 1;
            if let (Some(tallies), Some(tally)) = (&mut self.tallies, tally) {
                tallies[rule].add(&tally);
                self.too_short += u64::from(tally.decided == 0);
                decided = (tally.decided, tally.dropped);
            }
            if let Some(sample) = &mut self.windows {
                sample.add(&windows, ids, mask);
            }
            if let (Some(needles), Some(words)) = (&mut self.needles, words) {
                needles.add(self.documents, &words)?;
            }
        }
        if let Some(groups) = &mut self.groups {
            groups.add(DocumentCounts { value, tokens, stretches, decided })?;
        }
        self.documents += 1;
        self.tokens += tokens;
        self.dropped += stretches.dropped;
        Ok(())
    }

    /// What the next documents are grouped by: the values of a column as text, or inputs.
    fn values(&mut self, batch: &Batch) -> Result<Vec<Option<String>>, InspectError> {
        let Some(column) = self.groups.as_ref().map(ColumnCounts::column) else { return Ok(Vec::new()) };
        let rows = batch.rows.record_batch();
        if let Some(values) = rows.column_by_name(column) {
            let (path, column) = (batch.path.clone(), column.to_owned());
            return texts(values).map_err(|source| InspectError::Cell { path, column, source });
        }
        let Some(inputs) = &mut self.inputs else {
            let schema = rows.schema();
            let names = schema.fields().iter().map(|field| field.name().clone());
            let found = names.chain([INPUT.to_owned()]).collect();
            return Err(InspectError::Column { column: column.to_owned(), found });
        };
        let documents = self.documents..self.documents + rows.num_rows() as u64;
        Ok(documents.map(|document| inputs.of(document)).collect::<Result<_, _>>()?)
    }

    /// The documents that are indexed, where copies are looked for.
    pub(crate) fn take_needles(&mut self) -> Option<Needles> {
        self.needles.take()
    }

    pub(crate) fn report(
        self,
        sums: Sums,
        text: Option<&ShardText>,
        duplicates: Option<Duplicates>,
    ) -> Result<Inspection, InspectError> {
        let k = self.manifest.k();
        let (gaps, ids) = sums.total();
        let warnings =
            self.tallies.as_deref().map_or_else(Vec::new, |tallies| warnings(self.manifest, tallies));
        let tally = self.tallies.map(|tallies| {
            tallies.into_iter().fold(Tally::default(), |mut all, tally| {
                all.add(&tally);
                all
            })
        });
        Ok(Inspection {
            totals: rates(self.documents, self.tokens, self.dropped),
            tally: tally.map(|tally| TallyReport {
                documents: self.looked,
                tokens: tally.tokens,
                special: tally.special,
                blank: tally.blank(),
                head: tally.short_context(),
                decided: tally.decided,
                dropped: tally.dropped,
                decided_drop_rate: tally.decided_rate(),
                too_short: self.too_short,
            }),
            gaps: gaps.report(k),
            longest_kept: self.stretches.report(text),
            undropped: self.undropped,
            windows: self.windows.map(WindowSample::report),
            groups: self.groups.map(ColumnCounts::report).transpose()?,
            ids: ids.report(k),
            duplicates,
            warnings,
        })
    }
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

fn texts(values: &ArrayRef) -> Result<Vec<Option<String>>, arrow::error::ArrowError> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(values, &options)?;
    let text = |row| match values.is_null(row) {
        true => Ok(None),
        false => formatter.value(row).try_to_string().map(Some),
    };
    (0..values.len()).map(text).collect()
}
