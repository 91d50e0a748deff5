//! The way through the shards: read, count, merge.

use std::path::Path;

use goldfish_mask::{Coverage, Masker, document_key};
use goldfish_pipeline::ShardText;
use goldfish_shard::{Manifest, read_passages};
use rayon::prelude::*;

use crate::counting::{Counting, Sums};
use crate::duplicates::{Against, Copies, Document, DocumentWords, Finder, Found, Masks, Needles, Search};
use crate::error::InspectError;
use crate::merging::Merging;
use crate::options::InspectOptions;
use crate::reading::Reading;
use crate::report::{Duplicates, Inspection};
use crate::sample::DocumentSample;
use crate::shards::batches;

/// Tokens of the documents that are indexed where copies are looked for, about.
const MOST_INDEXED: u64 = 1 << 24;

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
    let needles = match (&options.duplicates, text) {
        (None, _) => None,
        (Some(_), None) => return Err(InspectError::NoText),
        (Some(_), Some(_)) => Some(Needles::new(true)?),
    };
    let rules = manifest.rules();
    let tallied = text.is_some() || !rules.iter().any(|(rule, _)| rule.definition().needs_text());
    let reach = Masker::new(manifest.rule.build_coverage(Coverage::Decided)?, &manifest.exempt_ids);
    let windows = if manifest.policy.is_empty() { manifest.rule.window_keys() } else { None };
    let sample = |tokens: u64| DocumentSample::new(tokens, manifest.totals.tokens, options.seed);
    let mut reading = Reading::new(folder, manifest, &reach)?;
    let counting = Counting {
        manifest,
        rules,
        text,
        sample: sample(options.sample_tokens),
        indexed: needles.is_some().then(|| sample(options.sample_tokens.min(MOST_INDEXED))),
        reach: &reach,
        tallied,
        by_works: read_passages(folder, manifest)?
            .into_iter()
            .flatten()
            .map(|passage| Ok(document_key(&passage?.doc_id)))
            .collect::<Result<_, InspectError>>()?,
        windows: windows.as_ref(),
        sums: Sums::new(),
    };
    let mut merging =
        Merging::new(folder, manifest, tallied, windows.as_ref(), options.by.as_deref(), needles)?;

    // Of three groups that follow each other, the first is merged while the second is counted and the third is read.
    let mut read = reading.next_group()?;
    let (mut counted_group, mut counts) = (Vec::new(), Vec::new());
    while !read.is_empty() || !counted_group.is_empty() {
        let limit = merging.limit();
        let (mut next, mut counted) = (Ok(Vec::new()), Ok(Vec::new()));
        rayon::in_place_scope(|scope| {
            scope.spawn(|_| next = reading.next_group());
            scope.spawn(|_| counted = counting.count(&read, limit));
            merging.add(&counted_group, counts)
        })?;
        counts = counted?;
        counted_group = std::mem::replace(&mut read, next?);
        observe(merging.documents());
    }

    let seen = merging.documents();
    let duplicates = match (merging.take_needles(), options.duplicates) {
        (Some(needles), Some(duplicates)) => {
            let mut search = needles.build(duplicates, options.seed);
            look_for_copies(&mut search, text, folder, manifest, &mut |searched| observe(seen + searched))?;
            let masks = Masks { rule: &manifest.rule, scope: manifest.scope, exempt: &manifest.exempt_ids };
            let found = search.found(&masks, text, Against::All)?;
            Some(compare(found, folder, manifest, &mut |compared| observe(2 * seen + compared))?)
        }
        _ => None,
    };
    merging.report(counting.sums, text, duplicates)
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
        let batch = batch?;
        let find = |(finder, words): &mut (Finder<'_>, DocumentWords<'_>), row: usize| {
            let (ids, _) = batch.row(row)?;
            let words = words.read(ids).map_err(|error| batch.error(row, error.to_string()))?;
            Ok(finder.find(number + row as u64, words))
        };
        let scratch = || (search.finder(), DocumentWords::new(text));
        let rows = (0..batch.rows.len()).into_par_iter();
        let copies: Vec<Copies> = rows.map_init(scratch, find).collect::<Result<_, InspectError>>()?;
        copies.iter().for_each(|copies| search.note(copies));
        number += batch.rows.len() as u64;
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
        let batch = batch?;
        let mut documents = Vec::new();
        for row in (0..batch.rows.len()).filter(|&row| found.wants(number + row as u64)) {
            let (ids, mask) = batch.row(row)?;
            let doc_id = batch.rows.doc_ids().value(row);
            documents.push(Document { number: number + row as u64, doc_id, ids, mask });
        }
        found.read(&documents)?;
        number += batch.rows.len() as u64;
        observe(number);
    }
    Ok(found.compare())
}
