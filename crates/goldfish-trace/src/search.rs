//! The search of documents for the texts.

use std::ops::Range;

use goldfish_mask::TextWords;
use goldfish_match::{Index, Passage, Search};
use goldfish_pipeline::{PipelineError, ScannedDocument, Scanner};

use crate::hits::{
    CONTEXT_BYTES, CopiedDocument, EDITED_STEP, EditedPlace, Hits, Place, Run, join_ranges, place_key,
};
use crate::needles::Needles;

/// The texts, as documents are searched for them.
#[derive(Debug)]
pub(crate) struct Searched {
    /// Finds passages, edited or not; its works are the texts of the needles.
    pub(crate) index: Index,
    pub(crate) needles: Needles,
    /// Words of the shortest run.
    pub(crate) least: u32,
    /// Chooses which places are kept.
    pub(crate) seed: u64,
}

impl Scanner for Searched {
    type Found = Hits;

    fn scan(&self, documents: &[ScannedDocument<'_>], hits: &mut Hits) -> Result<(), PipelineError> {
        let mut search = Search::new(&self.index);
        let mut words = TextWords::default();
        let mut numbers = Vec::new();
        for document in documents {
            words.read(document.text)?;
            let passages = search.find(&words);
            if !passages.is_empty() {
                let document = Document { searched: self, words: &words, document };
                document.note(passages, &mut numbers, hits);
            }
        }
        Ok(())
    }
}

/// A document with passages.
struct Document<'a> {
    searched: &'a Searched,
    words: &'a TextWords,
    document: &'a ScannedDocument<'a>,
}

impl Document<'_> {
    fn note(&self, passages: &[Passage], numbers: &mut Vec<u32>, hits: &mut Hits) {
        let source = hits.source(self.document.source);
        for passage in passages.iter().filter(|passage| passage.edits > 0) {
            self.note_edited(passage, source, hits);
        }
        let (mut words, mut runs) = (0, 0);
        for region in regions(passages) {
            self.searched.needles.numbers(self.words, region.clone(), numbers);
            let mut end = 0;
            for_each_run(&self.searched.needles, self.searched.least, numbers, |start, run| {
                let first = region.start + start;
                let last = start + run.words as usize;
                words += last.saturating_sub(start.max(end)) as u64;
                end = end.max(last);
                runs += 1;
                let key = self.key(first);
                let places = hits.runs.entry(run).or_default();
                places.add(source, key, || self.place(source, key, first..region.start + last));
            });
        }
        hits.documents_found += 1;
        let doc_id = self.document.doc_id.to_owned();
        hits.note_document(CopiedDocument { doc_id, source, words, runs });
    }

    fn note_edited(&self, passage: &Passage, source: u32, hits: &mut Hits) {
        let start = self.searched.needles.range(passage.work as usize).start;
        for block in &passage.blocks {
            hits.note_edited(start + block.work_start..start + block.work_end());
        }
        let (of_text, of_document) = (passage.work_words(), passage.doc_words());
        let key = self.key(of_document.start as usize);
        let part = (passage.work, of_text.start / EDITED_STEP);
        let places = hits.edited.entry(part).or_default();
        places.add(source, EditedPlace::rank_of(passage.words, key), || EditedPlace {
            place: self.place(source, key, of_document.start as usize..of_document.end as usize),
            positions: (start + of_text.start, start + of_text.end),
            words: passage.words,
            edits: passage.edits,
        });
    }

    fn key(&self, word: usize) -> u64 {
        place_key(self.document.doc_id, self.words.source(word).start, self.searched.seed)
    }

    fn place(&self, source: u32, key: u64, range: Range<usize>) -> Place {
        let text = self.document.text;
        let words: Vec<(u32, u32)> = range
            .map(|word| self.words.source(word))
            // A document has less than 4 GiB.
            .map(|part| (part.start as u32, part.end as u32))
            .collect();
        let start = words.first().map_or(0, |word| word.0 as usize);
        let end = words.last().map_or(start, |word| word.1 as usize);
        let from = text.floor_char_boundary(start.saturating_sub(CONTEXT_BYTES));
        let to = text.ceil_char_boundary((end + CONTEXT_BYTES).min(text.len()));
        Place {
            key,
            doc_id: self.document.doc_id.to_owned(),
            source,
            words,
            before: text[from..start].to_owned(),
            text: text[start..end].to_owned(),
            after: text[end..to].to_owned(),
        }
    }
}

/// The words of a document that are in blocks of passages, as ranges that neither overlap nor touch. A run of the guaranteed
/// length that a text has too lies in one of them.
fn regions(passages: &[Passage]) -> Vec<Range<usize>> {
    let blocks = passages.iter().flat_map(|passage| &passage.blocks);
    let mut ranges: Vec<(u32, u32)> = blocks.map(|block| (block.doc_start, block.doc_end())).collect();
    join_ranges(&mut ranges);
    ranges.into_iter().map(|(start, end)| start as usize..end as usize).collect()
}

/// Calls `each` with every longest run of at least `least` words that the texts have too: its first word, and what it is. A run
/// that lies in another one is not a longest one.
///
/// Every word at which a run of `least` words starts that the texts have is one of the [`starts`](Run::starts) of exactly one
/// run, and nothing longer starts there that the texts have than the rest of that run.
fn for_each_run(needles: &Needles, least: u32, words: &[u32], mut each: impl FnMut(usize, Run)) {
    let shortest = least as usize;
    let mut start = 0;
    while start + shortest <= words.len() {
        let (position, length) = needles.longest(&words[start..]);
        if length < least {
            start += 1;
            continue;
        }
        let end = start + length as usize;
        // With each further word that is left out in front, what is left is in the texts if what was longer is.
        let last = end + 1 - shortest;
        let reaches = |first: usize| end < words.len() && needles.contains(&words[first..=end]);
        let next = if !reaches(last) {
            last
        } else if reaches(start + 1) {
            start + 1
        } else {
            start + 2 + partition(last - start - 2, |n| !reaches(start + 2 + n))
        };
        each(start, Run { position, words: length, starts: (next - start) as u32 });
        start = next;
    }
}

/// How many of the first `count` numbers are so; once one isn't, none after it is.
fn partition(count: usize, is_so: impl Fn(usize) -> bool) -> usize {
    let (mut from, mut to) = (0, count);
    while from < to {
        let middle = usize::midpoint(from, to);
        if is_so(middle) { from = middle + 1 } else { to = middle }
    }
    from
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(words: &[u8]) -> String {
        words.iter().map(|word| format!("w{word} ")).collect()
    }

    proptest! {
        #[test]
        fn every_start_of_a_run_is_counted_once(
            texts in prop::collection::vec(prop::collection::vec(0u8..3, 0..12), 1..6),
            document in prop::collection::vec(0u8..4, 0..20),
            least in 2u32..4,
        ) {
            let mut needles = Needles::default();
            let mut words = TextWords::default();
            for each in &texts {
                words.read(&text(each)).unwrap();
                needles.add(&words);
            }
            needles.sort();
            words.read(&text(&document)).unwrap();
            let mut numbers = Vec::new();
            needles.numbers(&words, 0..words.len(), &mut numbers);
            let mut lengths = vec![0; numbers.len()];
            for_each_run(&needles, least, &numbers, |start, run| {
                for (word, length) in lengths[start..start + run.starts as usize].iter_mut().enumerate() {
                    assert_eq!(*length, 0, "twice");
                    *length = run.words as usize - word;
                }
            });
            for (word, length) in lengths.into_iter().enumerate() {
                let in_texts = |run: &[u8]| texts.iter().any(|text| text.windows(run.len()).any(|window| window == run));
                let longest = (least as usize..=document.len() - word)
                    .take_while(|length| in_texts(&document[word..word + length]))
                    .last();
                prop_assert_eq!(length, longest.unwrap_or(0));
            }
        }
    }
}
