//! What must hold of the passages of any document, by comparing all words with all.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::cmp::Reverse;

use goldfish_mask::TextWords;
use goldfish_match::{Index, IndexBuilder, Parameters, Passage, Search};

pub(crate) fn words_of(text: &str) -> Vec<String> {
    let mut words = TextWords::default();
    words.read(text).unwrap();
    (0..words.len()).map(|i| String::from_utf8(words.bytes(i).to_vec()).unwrap()).collect()
}

pub(crate) fn index_of(works: &[String], parameters: Parameters) -> Index {
    let mut builder = IndexBuilder::new(parameters).unwrap();
    works.iter().enumerate().for_each(|(number, text)| builder.add(&format!("work {number}"), text).unwrap());
    builder.build()
}

pub(crate) fn find(index: &Index, doc: &str) -> Vec<Passage> {
    let mut words = TextWords::default();
    words.read(doc).unwrap();
    Search::new(index).find(&words).to_vec()
}

/// The words of the document in blocks of passages of a work, or of any.
pub(crate) fn covered(passages: &[Passage], work: Option<usize>, words: usize) -> Vec<bool> {
    let mut covered = vec![false; words];
    for passage in passages.iter().filter(|passage| work.is_none_or(|work| passage.work as usize == work)) {
        for block in &passage.blocks {
            covered[block.doc_start as usize..][..block.words as usize].fill(true);
        }
    }
    covered
}

/// Which works a run is found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// All that have it.
    All,
    /// One of them.
    Any,
}

/// Checks the passages of a document; returns them.
pub(crate) fn check(works: &[String], doc: &str, parameters: Parameters, which: Which) -> Vec<Passage> {
    let index = index_of(works, parameters);
    let passages = find(&index, doc);
    let works: Vec<Vec<String>> = works.iter().map(|work| words_of(work)).collect();
    let doc = words_of(doc);
    for passage in &passages {
        exact(passage, &works[passage.work as usize], &doc, parameters);
    }
    let rank = |passage: &Passage| {
        (Reverse(passage.words), passage.work, passage.work_words().start, passage.doc_words().start)
    };
    assert!(passages.windows(2).all(|two| rank(&two[0]) <= rank(&two[1]) && two[0] != two[1]));
    guaranteed(&passages, &works, &doc, parameters, which);
    passages
}

/// Every word in common is really the same, and the numbers are right.
fn exact(passage: &Passage, work: &[String], doc: &[String], parameters: Parameters) {
    let (mut words, mut edits) = (0, 0);
    for block in &passage.blocks {
        assert!(block.words > 0);
        let same = block.words as usize;
        assert_eq!(work[block.work_start as usize..][..same], doc[block.doc_start as usize..][..same]);
        words += block.words;
    }
    for two in passage.blocks.windows(2) {
        let doc_gap = two[1].doc_start.checked_sub(two[0].doc_start + two[0].words).unwrap();
        let work_gap = two[1].work_start.checked_sub(two[0].work_start + two[0].words).unwrap();
        assert!(doc_gap > 0 || work_gap > 0);
        edits += doc_gap.max(work_gap);
    }
    assert_eq!((words, edits), (passage.words, passage.edits));
    assert!(words >= parameters.least_words);
    assert!(100 * edits <= parameters.most_edits * (words + edits), "{passage:?}");
}

/// Every run of as many words as are guaranteed is found, all its words.
fn guaranteed(
    passages: &[Passage],
    works: &[Vec<String>],
    doc: &[String],
    parameters: Parameters,
    which: Which,
) {
    let run = parameters.guaranteed() as usize;
    for (number, work) in works.iter().enumerate() {
        let covered = covered(passages, (which == Which::All).then_some(number), doc.len());
        for (start, words) in doc.windows(run).enumerate() {
            let is_covered = covered[start..start + run].iter().all(|&covered| covered);
            let is_there = is_covered || work.windows(run).any(|other| other == words);
            assert!(is_covered || !is_there, "words {start}..{} of the document, work {number}", start + run);
        }
    }
}
