//! Protected works and their copies.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use goldfish_pipeline::{ProtectOptions, Protection};
use goldfish_shard::{Manifest, read_passages};
use serde::Serialize;

use crate::files::works_of;
use crate::print::{self, count, name};
use crate::terminal::lines_of;

/// Reads the protected works of a policy in this file.
pub(crate) fn read(policy: &Path, options: &ProtectOptions) -> anyhow::Result<Arc<Protection>> {
    let works = works_of(policy, options)?;
    print::note_unread(&works);
    let protection = Protection::read(options, &works.inputs)?;
    match protection.short_works() {
        0 => {}
        short => print::warn(&format!(
            "{} too few words to be found anywhere: a passage needs as many as least_words says, or 12",
            if short == 1 { "1 work has".into() } else { format!("{} works have", count(short as u64)) }
        )),
    }
    Ok(Arc::new(protection))
}

/// The copies of a protected work.
#[derive(Debug, Serialize)]
pub(crate) struct Copies {
    work_id: String,
    documents: u64,
    passages: u64,
    /// Words in common with the work.
    words: u64,
    edits: u64,
}

/// The works that documents copy, those with the most words in common first.
pub(crate) fn copies(folder: &Path, manifest: &Manifest) -> anyhow::Result<Vec<Copies>> {
    let mut works: BTreeMap<String, (Copies, String)> = BTreeMap::new();
    for passage in read_passages(folder, manifest)?.into_iter().flatten() {
        let passage = passage?;
        let (copies, last) = works.entry(passage.work_id.clone()).or_insert_with(|| {
            let none =
                Copies { work_id: passage.work_id.clone(), documents: 0, passages: 0, words: 0, edits: 0 };
            (none, String::new())
        });
        // The passages of a document follow each other.
        copies.documents += u64::from(copies.passages == 0 || *last != passage.doc_id);
        *last = passage.doc_id;
        copies.passages += 1;
        copies.words += u64::from(passage.words);
        copies.edits += u64::from(passage.edits);
    }
    let mut works: Vec<Copies> = works.into_values().map(|(copies, _)| copies).collect();
    works.sort_by_key(|copies| std::cmp::Reverse(copies.words));
    Ok(works)
}

/// Rows of a table that are shown.
const SHOWN_ROWS: usize = 20;

/// The works in a table.
pub(crate) fn table(works: &[Copies]) -> Vec<String> {
    if works.is_empty() {
        return Vec::new();
    }
    let row = |copies: &Copies| {
        let Copies { work_id, documents, passages, words, edits } = copies;
        let [documents, passages, words, edits] = [documents, passages, words, edits].map(|n| count(*n));
        [name(work_id), documents, passages, words, edits]
    };
    let rows: Vec<_> = works.iter().take(SHOWN_ROWS).map(row).collect();
    let heads = ["protected work", "documents", "passages", "words", "edits"];
    let mut lines = lines_of(&heads, &rows);
    if works.len() > SHOWN_ROWS {
        lines.push(format!("… and {} more; --json lists all", works.len() - SHOWN_ROWS));
    }
    lines
}
