//! The second step: documents are counted and looked at, on all threads and in any order.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use goldfish_mask::diagnostics::{Tally, TokenCounter, WindowKeys};
use goldfish_mask::{Masker, RuleSpec, TextWords, TokenSpan, document_key};
use goldfish_pipeline::ShardText;
use goldfish_shard::Manifest;
use rayon::prelude::*;

use crate::error::InspectError;
use crate::gaps::{GapCounts, Stretches};
use crate::ids::IdCounts;
use crate::reading::Read;
use crate::sample::DocumentSample;
use crate::windows::{self, Window};

/// Counts documents.
pub(crate) struct Counting<'a> {
    pub(crate) manifest: &'a Manifest,
    /// The rules, each with the ids that it never drops.
    pub(crate) rules: Vec<(&'a RuleSpec, &'a [u32])>,
    pub(crate) text: Option<&'a ShardText>,
    /// The documents that are looked at closely.
    pub(crate) sample: DocumentSample,
    /// Of these, the documents that are indexed, where copies are looked for.
    pub(crate) indexed: Option<DocumentSample>,
    pub(crate) reach: &'a Masker,
    /// Whether there is what the rules decide by.
    pub(crate) tallied: bool,
    /// Keys of the documents with passages of protected works, which have no tally.
    pub(crate) by_works: HashSet<u64>,
    pub(crate) windows: Option<&'a WindowKeys<'a>>,
    pub(crate) sums: Sums,
}

/// Counts of all documents, by the thread that counted.
pub(crate) struct Sums(Vec<Mutex<(GapCounts, IdCounts)>>);

/// What was counted of a document.
pub(crate) struct Counted {
    pub(crate) stretches: Stretches,
    /// Of a sampled document.
    pub(crate) looked: Option<Looked>,
}

/// What a closer look at a document shows.
pub(crate) struct Looked {
    /// The number of the rule that decided it.
    pub(crate) rule: usize,
    pub(crate) tally: Option<Tally>,
    pub(crate) windows: Vec<Window>,
    /// Where the document is indexed.
    pub(crate) words: Option<TextWords>,
}

impl Sums {
    pub(crate) fn new() -> Self {
        Self((0..rayon::current_num_threads()).map(|_| Mutex::default()).collect())
    }

    fn add(&self, ids: &[u32], mask: &[u8]) -> Stretches {
        let own = rayon::current_thread_index().unwrap_or(0) % self.0.len();
        let (gaps, by_id) = &mut *self.0[own].lock().unwrap_or_else(PoisonError::into_inner);
        by_id.add(ids, mask);
        gaps.add(mask)
    }

    /// The sums of all threads.
    pub(crate) fn total(self) -> (GapCounts, IdCounts) {
        let of_threads =
            self.0.into_iter().map(|sums| sums.into_inner().unwrap_or_else(PoisonError::into_inner));
        of_threads.fold(Default::default(), |(mut gaps, mut by_id): (GapCounts, IdCounts), other| {
            gaps.join(&other.0);
            by_id.join(&other.1);
            (gaps, by_id)
        })
    }
}

impl Counting<'_> {
    /// Counts the documents of a group. Windows whose hash is above `limit` need not be noted.
    pub(crate) fn count(&self, group: &[Read], limit: u64) -> Result<Vec<Counted>, InspectError> {
        let rows = |read| (0..Read::len(read)).map(move |row| (read, row));
        let rows: Vec<(&Read, usize)> = group.iter().flat_map(rows).collect();
        let count = |(read, row): (&Read, usize)| {
            let (ids, mask) = read.batch.row(row)?;
            let looked = self.look(read, row, (ids, mask), limit)?;
            Ok(Counted { stretches: self.sums.add(ids, mask), looked })
        };
        let counted: Vec<Result<Counted, InspectError>> = rows.into_par_iter().map(count).collect();
        // Of several errors the first.
        counted.into_iter().collect()
    }

    /// A closer look at a row, if it is sampled.
    fn look(
        &self,
        Read { batch, reached }: &Read,
        row: usize,
        (ids, mask): (&[u32], &[u8]),
        limit: u64,
    ) -> Result<Option<Looked>, InspectError> {
        let doc_id = batch.rows.doc_ids().value(row);
        if !self.sample.contains(doc_id) {
            return Ok(None);
        }
        let (mut text, mut spans) = (String::new(), Vec::new());
        if let Some(reader) = self.text {
            reader.read(ids, &mut text, &mut spans).map_err(|error| batch.error(row, error.to_string()))?;
        }
        let rule = batch.rows.rule(self.manifest, row).map_err(|problem| batch.error(row, problem))?;
        let key = document_key(doc_id);
        let (mut tally, mut windows) = (None, Vec::new());
        if self.tallied && !self.by_works.contains(&key) {
            let (spec, exempt_ids) = self.rules[rule];
            let mut counter;
            let (counts, decided) = match reached {
                Some(reached) => {
                    let decided = reached[row].as_slice();
                    (Tally::of_tokens(self.reach, ids, decided, mask), decided)
                }
                None => {
                    counter = TokenCounter::new(spec.definition(), exempt_ids)?;
                    let span = TokenSpan::document(ids).with_key(key).with_text(&text, &spans);
                    counter.count(&span, mask)
                }
            };
            tally = Some(counts);
            if let Some(keys) = self.windows {
                windows = windows::windows(keys, ids, decided, limit);
            }
        }
        let mut words = None;
        if self.indexed.is_some_and(|indexed| indexed.contains(doc_id)) {
            words.insert(TextWords::default()).read(&text)?;
        }
        Ok(Some(Looked { rule, tally, windows, words }))
    }
}
