//! Sampling and controls on corpora that are made for it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use common::*;
use goldfish_audit::control::{Contamination, match_controls};
use goldfish_audit::documents::{DocumentOptions, Documents};
use goldfish_audit::probe::{Allocation, ProbeTable, Sample, Set};
use tempfile::tempdir;

type Rows = Vec<(String, String, Vec<u32>)>;

const VOCAB: u32 = 1000;

/// `n` documents of a source, `length` tokens each.
fn documents(name: &str, source: &str, n: usize, length: usize, seed: u64) -> Rows {
    let document =
        |i| (format!("{name}{i}"), source.to_owned(), numbers(seed * 1000 + i as u64, length, VOCAB));
    (0..n).map(document).collect()
}

#[test]
fn samples_depend_on_tokens_and_seed_alone() {
    let folder = tempdir().unwrap();
    let mut rows: Rows = documents("a", "s", 50, 120, 1);
    rows.extend(documents("copy", "s", 10, 120, 1));
    let sample = |rows: &Rows, starts, seed| {
        let path = write_documents(&folder.path().join("documents.jsonl"), rows);
        let sample = Sample { starts, seed, allocation: Allocation::Proportional };
        ProbeTable::sample(&open(&path, None), &grid(&[0, 40], None, &[20], &[20]), &sample).unwrap()
    };
    let tokens = |table: &ProbeTable| {
        let mut all: Vec<Vec<u32>> = table.starts.iter().map(|start| start.ids.clone()).collect();
        all.sort();
        all
    };
    let all = sample(&rows, None, 0);
    assert_eq!((all.counts.documents, all.counts.candidates, all.counts.starts), (60, 120, 100));
    assert_eq!(all.starts.iter().filter(|start| start.copies == 2).count(), 20);
    let some = sample(&rows, Some(30), 7);
    assert_eq!((some.counts.starts, some.counts.probes), (30, 30));
    let mut turned = rows.clone();
    turned.reverse();
    assert_eq!(tokens(&sample(&turned, Some(30), 7)), tokens(&some));
    assert_ne!(tokens(&sample(&rows, Some(30), 8)), tokens(&some));
    let more = tokens(&sample(&rows, Some(60), 7));
    assert!(tokens(&some).iter().all(|ids| more.contains(ids)), "a larger sample holds the smaller one");
}

#[test]
fn equal_allocation_fills_every_stratum() {
    let folder = tempdir().unwrap();
    let mut rows = documents("a", "large", 90, 60, 1);
    rows.extend(documents("b", "small", 10, 60, 2));
    rows.extend(documents("short", "small", 5, 30, 3));
    let path = write_documents(&folder.path().join("documents.jsonl"), &rows);
    let sample = |allocation| {
        let sample = Sample { starts: Some(40), seed: 1, allocation };
        let table =
            ProbeTable::sample(&open(&path, Some("source")), &grid(&[0], None, &[20], &[20]), &sample);
        let table = table.unwrap();
        assert_eq!((table.counts.too_short, table.counts.candidates), (5, 100));
        ["large", "small"].map(|s| table.starts.iter().filter(|start| start.stratum == s).count())
    };
    assert_eq!(sample(Allocation::Equal), [30, 10]);
    let [large, small] = sample(Allocation::Proportional);
    assert!(large + small == 40 && small < 10, "{large} {small}");
}

/// Documents of one book, copies of a passage, and near-copies that the caller found depend on each other.
#[test]
fn dependent_starts_are_one_cluster() {
    let folder = tempdir().unwrap();
    let mut rows: Rows = documents("a", "first book", 3, 60, 1);
    rows.extend(documents("b", "second book", 3, 60, 2));
    rows.extend(documents("c", "", 3, 60, 3));
    // The second half of a page of the first book is also in a document of its own.
    let mut quoting = rows[1].2[20..].to_vec();
    quoting.extend(numbers(4, 20, VOCAB));
    rows.push(("d0".into(), String::new(), quoting));
    let path = write_documents(&folder.path().join("documents.jsonl"), &rows);
    let sample = |cluster: Option<&str>| {
        let options = DocumentOptions {
            id_column: Some("id".into()),
            by: Some("source".into()),
            cluster: cluster.map(str::to_owned),
            ..DocumentOptions::default()
        };
        let documents = Documents::find(&[path.to_str().unwrap().to_owned()], options).unwrap();
        ProbeTable::sample(&documents, &grid(&[0, 20], None, &[20], &[20]), &everything()).unwrap()
    };
    let clusters = |table: &ProbeTable| -> BTreeMap<String, Vec<String>> {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in table.rows(true) {
            let documents = found.entry(row.cluster).or_default();
            if documents.last() != Some(&row.doc_id) {
                documents.push(row.doc_id);
            }
        }
        found
    };
    let of = |groups: &[(&str, &[&str])]| -> BTreeMap<String, Vec<String>> {
        let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        groups.iter().map(|(name, ids)| ((*name).to_owned(), owned(ids))).collect()
    };
    let each = sample(None);
    let mut expected = of(&[("a1", &["a1", "d0"])]);
    for id in ["a0", "a2", "b0", "b1", "b2", "c0", "c1", "c2"] {
        expected.insert(id.into(), vec![id.into()]);
    }
    assert_eq!(clusters(&each), expected);
    assert_eq!((each.counts.probed, each.counts.clusters, each.counts.joined), (10, 9, 0));

    let mut books = sample(Some("source"));
    let mut expected = of(&[("a0", &["a0", "a1", "a2", "d0"]), ("b0", &["b0", "b1", "b2"])]);
    for id in ["c0", "c1", "c2"] {
        expected.insert(id.into(), vec![id.into()]);
    }
    assert_eq!(clusters(&books), expected);
    assert_eq!((books.counts.probed, books.counts.clusters), (10, 5));

    // Near-copies: of the second book's last start and the last document's first.
    let at = |id: &str| books.starts.iter().position(|start| start.doc_id == id).unwrap();
    let mut groups: Vec<usize> = (0..books.starts.len()).collect();
    groups[at("c2")] = groups[at("b2")];
    books.join(&groups);
    expected.remove("c2");
    expected.get_mut("b0").unwrap().push("c2".into());
    assert_eq!(clusters(&books), expected);
    assert_eq!((books.counts.probed, books.counts.clusters, books.counts.joined), (10, 4, 1));
}

#[test]
fn controls_are_like_the_audited() {
    let folder = tempdir().unwrap();
    let mut audited = documents("a", "web", 20, 100, 1);
    audited.extend(documents("b", "code", 10, 300, 2));
    audited.extend(documents("c", "rare", 3, 100, 3));
    let mut held_out = documents("x", "web", 60, 120, 4);
    held_out.extend(documents("y", "web", 60, 1000, 5));
    held_out.extend(documents("z", "code", 4, 400, 6));
    held_out.extend(documents("w", "code", 30, 60, 7));
    let audited = open(&write_documents(&folder.path().join("audited.jsonl"), &audited), Some("source"));
    let held_out = open(&write_documents(&folder.path().join("control.jsonl"), &held_out), Some("source"));
    let grid = grid(&[0], None, &[20], &[20]);
    let table = ProbeTable::sample(&audited, &grid, &everything()).unwrap();
    let (control, counts) =
        match_controls(&table, &audited, &held_out, &grid, 0, Contamination::default(), None).unwrap();
    assert_eq!(
        (counts.wanted, counts.matched, counts.matched_other_length, counts.unmatched),
        (33, 24, 6, 3)
    );
    let lacking: Vec<String> = counts.lacking.iter().map(ToString::to_string).collect();
    assert_eq!(lacking, ["3 more documents of source \"rare\" with 64 to 127 tokens"]);
    assert_eq!((counts.contaminated, counts.checked), (0, counts.clean));
    assert!(!counts.normalised_checked);
    let mut found: BTreeMap<(&str, u64), usize> = BTreeMap::new();
    for start in &control.starts {
        *found.entry((start.stratum.as_str(), start.document_tokens)).or_default() += 1;
    }
    assert_eq!(found, BTreeMap::from([(("web", 120), 20), (("code", 400), 4), (("code", 60), 6)]));
    assert_eq!((control.set, control.counts.probes, control.counts.documents), (Set::Control, 30, 154));
}

/// A license that is in both corpora: the documents that hold it leave the control.
#[test]
fn contaminated_controls_are_removed_and_counted() {
    let folder = tempdir().unwrap();
    // Ids are characters here; the license in the corpus has other spacing than that in one of the controls.
    let text = |text: &str| text.chars().map(u32::from).collect::<Vec<u32>>();
    let licence =
        "permission is hereby granted free of charge to any person obtaining a copy of this software";
    let shouted = licence.to_uppercase().replace(' ', "  ");
    let mut corpus = documents("a", "s", 30, 300, 1);
    corpus.push((
        "licensed".into(),
        "s".into(),
        [numbers(77, 100, VOCAB), text(licence), numbers(78, 100, VOCAB)].concat(),
    ));
    let mut held_out = documents("x", "s", 40, 300, 2);
    held_out.push((
        "same".into(),
        "s".into(),
        [numbers(79, 150, VOCAB), text(licence), numbers(80, 60, VOCAB)].concat(),
    ));
    held_out.push(("reformatted".into(), "s".into(), [numbers(81, 150, VOCAB), text(&shouted)].concat()));
    // 49 tokens shared: one too few.
    held_out.push((
        "below".into(),
        "s".into(),
        [numbers(82, 100, VOCAB), text(licence)[..49].to_vec(), numbers(83, 151, VOCAB)].concat(),
    ));
    let corpus = open(&write_documents(&folder.path().join("corpus.jsonl"), &corpus), Some("source"));
    let held_out = open(&write_documents(&folder.path().join("control.jsonl"), &held_out), Some("source"));
    let grid = grid(&[0], None, &[50], &[50]);
    let table = ProbeTable::sample(&corpus, &grid, &everything()).unwrap();
    let limits = Contamination { tokens: 50, characters: 60 };
    let decode = |ids: &[u32]| ids.iter().filter_map(|id| char::from_u32(*id)).collect::<String>();

    let (_, by_tokens) = match_controls(&table, &corpus, &held_out, &grid, 0, limits, None).unwrap();
    assert_eq!((by_tokens.checked, by_tokens.contaminated, by_tokens.clean), (43, 1, 42));
    let (control, counts) =
        match_controls(&table, &corpus, &held_out, &grid, 0, limits, Some(&decode)).unwrap();
    assert_eq!((counts.contaminated, counts.contaminated_normalised_only), (2, 1));
    assert!(counts.normalised_checked);
    assert!(control.starts.iter().all(|start| start.doc_id != "same" && start.doc_id != "reformatted"));

    // A control that is the corpus itself: nothing is left of it.
    let (control, counts) = match_controls(&table, &corpus, &corpus, &grid, 0, limits, None).unwrap();
    assert_eq!((counts.clean, counts.unmatched, control.probes.len()), (0, 31, 0));
}

#[test]
fn other_files_with_ids_and_masks() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/formats/");
    let read = |name: &str| {
        let mut lengths = Vec::new();
        let documents = Documents::find(&[format!("{root}{name}")], DocumentOptions::default()).unwrap();
        let n = documents.for_each(&mut |document| {
            assert_eq!(document.number, lengths.len() as u64);
            assert!(document.mask.is_none() && document.stratum.is_empty());
            lengths.push((document.ids.len(), document.ids.first().copied()));
            Ok(())
        });
        assert_eq!(n.unwrap(), lengths.len() as u64);
        lengths
    };
    let expected = read("ids-list-i32.parquet");
    assert!(expected.len() > 5);
    for name in
        ["ids-stream.arrow", "ids-file.arrow", "ids.feather", "ids-large-list-i64.parquet", "ids.jsonl"]
    {
        assert_eq!(read(name), expected, "{name}");
    }
    let missing = DocumentOptions { by: Some("nowhere".into()), ..DocumentOptions::default() };
    let documents = Documents::find(&[format!("{root}ids-list-i32.parquet")], missing).unwrap();
    assert!(documents.for_each(&mut |_| Ok(())).is_err());
}

#[test]
fn masks_from_any_parquet() {
    use arrow::array::{Int64Array, ListArray, RecordBatch};
    use arrow::datatypes::Int64Type;
    use std::sync::Arc;
    let folder = tempdir().unwrap();
    let write = |name: &str, mask: Vec<Option<i64>>| {
        let list =
            |values: Vec<Option<i64>>| ListArray::from_iter_primitive::<Int64Type, _, _>([Some(values)]);
        let ids = list(vec![Some(7), Some(8), Some(9)]);
        let source = Int64Array::from(vec![3]);
        let batch = RecordBatch::try_from_iter([
            ("input_ids", Arc::new(ids) as _),
            ("keep", Arc::new(list(mask)) as _),
            ("copies", Arc::new(source) as _),
        ]);
        let batch = batch.unwrap();
        let path = folder.path().join(name);
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let options = DocumentOptions {
            mask_column: Some("keep".into()),
            by: Some("copies".into()),
            ..DocumentOptions::default()
        };
        let mut found = Vec::new();
        let documents = Documents::find(&[path.to_str().unwrap().to_owned()], options).unwrap();
        documents
            .for_each(&mut |document| {
                found.push((document.mask.unwrap().to_vec(), document.stratum.to_owned()));
                Ok(())
            })
            .map(|_| found)
    };
    let good = write("good.parquet", vec![Some(1), Some(0), Some(1)]).unwrap();
    assert_eq!(good, [(vec![1, 0, 1], "3".to_owned())]);
    let fault = |name, mask| write(name, mask).unwrap_err().to_string();
    assert!(fault("short.parquet", vec![Some(1)]).contains("3 tokens, but 1 mask values"));
    assert!(fault("two.parquet", vec![Some(1), Some(2), Some(0)]).contains("the mask holds 2"));
    assert!(fault("null.parquet", vec![Some(1), None, Some(0)]).contains("without nulls"));
    assert!(fault("large.parquet", vec![Some(1), Some(-1), Some(0)]).contains("without nulls"));
}
