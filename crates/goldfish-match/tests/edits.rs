//! Edited copies are found, and aligned with the words that they copy.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Which, check, covered, find, index_of};
use goldfish_match::{Block, Parameters};
use proptest::prelude::*;

fn text(words: &[u32]) -> String {
    words.iter().map(|word| format!("w{word} ")).collect()
}

#[derive(Debug, Clone)]
enum Edit {
    Replace,
    Delete,
    Insert(u32),
    Transpose,
}

fn edits() -> impl Strategy<Value = Vec<(usize, Edit)>> {
    let edit = prop_oneof![
        Just(Edit::Replace),
        Just(Edit::Delete),
        (1u32..4).prop_map(Edit::Insert),
        Just(Edit::Transpose)
    ];
    // Far enough apart for a window between two of them.
    prop::collection::vec((13usize..40, edit), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn words_between_edits_are_all_found(edits in edits()) {
        let work: Vec<u32> = (0..1000).collect();
        let mut doc: Vec<u32> = vec![5000; 20];
        let (mut at, mut fresh, mut same) = (300, 6000, 0);
        for (distance, edit) in &edits {
            doc.extend(&work[at..at + distance]);
            same += distance;
            at += distance;
            match edit {
                Edit::Replace => {
                    doc.push(fresh);
                    at += 1;
                }
                Edit::Delete => at += 1,
                Edit::Insert(count) => doc.extend(fresh..fresh + count),
                Edit::Transpose => {
                    doc.extend([work[at + 1], work[at]]);
                    at += 2;
                    // One of two that changed places is the same.
                    same += 1;
                }
            }
            fresh += 10;
        }
        doc.extend(&work[at..at + 15]);
        same += 15;
        doc.extend([5001; 20]);
        let passages = check(&[text(&work)], &text(&doc), Parameters::default(), Which::All);
        prop_assert_eq!(passages.len(), 1);
        prop_assert_eq!(passages[0].words as usize, same);
        prop_assert_eq!(passages[0].doc_words(), 20..doc.len() as u32 - 20);
        prop_assert_eq!(passages[0].work_words(), 300..at as u32 + 15);
    }
}

#[test]
fn an_inserted_sentence_is_in_no_block() {
    let work: Vec<u32> = (0..200).collect();
    let inserted: Vec<u32> = (1000..1020).collect();
    let doc = [&work[..100], &inserted, &work[100..]].concat();
    let passages = check(&[text(&work)], &text(&doc), Parameters::default(), Which::All);
    let block = |work_start, doc_start, words| Block { work_start, doc_start, words };
    assert_eq!(passages.len(), 1);
    assert_eq!(passages[0].blocks, [block(0, 0, 100), block(100, 120, 100)]);
    assert_eq!(passages[0].edits, 20);
}

#[test]
fn moved_paragraphs_are_passages_of_their_own() {
    let work: Vec<u32> = (0..300).collect();
    let doc = [&work[200..300], &work[..100], &work[100..200]].concat();
    let passages = check(&[text(&work)], &text(&doc), Parameters::default(), Which::All);
    let found: Vec<_> = passages.iter().map(|passage| (passage.work_words(), passage.doc_words())).collect();
    assert_eq!(found, [(0..200, 100..300), (200..300, 0..100)]);
}

#[test]
fn all_works_and_places_are_reported_the_longest_first() {
    let line: Vec<u32> = (0..30).collect();
    let other: Vec<u32> = (100..150).collect();
    let works = [
        text(&[&line[..20], &other[..]].concat()),
        text(&[&other[..], &line, &other[..10], &line].concat()),
        text(&line),
    ];
    let doc = text(&[&[500; 5], &line[..], &[501; 5]].concat());
    let passages = check(&works, &doc, Parameters::default(), Which::All);
    let found: Vec<_> =
        passages.iter().map(|passage| (passage.work, passage.work_words(), passage.words)).collect();
    assert_eq!(found, [(1, 50..80, 30), (1, 90..120, 30), (2, 0..30, 30), (0, 0..20, 20)]);
}

#[test]
fn a_document_does_not_depend_on_those_before_it() {
    let works: Vec<String> = (0..5).map(|i| text(&(100 * i..100 * i + 150).collect::<Vec<_>>())).collect();
    let index = index_of(&works, Parameters::default());
    let docs: Vec<String> = (0..40).map(|i| text(&(i * 13..i * 17 + 30).collect::<Vec<_>>())).collect();
    let mut search = goldfish_match::Search::new(&index);
    let mut words = goldfish_mask::TextWords::default();
    for doc in docs.iter().chain(docs.iter().rev()) {
        words.read(doc).unwrap();
        assert_eq!(search.find(&words), find(&index, doc));
    }
}

#[test]
fn threads_share_an_index() {
    let work: Vec<u32> = (0..2000).collect();
    let index = index_of(&[text(&work)], Parameters::default());
    let doc = text(&work[100..900]);
    let expected = find(&index, &doc);
    assert!(covered(&expected, Some(0), 800).iter().all(|&covered| covered));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(find(&index, &doc), expected));
        }
    });
}
