//! Protected works: passages of documents that copy one get the mask of the work itself.

use std::collections::HashSet;
use std::io::Write;

use arrow::array::BooleanBufferBuilder;
use goldfish_corpus::{Content, Input, ReadOptions, Reject, for_each_text};
use goldfish_digest::HashingWriter;
use goldfish_mask::{Masker, RuleSpec, TextWords, TokenSpan, document_key};
use goldfish_match::{Block, Index, IndexBuilder, Parameters, Passage, Search};
use goldfish_shard::{PassageRow, ProtectedCounts, ProtectedEntry};

use crate::PipelineError;
use crate::job_error::JobError;

/// What is protected, as a policy says it.
#[derive(Debug, Clone, PartialEq)]
pub struct ProtectOptions {
    /// A file, folder or glob with the works.
    pub works: String,
    /// Column with the texts of works.
    pub text_column: String,
    /// Column with their ids; text files are called by their name and row.
    pub id_column: String,
    /// The rule of the works' own masks.
    pub rule: RuleSpec,
    /// The fewest words that a passage has in common with a work, if not the default.
    pub least_words: Option<u32>,
}

/// Works with their own masks, and the index that finds copies of them. Threads share it.
#[derive(Debug)]
pub struct Protection {
    index: Index,
    rule: RuleSpec,
    digest: String,
    /// Whether each word of all works is dropped, in the order of the index.
    dropped: BooleanBufferBuilder,
}

impl Protection {
    /// Reads the works twice, and decides each by the rule. Where works have passages in common, they get the decisions of the
    /// first of them, so that it doesn't matter which of the works a passage is a copy of.
    ///
    /// # Errors
    ///
    /// If a work can't be read, the works change in between, there are none or too many, or the rule can't be built.
    pub fn read(options: &ProtectOptions, works: &[Input]) -> Result<Self, PipelineError> {
        let mut read = ReadOptions::new(Content::Text { column: options.text_column.clone() });
        read.id_column = Some(options.id_column.clone());
        let mut parameters = Parameters::default();
        parameters.least_words = options.least_words.unwrap_or(parameters.least_words);
        let masker = Masker::new(options.rule.build(None)?, &[]);
        let mut builder = IndexBuilder::new(parameters).map_err(JobError::from)?;
        let (mut ids, mut dropped) = (HashSet::new(), BooleanBufferBuilder::new(0));
        let (mut words, mut spans, mut mask) = (TextWords::default(), Vec::new(), Vec::new());
        let digest = for_each_work(works, &read, &mut |id, text| {
            if !ids.insert(document_key(id)) {
                return Err(JobError::WorkTwice { id: id.to_owned() }.into());
            }
            builder.add(id, text).map_err(JobError::from)?;
            words.read(text)?;
            spans.clear();
            spans.extend(
                (0..words.len()).map(|word| words.source(word)).map(|source| (source.start, source.end)),
            );
            mask.clear();
            mask.resize(words.len(), 1);
            // Each word is a token of its own.
            let ids = vec![0; words.len()];
            masker.decide(&TokenSpan::document(&ids).with_text(text, &spans), &mut mask);
            mask.iter().for_each(|keep| dropped.append(*keep == 0));
            Ok(())
        })?;
        let index = builder.build();
        if index.works() == 0 {
            return Err(JobError::NoWorks.into());
        }
        let mut protection = Self { index, rule: options.rule.clone(), digest, dropped };
        protection.share_passages(works, &read)?;
        Ok(protection)
    }

    /// Reads the works again. Of words that an earlier place of a work has too, the first place decides.
    fn share_passages(&mut self, works: &[Input], read: &ReadOptions) -> Result<(), PipelineError> {
        let Self { index, dropped, .. } = self;
        let mut search = Search::new(index);
        let (mut words, mut number) = (TextWords::default(), 0);
        let mut sources: Vec<usize> = Vec::new();
        let digest = for_each_work(works, read, &mut |_, text| {
            words.read(text)?;
            let own = index.range(number);
            if own.len() != words.len() {
                return Err(JobError::WorksChanged.into());
            }
            number += 1;
            sources.clear();
            sources.extend(own.clone());
            for passage in search.find(&words) {
                let work = index.range(passage.work).start;
                for (word, place) in passage_words(passage) {
                    sources[word] = sources[word].min(work + place);
                }
            }
            // In order, so that a source has its last decision before it is a source.
            for (word, &source) in own.zip(&sources).filter(|(word, source)| *source < word) {
                dropped.set_bit(word, dropped.get_bit(source));
            }
            Ok(())
        })?;
        if digest != self.digest {
            return Err(JobError::WorksChanged.into());
        }
        Ok(())
    }

    /// For the manifest, before anything is masked.
    pub(crate) fn entry(&self) -> ProtectedEntry {
        let parameters = self.index.parameters();
        ProtectedEntry {
            works: self.index.works() as u64,
            words: self.index.all_words(),
            digest: self.digest.clone(),
            rule: self.rule.clone(),
            guaranteed_run: parameters.guaranteed(),
            least_words: parameters.least_words,
            most_edits: parameters.most_edits,
            only: false,
            counts: ProtectedCounts::default(),
            table: None,
        }
    }

    /// How many works have fewer words than a passage has at least, so that no copy of them is found.
    #[must_use]
    pub fn short_works(&self) -> usize {
        let least = self.index.parameters().least_words;
        (0..self.index.works() as u32).filter(|work| self.index.words(*work) < least).count()
    }
}

/// The words of a passage: each with its place in the document and in the work.
fn passage_words(passage: &Passage) -> impl Iterator<Item = (usize, usize)> {
    let of_block = |block: &Block| {
        let (doc, work) = (block.doc_start as usize, block.work_start as usize);
        (0..block.words as usize).map(move |word| (doc + word, work + word))
    };
    passage.blocks.iter().flat_map(of_block)
}

/// How far a word may have moved: a transposed word is away by one, and beyond the last edit of a copy there may be too few words
/// to be aligned.
pub(crate) const MOVED: u32 = 4;

/// Words between the blocks of a passage, and close around it, that the work has there too, in whatever order. Each with its place
/// in the document and in the work.
fn moved_words(index: &Index, passage: &Passage, words: &TextWords) -> Vec<(usize, usize)> {
    let (of_work, of_document) = (passage.work_words(), passage.doc_words());
    let limit = u32::try_from(words.len()).unwrap_or(u32::MAX);
    let before = |start: u32| start.saturating_sub(MOVED)..start;
    let after = |end: u32, limit: u32| end..end.saturating_add(MOVED).min(limit);
    let mut gaps = vec![[before(of_work.start), before(of_document.start)]];
    gaps.extend(passage.blocks.windows(2).map(|pair| {
        let (one, next) = (&pair[0], &pair[1]);
        [one.work_end()..next.work_start, one.doc_end()..next.doc_start]
    }));
    gaps.push([after(of_work.end, index.words(passage.work)), after(of_document.end, limit)]);
    // In rising order.
    let places: Vec<u32> = gaps.iter().flat_map(|[places, _]| places.clone()).collect();
    let mut used = vec![false; places.len()];
    let mut found = Vec::new();
    for [gap, document] in gaps {
        for word in document {
            let near = gap.start.saturating_sub(MOVED)..gap.end.saturating_add(MOVED);
            let first = places.partition_point(|place| *place < near.start);
            let near = places[first..].iter().zip(first..).take_while(|(place, _)| near.contains(*place));
            let same = |place: u32| index.word(passage.work, place) == Some(words.bytes(word as usize));
            if let Some((&place, at)) = near.into_iter().find(|&(place, at)| !used[at] && same(*place)) {
                used[at] = true;
                found.push((word as usize, place as usize));
            }
        }
    }
    found
}

/// Calls `add` with the id and the text of each work, in order; returns a hash of them all.
fn for_each_work(
    works: &[Input],
    read: &ReadOptions,
    add: &mut dyn FnMut(&str, &str) -> Result<(), PipelineError>,
) -> Result<String, PipelineError> {
    let mut hash = HashingWriter::new(std::io::sink());
    // A work that is left out would not be protected.
    let bad = |Reject { file, row, reason, .. }| JobError::BadWork { file, row, reason }.into();
    for_each_text(works, read, bad, &mut |id, text| {
        for part in [id, text] {
            // Lengths, so that no other texts give the same bytes. Writing to a sink can't fail.
            let _ = hash.write_all(&(part.len() as u64).to_le_bytes());
            let _ = hash.write_all(part.as_bytes());
        }
        add(id, text)
    })?;
    Ok(hash.finish().0.hash)
}

/// Searches documents and carries masks over.
pub(crate) struct Protecting<'a> {
    protection: &'a Protection,
    search: Search<'a>,
    words: TextWords,
    /// What is decided about each word of the document.
    decided: Vec<Word>,
}

/// What is decided about a word of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// It copies no work.
    ByRule,
    Kept,
    Dropped,
}

impl<'a> Protecting<'a> {
    pub(crate) fn new(protection: &'a Protection) -> Self {
        let (words, decided) = Default::default();
        Self { protection, search: Search::new(&protection.index), words, decided }
    }

    /// Decides the tokens of a document that copy a work, and adds the passages with how many words of the document they have.
    ///
    /// A token that reaches into other words too is dropped if its rule drops it or the work drops one of its words.
    pub(crate) fn apply(
        &mut self,
        doc_id: &str,
        (text, spans): (&str, &[(usize, usize)]),
        mask: &mut [u8],
        passages: &mut Vec<PassageRow>,
    ) -> Result<u64, PipelineError> {
        let Self { protection, search, words, decided } = self;
        words.read(text)?;
        let found = search.find(words);
        if found.is_empty() {
            return Ok(0);
        }
        decided.clear();
        decided.resize(words.len(), Word::ByRule);
        // The preferred passage of a word comes first.
        let mut decide = |passage: &Passage, (word, place): (usize, usize)| {
            if decided[word] == Word::ByRule {
                let work = protection.index.range(passage.work).start;
                let dropped = protection.dropped.get_bit(work + place);
                decided[word] = if dropped { Word::Dropped } else { Word::Kept };
            }
        };
        for passage in found {
            passage_words(passage).for_each(|word| decide(passage, word));
            passages.push(row(protection, passage, doc_id));
        }
        for passage in found {
            moved_words(&protection.index, passage, words).into_iter().for_each(|word| decide(passage, word));
        }
        for (keep, &(start, end)) in mask.iter_mut().zip(spans) {
            let (mut protected, mut dropped, mut by_rule) = (false, false, false);
            for word in &decided[words.overlapping(start..end)] {
                match word {
                    Word::ByRule => by_rule = true,
                    Word::Kept => protected = true,
                    Word::Dropped => (protected, dropped) = (true, true),
                }
            }
            if protected {
                *keep = if dropped { 0 } else { *keep | u8::from(!by_rule) };
            }
        }
        Ok(decided.iter().filter(|word| **word != Word::ByRule).count() as u64)
    }
}

fn row(protection: &Protection, passage: &Passage, doc_id: &str) -> PassageRow {
    let (of_work, of_document) = (passage.work_words(), passage.doc_words());
    PassageRow {
        work_id: protection.index.id(passage.work).unwrap_or_default().to_owned(),
        doc_id: doc_id.to_owned(),
        work_start: of_work.start,
        work_end: of_work.end,
        doc_start: of_document.start,
        doc_end: of_document.end,
        words: passage.words,
        edits: passage.edits,
    }
}
