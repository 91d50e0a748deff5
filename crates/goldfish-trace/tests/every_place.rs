//! Traces against a search that looks at every place, by parts, by threads, and after an interruption.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use goldfish_corpus::{Content, ReadOptions, resolve};
use goldfish_mask::TextWords;
use goldfish_pipeline::{OnError, Partition, ScanJob};
use goldfish_trace::{
    Group, Least, SpanRow, TextRow, Texts, Trace, TraceError, TraceJob, Traced, merge_traces, trace,
};
use proptest::prelude::*;
use tempfile::TempDir;

/// Ids and texts.
type Rows = Vec<(String, String)>;

struct Setup {
    folder: TempDir,
    texts: Texts,
    job: TraceJob,
}

fn write(path: &Path, rows: &Rows) {
    let line = |(id, text): &(String, String)| format!("{}\n", serde_json::json!({ "id": id, "text": text }));
    fs::write(path, rows.iter().map(line).collect::<String>()).unwrap();
}

fn setup(texts: &Rows, corpus: &Rows, least: Least) -> Setup {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (texts_path, corpus_path) = (path("texts.jsonl"), path("corpus.jsonl"));
    write(&texts_path, texts);
    write(&corpus_path, corpus);
    let inputs = |path: &Path| resolve(&[path.to_str().unwrap().to_owned()], None).unwrap().inputs;
    let mut read = ReadOptions::new(Content::Text { column: "text".into() });
    read.id_column = Some("id".into());
    let mut texts = Texts::default();
    texts.read(&inputs(&texts_path), ("text", "id"), Group::Text).unwrap();
    let corpus = ScanJob {
        inputs: inputs(&corpus_path),
        read,
        tokenize: None,
        partition: None,
        on_error: OnError::Fail,
        threads: 2,
    };
    let job = TraceJob {
        corpus,
        least,
        seed: 0,
        output: path("traced"),
        resume: false,
        save_every: Duration::from_secs(0),
    };
    Setup { folder, texts, job }
}

fn run(texts: &Texts, job: &TraceJob) -> Result<Traced, TraceError> {
    trace(texts.clone(), job, &AtomicBool::new(false), &|_| {})
}

fn tables(folder: &Path) -> (Vec<SpanRow>, Vec<TextRow>) {
    let trace = Trace::open(folder).unwrap();
    let spans = trace.spans().unwrap().collect::<Result<_, _>>().unwrap();
    (spans, trace.texts().unwrap().collect::<Result<_, _>>().unwrap())
}

fn words(text: &str) -> TextWords {
    let mut words = TextWords::default();
    words.read(text).unwrap();
    words
}

fn word_list(words: &TextWords) -> Vec<Vec<u8>> {
    (0..words.len()).map(|word| words.bytes(word).to_vec()).collect()
}

/// The spans of a text with their places, by looking at every place: words of the text, and how often they occur.
fn naive(text: &str, corpus: &Rows, is_span: impl Fn(&str, usize) -> bool) -> Vec<(Range<usize>, u64)> {
    let of_text = words(text);
    let needle = word_list(&of_text);
    let corpus: Vec<_> = corpus.iter().map(|(_, text)| word_list(&words(text))).collect();
    let occurs = |run: &[Vec<u8>]| {
        corpus
            .iter()
            .map(|words| words.windows(run.len()).filter(|window| *window == run).count() as u64)
            .sum()
    };
    let mut spans = Vec::new();
    let mut end = 0;
    for start in 0..needle.len() {
        let last = (start + 1..=needle.len()).rev().find(|last| {
            let part = of_text.source(start).start..of_text.source(last - 1).end;
            *last > end && is_span(&text[part], last - start) && occurs(&needle[start..*last]) > 0u64
        });
        if let Some(last) = last {
            end = last;
            let part = of_text.source(start).start..of_text.source(last - 1).end;
            spans.push((part, occurs(&needle[start..last])));
        }
    }
    spans
}

/// How often a text occurs without its first and last word, if that is long enough.
fn copies(text: &str, corpus: &Rows, is_span: impl Fn(&str, usize) -> bool) -> Option<u64> {
    let of_text = words(text);
    let inner =
        (of_text.len() > 2).then(|| of_text.source(1).start..of_text.source(of_text.len() - 2).end)?;
    is_span(&text[inner], of_text.len() - 2).then(|| {
        let needle = &word_list(&of_text)[1..of_text.len() - 1];
        let occurs =
            |text: &str| word_list(&words(text)).windows(needle.len()).filter(|run| *run == needle).count();
        corpus.iter().map(|(_, text)| occurs(text) as u64).sum()
    })
}

/// Checks a trace against the naive search.
fn check(texts: &Rows, corpus: &Rows, least: Least, is_span: impl Fn(&str, usize) -> bool + Copy) {
    let setup = setup(texts, corpus, least);
    match run(&setup.texts, &setup.job) {
        Err(TraceError::AllTooShort { .. }) => return,
        traced => traced.unwrap(),
    };
    let (spans, rows) = tables(&setup.job.output);
    let documents: BTreeMap<&str, &str> = corpus.iter().map(|(id, text)| (&**id, &**text)).collect();
    assert_eq!(rows.len(), texts.len());
    for (row, (id, text)) in rows.iter().zip(texts) {
        assert_eq!((&row.text_id, &row.text), (id, text));
        let mut found: BTreeMap<(usize, usize), (u64, u64)> = BTreeMap::new();
        for span in spans.iter().filter(|span| span.text_id == *id && span.edits == 0) {
            let part = span.text_start as usize..span.text_end as usize;
            let document = documents[&*span.doc_id];
            let place = span.doc_start as usize..span.doc_end as usize;
            assert_eq!(&document[place.clone()], span.doc_text);
            assert!(document[..place.start].ends_with(&span.doc_before));
            assert!(document[place.end..].starts_with(&span.doc_after));
            let (of_text, of_document) = (words(&text[part.clone()]), words(&span.doc_text));
            assert_eq!(word_list(&of_text), word_list(&of_document));
            assert_eq!(span.words as usize, of_text.len());
            let entry = found.entry((part.start, part.end)).or_insert((span.places.unwrap(), 0));
            assert_eq!(Some(entry.0), span.places);
            entry.1 += 1;
        }
        let expected = naive(text, corpus, is_span);
        let counts: Vec<_> = found.iter().map(|(part, (places, _))| (part.0..part.1, *places)).collect();
        assert_eq!(counts, expected, "{text}");
        for (places, kept) in found.values() {
            assert_eq!(*kept, (*places).min(8));
        }
        let covered = |at: usize| expected.iter().any(|(part, _)| part.contains(&at));
        let characters = text.char_indices().filter(|(at, _)| covered(*at)).count() as u64;
        assert_eq!(row.verbatim_characters, characters);
        assert_eq!(row.copies, copies(text, corpus, is_span), "{text}");
        assert_eq!(row.spans, expected.len() as u64);
        assert_eq!(row.places, expected.iter().map(|span| span.1).sum::<u64>());
        assert!(row.covered_words >= row.verbatim_words && row.covered_words <= row.words);
    }
}

/// Texts of few different words, so that runs recur.
fn some_texts(count: Range<usize>, length: usize) -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(0u8..4, 0..length), count)
}

fn rows(prefix: &str, texts: &[Vec<u8>]) -> Rows {
    let text = |words: &Vec<u8>| {
        let marks = [" ", ", ", "\n", " - "];
        let word = |(at, word): (usize, &u8)| {
            let word = ["Straße", "been", "ﬁsh", "o"][*word as usize];
            format!("{word}{}", marks[at % 4])
        };
        words.iter().enumerate().map(word).collect::<String>()
    };
    texts.iter().enumerate().map(|(number, words)| (format!("{prefix}{number}"), text(words))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn spans_are_those_of_a_search_of_every_place(
        texts in some_texts(1..8, 24),
        corpus in some_texts(1..8, 40),
        least in 4u32..8,
    ) {
        check(&rows("t", &texts), &rows("d", &corpus), Least::Words(least), |_, words| words >= least as usize);
    }

    #[test]
    fn spans_of_so_many_characters_are_those_of_a_search_of_every_place(
        texts in some_texts(1..6, 24),
        corpus in some_texts(1..6, 40),
        least in 20u32..60,
    ) {
        let is_span = |part: &str, words: usize| words >= 6 && part.chars().count() >= least as usize;
        check(&rows("t", &texts), &rows("d", &corpus), Least::Characters(least), is_span);
    }
}

#[test]
fn what_is_between_spans_that_touch_is_in_none() {
    let texts = rows("t", &[vec![0, 1, 2, 0, 2, 1, 2, 2, 0, 0]]);
    let corpus = rows("d", &[vec![0, 1, 2, 0, 2, 2, 0, 1, 2, 2, 0, 0]]);
    check(&texts, &corpus, Least::Words(4), |_, words| words >= 4);
}

#[test]
fn a_text_that_occurs_more_than_eight_times_among_the_texts_is_found_in_each() {
    let passage = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen";
    let texts: Rows =
        (0..40).map(|n| (format!("t{n}"), format!("said {n}: {passage}; and {n} more {n}"))).collect();
    let corpus: Rows = (0..30).map(|n| (format!("d{n}"), format!("in {n} {passage} {n}"))).collect();
    check(&texts, &corpus, Least::Words(12), |_, words| words >= 12);
}

/// A corpus of some work items, with parts of the texts in many of its documents.
fn large() -> (Rows, Rows) {
    let number = |seed: u64| seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    let word = |seed: u64| format!("w{} ", number(seed) % 5000);
    let text = |start: u64, words: u64| (start..start + words).map(word).collect::<String>();
    let texts: Rows = (0..30).map(|n| (format!("t{n}"), text(1_000_000 + 200 * n, 120))).collect();
    let corpus = (0..1500u64)
        .map(|n| {
            let copied = text(1_000_000 + 17 * n % 6000, 10 + n % 60);
            (format!("d{n}"), format!("{}{copied}{}", text(5000 * n, 80), text(5000 * n + 2500, 80)))
        })
        .collect();
    (texts, corpus)
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entry =
        |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
    fs::read_dir(folder).unwrap().map(|found| entry(found.unwrap())).collect()
}

#[test]
fn threads_parts_and_interruptions_change_no_byte() {
    let (texts, corpus) = large();
    let Setup { folder, texts, job } = setup(&texts, &corpus, Least::Words(8));
    run(&texts, &job).unwrap();
    let whole = files(&job.output);
    assert_eq!(
        whole.keys().collect::<Vec<_>>(),
        ["SHA256SUMS", "spans.parquet", "summary.json", "texts.parquet", "trace.json"]
    );
    let with = |name: &str, change: &dyn Fn(&mut TraceJob)| {
        let mut other = TraceJob { output: folder.path().join(name), ..job.clone() };
        change(&mut other);
        other
    };

    let one_thread = with("one", &|job| job.corpus.threads = 1);
    run(&texts, &one_thread).unwrap();
    assert!(files(&one_thread.output) == whole);

    let part = |rank: u32| {
        let name = format!("part-{rank}");
        with(&name, &|job| job.corpus.partition = Some(Partition { rank, world: 3 }))
    };
    let parts: Vec<PathBuf> = [2, 0, 1]
        .map(|rank| {
            let part = part(rank);
            run(&texts, &part).unwrap();
            part.output
        })
        .into();
    let merged = folder.path().join("merged");
    merge_traces(&parts, &merged).unwrap();
    assert!(files(&merged) == whole);
    let missing = merge_traces(&parts[..2], &folder.path().join("missing")).unwrap_err();
    assert!(missing.to_string().contains("part"), "{missing}");

    // A row in the last work item is bad, until it is repaired.
    let path = folder.path().join("corpus.jsonl");
    let good = fs::read_to_string(&path).unwrap();
    let at = good.rfind("\"d1498\"").unwrap();
    fs::write(&path, [&good[..at], "#d1498#", &good[at + 7..]].concat()).unwrap();
    let interrupted = with("interrupted", &|_| {});
    let Err(TraceError::Unfinished { documents, .. }) = run(&texts, &interrupted) else {
        panic!("it is not kept")
    };
    assert!(documents > 300, "{documents}");
    fs::write(&path, &good).unwrap();
    let refused = run(&texts, &interrupted).unwrap_err();
    assert!(refused.to_string().contains("already holds a trace"), "{refused}");
    let other = with("interrupted", &|job| (job.resume, job.seed) = (true, 1));
    let refused = run(&texts, &other).unwrap_err();
    assert!(refused.to_string().contains("which differ in seed"), "{refused}");
    let resumed = with("interrupted", &|job| job.resume = true);
    assert!(!run(&texts, &resumed).unwrap().was_complete);
    assert!(files(&resumed.output) == whole);
    assert!(run(&texts, &resumed).unwrap().was_complete);
    assert!(files(&resumed.output) == whole);
}

#[test]
fn folders_that_hold_something_else_stay_as_they_are() {
    let Setup { folder, texts, job } = setup(
        &vec![("a".into(), "one two three four five six".into())],
        &vec![("b".into(), "seven".into())],
        Least::Words(4),
    );
    fs::create_dir(&job.output).unwrap();
    fs::write(job.output.join("letter.txt"), "dear").unwrap();
    for resume in [false, true] {
        let refused = run(&texts, &TraceJob { resume, ..job.clone() }).unwrap_err();
        assert!(refused.to_string().contains("does not hold a trace"), "{refused}");
    }
    assert_eq!(files(&job.output).len(), 1);
    let inside = TraceJob { output: folder.path().to_owned(), ..job };
    assert!(run(&texts, &inside).unwrap_err().to_string().contains("is in the output folder"));
}
