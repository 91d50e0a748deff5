//! Passages of protected works in masks that are decided again.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use goldfish_mask::{TextWords, document_key};
use goldfish_shard::{Manifest, PassageRow, ProtectedEntry, ShardError, read_passages};

use crate::PipelineError;
use crate::job_error::JobError;
use crate::protect::{MOVED, Protecting, Protection};

/// The passages of a folder.
pub(super) enum Copies<'a> {
    /// Without the works, their passages keep the masks that they have.
    Listed(Box<Listed>),
    /// With the works they are found and decided again.
    Found(Box<Found<'a>>),
}

#[derive(Default)]
pub(super) struct Listed {
    /// Words of documents by the keys of their ids.
    passages: HashMap<u64, Vec<Range<u32>>>,
    words: TextWords,
    by_work: Vec<bool>,
}

pub(super) struct Found<'a> {
    protecting: Protecting<'a>,
    /// What the folder's table has of the documents that are left; nothing once it had something else, which is reported once.
    table: Option<Box<dyn Iterator<Item = Result<PassageRow, ShardError>>>>,
    found: Vec<PassageRow>,
}

impl<'a> Copies<'a> {
    pub(super) fn new(
        folder: &Path,
        manifest: &Manifest,
        works: Option<&'a Protection>,
    ) -> Result<Self, PipelineError> {
        let table = read_passages(folder, manifest)?;
        let Some(works) = works else {
            let mut listed = Listed::default();
            for passage in table.into_iter().flatten() {
                let passage = passage?;
                let words = passage.doc_start..passage.doc_end;
                listed.passages.entry(document_key(&passage.doc_id)).or_default().push(words);
            }
            return Ok(Self::Listed(Box::new(listed)));
        };
        let Some(stated) = &manifest.protected else { return Err(JobError::NothingProtected.into()) };
        let ours = ProtectedEntry { only: stated.only, ..works.entry() };
        if stated.uncounted() != ours {
            return Err(JobError::OtherWorks { expected: stated.digest.clone(), found: ours.digest }.into());
        }
        let table: Box<dyn Iterator<Item = _>> = match table {
            Some(table) => Box::new(table),
            None => Box::new(std::iter::empty()),
        };
        let (protecting, table, found) = (Protecting::new(works), Some(table), Vec::new());
        Ok(Self::Found(Box::new(Found { protecting, table, found })))
    }

    /// Whether anything can only be decided by the text.
    pub(super) fn need_text(&self) -> bool {
        match self {
            Self::Listed(listed) => !listed.passages.is_empty(),
            Self::Found(_) => true,
        }
    }

    /// Whether a document has passages, or may have some.
    pub(super) fn concern(&self, doc_id: &str) -> bool {
        match self {
            Self::Listed(listed) => listed.passages.contains_key(&document_key(doc_id)),
            Self::Found(_) => true,
        }
    }

    /// Decides the tokens of a document's passages, which have these parts of the text, in a mask that its rule decided. Whether there
    /// are any; or what is wrong.
    pub(super) fn decide(
        &mut self,
        doc_id: &str,
        (text, spans): (&str, &[(usize, usize)]),
        stored: &[u8],
        mask: &mut [u8],
    ) -> Result<bool, String> {
        match self {
            Self::Listed(listed) => listed.decide(doc_id, (text, spans), stored, mask),
            Self::Found(found) => found.decide(doc_id, (text, spans), mask),
        }
    }

    /// What is wrong after the last document.
    pub(super) fn finish(self) -> Option<String> {
        let Self::Found(found) = self else { return None };
        found.table?.next().map(|_| "lists passages that no document has".to_owned())
    }
}

impl Listed {
    fn decide(
        &mut self,
        doc_id: &str,
        (text, spans): (&str, &[(usize, usize)]),
        stored: &[u8],
        mask: &mut [u8],
    ) -> Result<bool, String> {
        let Self { passages, words, by_work } = self;
        let Some(passages) = passages.get(&document_key(doc_id)) else { return Ok(false) };
        words.read(text).map_err(|error| error.to_string())?;
        by_work.clear();
        by_work.resize(words.len(), false);
        // Words close to a passage may be the work's too.
        for passage in passages {
            let end = (passage.end.saturating_add(MOVED) as usize).min(by_work.len());
            let start = (passage.start.saturating_sub(MOVED) as usize).min(end);
            by_work[start..end].fill(true);
        }
        for ((keep, stored), &(start, end)) in mask.iter_mut().zip(stored).zip(spans) {
            if by_work[words.overlapping(start..end)].contains(&true) {
                *keep = *stored;
            }
        }
        Ok(true)
    }
}

impl Found<'_> {
    fn decide(
        &mut self,
        doc_id: &str,
        text: (&str, &[(usize, usize)]),
        mask: &mut [u8],
    ) -> Result<bool, String> {
        let Self { protecting, table, found } = self;
        found.clear();
        let words = protecting.apply(doc_id, text, mask, found).map_err(|error| error.to_string())?;
        for passage in &*found {
            let Some(rows) = table else { break };
            let listed = rows.next().transpose().map_err(|error| error.to_string())?;
            if listed.as_ref() != Some(passage) {
                *table = None;
                let PassageRow { work_id, doc_start, doc_end, .. } = passage;
                return Err(format!(
                    "its words {doc_start} to {doc_end} copy the work {work_id:?}, which the table of passages doesn't have there"
                ));
            }
        }
        Ok(words > 0)
    }
}
