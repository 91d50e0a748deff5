//! The page of a trace, made of tables that are written by hand.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;
use std::path::Path;

use common::dom::{Element, Page};
use common::optional::without_each;
use goldfish_audit::sums;
use goldfish_audit::table::write_rows;
use goldfish_report::{TracePage, trace_page};
use goldfish_storage::Folder;
use goldfish_trace::{SpanRow, TextRow, Trace, TraceConfig, TraceSummary};
use serde_json::json;

const TEXT: &str = "a<script>alert(1)</script>\u{202E}";

fn config(part: Option<(u32, u32)>) -> TraceConfig {
    let source = json!({"content": "text", "column": "text", "id_column": "id", "ids_dtype": null, "eos_id": null, "max_document": 1 << 26});
    let corpus = json!({"source": source, "source_column": TEXT, "tokenizer": null, "part": part, "inputs": 1, "inputs_hash": "h", "skips_rejects": true});
    serde_json::from_value(json!({"trace_version": 1, "goldfish": "0.1.0", "texts": 3, "kind": "texts", "texts_hash": "h", "least": {"words": 12}, "seed": 0, "corpus": corpus})).unwrap()
}

fn rate(positives: u64, n: u64) -> serde_json::Value {
    let rate = if n == 0 { 0.0 } else { positives as f64 / n as f64 };
    json!({"rate": rate, "lower": rate / 2.0, "upper": 1.0, "positives": positives, "n": n, "clusters": n, "method": "wilson"})
}

fn group(found: u64, texts: u64, longest: &[(u64, u64)]) -> serde_json::Value {
    let mean = json!({"mean": 0.25, "lower": 0.125, "upper": 0.5, "n": texts, "clusters": texts});
    let longest: Vec<_> =
        longest.iter().map(|(words, texts)| json!({"words": words, "texts": texts})).collect();
    json!({"texts": texts, "characters": 1000, "words": 200, "with_span": rate(found, texts), "verbatim_share": mean, "covered_share": mean, "spans": found, "places": 5 * found, "edited_places": 1, "longest": longest})
}

/// Of two texts and a control, with names that are hostile.
fn summary() -> TraceSummary {
    let difference = json!({"difference": 0.5, "lower": -0.01, "upper": 0.9});
    let mean = json!({"mean": 0.25, "lower": 0.125, "upper": 0.5, "n": 2, "clusters": 2});
    let reject = json!({"file": TEXT, "row": 7, "reason": TEXT});
    serde_json::from_value(json!({
        "trace_version": 1, "key": "", "least": {"words": 12},
        "corpus": {"inputs": 1, "documents": 1234, "text_bytes": 5 << 20, "rejected": 1, "rejects": [reject], "documents_found": 2},
        "texts": group(2, 2, &[(12, 2), (13, 1), (40, 1)]),
        "control": group(0, 1, &[]),
        "excess": {"with_span": difference, "verbatim_share": difference, "covered_share": difference},
        "sources": [{"source": TEXT, "with_span": rate(2, 2), "verbatim_share": mean}],
        "documents": vec![json!({"doc_id": TEXT, "source": TEXT, "words": 40, "runs": 2}); 12],
    }))
    .unwrap()
}

fn text_row(id: &str, group: &str, text: &str, spans: u64) -> TextRow {
    let words = text.split_whitespace().count() as u64;
    TextRow {
        text_id: id.into(),
        group: group.into(),
        cluster: id.into(),
        text: text.into(),
        characters: text.chars().count() as u64,
        words,
        spans,
        verbatim_characters: 0,
        verbatim_words: 0,
        covered_words: words,
        verbatim_share: if spans > 0 { 0.5 } else { 0.0 },
        longest_words: 12 * spans,
        longest_characters: 60 * spans,
        longest_places: 5 * spans,
        places: 5 * spans,
        edited_places: spans,
        copies: None,
    }
}

fn span_row(text: &TextRow, range: (usize, usize), words: u32, places: Option<u64>) -> SpanRow {
    SpanRow {
        text_id: text.text_id.clone(),
        group: text.group.clone(),
        text_start: range.0 as u64,
        text_end: range.1 as u64,
        doc_id: TEXT.into(),
        source: TEXT.into(),
        doc_start: 1000,
        doc_end: 1100,
        words,
        edits: u32::from(places.is_none()),
        places,
        doc_before: format!("before\n{TEXT}"),
        doc_text: format!("in\n{TEXT} more"),
        doc_after: format!("after {TEXT}"),
    }
}

/// Writes a trace and opens it.
fn trace(
    folder: &Path,
    config: &TraceConfig,
    summary: &TraceSummary,
    texts: &[TextRow],
    spans: &[SpanRow],
) -> Trace {
    let (key, to) = (config.key(), Folder::open(folder).unwrap());
    write_rows(&to, "texts.parquet", &key, texts).unwrap();
    write_rows(&to, "spans.parquet", &key, spans).unwrap();
    let summary = TraceSummary { key, ..summary.clone() };
    fs::write(folder.join("trace.json"), serde_json::to_string(config).unwrap()).unwrap();
    fs::write(folder.join("summary.json"), serde_json::to_string(&summary).unwrap()).unwrap();
    let files = ["spans.parquet", "summary.json", "texts.parquet", "trace.json"];
    sums::write(&to, &files).unwrap();
    Trace::open(folder).unwrap()
}

/// Writes the page, which has no faults, and in which no text became an element.
fn page(trace: &Trace) -> Page {
    let html = trace_page(&TracePage { trace, folder: TEXT, command: TEXT, seed: 0 }).unwrap();
    assert!(!html.contains('\u{202E}'));
    let page = Page::parse(&html);
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    assert_eq!(page.named("script").len(), 2, "one script, and its data");
    assert!(page.named("img").is_empty());
    page
}

fn of_class(elements: &[Element], class: &str) -> Vec<Element> {
    elements.iter().filter(|element| element.has_class(class)).cloned().collect()
}

fn verdict(page: &Page) -> String {
    of_class(&page.elements(), "verdict")[0].line()
}

#[test]
fn the_page_shows_spans_with_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("zero\n{TEXT} one two three four {TEXT}");
    let all = text.len();
    let texts = [
        text_row("none", "text", "nothing", 0),
        text_row(TEXT, "text", &text, 1),
        text_row(TEXT, "control", &text, 0),
    ];
    let mut spans = vec![span_row(&texts[1], (5, all), 12, Some(5)); 5];
    spans.push(span_row(&texts[1], (0, 9), 55, None));
    let page = page(&trace(folder.path(), &config(None), &summary(), &texts, &spans));
    assert_eq!(
        verdict(&page),
        "2 of 2 texts have a span of at least 12 words that appears in the corpus. Of the control, 0 of 1 do."
    );
    let shown = page.by_id("texts").unwrap().inside();
    let [article] = of_class(&shown, "traced").try_into().ok().unwrap();
    let parts = article.inside();
    assert_eq!(
        of_class(&parts, "passage")[0].line(),
        "zero a<script>alert(1)</script>202E one two three four a<script>alert(1)</script>202E×5"
    );
    let marks: Vec<Element> = of_class(&parts, "m");
    let classes: Vec<_> = marks.iter().map(|mark| mark.attribute("class").unwrap()).collect();
    assert_eq!(classes, ["m w3 edited", "m w1", "m w1"]);
    let numbers: Vec<_> = marks.iter().map(|mark| mark.attribute("data-s").unwrap()).collect();
    assert_eq!(numbers, ["0", "1 0", "1"]);
    // Where a mark goes on it is no further stop of the Tab key.
    assert_eq!(marks.iter().filter(|mark| mark.attribute("tabindex").is_some()).count(), 1);
    for mark in &marks {
        let target = mark.attribute("href").unwrap();
        assert!(page.by_id(target.trim_start_matches('#')).is_some(), "{target}");
        let said = mark.attribute("aria-describedby").unwrap();
        assert!(said.split(' ').all(|id| page.by_id(id).is_some()), "{said}");
    }
    let [edited, span] = ["s0", "s1"].map(|id| page.by_id(id).unwrap());
    assert!(edited.line().contains("55 words in common, with edits, at 1 listed place"), "{}", edited.line());
    assert!(edited.line().contains("1 edit…before a<script>"), "{}", edited.line());
    assert!(span.line().starts_with("12 words word for word, at 5 places"), "{}", span.line());
    assert!(span.line().ends_with("and 1 more place"), "{}", span.line());
    assert_eq!(of_class(&span.inside(), "place").len(), 4);
    assert!(page.by_id("control").unwrap().line().contains("None of these texts has a span"));
    let data: serde_json::Value =
        serde_json::from_str(&page.by_id("all-texts-data").unwrap().text()).unwrap();
    assert_eq!(data["rows"], 3);
    let found = page.by_id("found").unwrap().line();
    assert!(found.contains("+50.00 points") && found.contains("may be chance"), "{found}");
    assert_eq!(common::axes::check(&page), 1);
    let chart = page.by_id("longest-chart-d").unwrap().line();
    assert!(
        chart.contains("13 words or more: 50.00%") && chart.contains("control: none has a span"),
        "{chart}"
    );
    assert!(page.by_id("content").unwrap().line().contains("1 row of the corpus was left out."));
}

#[test]
fn what_is_missing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let nothing: TraceSummary = {
        let summary =
            TraceSummary { control: None, excess: None, sources: vec![], documents: vec![], ..summary() };
        let texts = serde_json::from_value(group(0, 0, &[])).unwrap();
        TraceSummary { texts, least: goldfish_trace::Least::Characters(50), ..summary }
    };
    let empty = page(&trace(folder.path(), &config(Some((1, 8))), &nothing, &[], &[]));
    assert_eq!(
        verdict(&empty),
        "0 of 0 texts have a span of at least 50 characters that appears in the corpus."
    );
    assert!(empty.by_id("control").is_none() && empty.by_id("longest-chart-t").is_none());
    let text = empty.by_id("content").unwrap().line();
    for words in ["Part 2 of 8", "Without a control", "No text has a span.", "No document", "No source"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    for (place, without) in without_each(&summary()) {
        let page = page(&trace(folder.path(), &config(None), &without, &[], &[]));
        let text = page.by_id("content").unwrap().text();
        assert!(!text.contains("NaN") && !text.contains("undefined"), "{place}: {text}");
    }
}

#[test]
fn recited_suffixes_are_shown_by_their_copies() {
    let folder = tempfile::tempdir().unwrap();
    let groups = [(0, 0, 0), (1, 1, 3), (3, 4, 9)]
        .map(|(from, to, recited)| json!({"from": from, "to": to, "recited": rate(recited, 10)}));
    let with = |groups: &[serde_json::Value]| {
        let recited_by_copies = groups.iter().map(|group| serde_json::from_value(group.clone()).unwrap());
        TraceSummary { recited_by_copies: Some(recited_by_copies.collect()), ..summary() }
    };
    let shown = page(&trace(folder.path(), &config(None), &with(&groups), &[], &[]));
    let section = shown.by_id("copies").unwrap().line();
    assert!(section.contains("3 to 410990.00%"), "{section}");
    let chart = shown.by_id("copies-chart-d").unwrap().line();
    assert!(chart.contains("1 copy: 3 of 10, 30.00%; 3 to 4 copies: 9 of 10"), "{chart}");
    let alone = page(&trace(folder.path(), &config(None), &with(&groups[..1]), &[], &[]));
    assert!(alone.by_id("copies").is_some() && alone.by_id("copies-chart-d").is_none());
}

#[test]
fn of_many_texts_those_with_the_largest_share_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let row = |at: u32| TextRow {
        verbatim_share: f64::from(at % 1000) / 1000.0,
        ..text_row(&format!("text {at}"), "text", "one two three", 1)
    };
    let texts: Vec<TextRow> = (0..1000).map(row).collect();
    let spans: Vec<SpanRow> = texts.iter().map(|text| span_row(text, (4, 13), 12, Some(1))).collect();
    let page = page(&trace(folder.path(), &config(None), &summary(), &texts, &spans));
    let section = page.by_id("texts").unwrap();
    let names: Vec<_> =
        section.inside().iter().filter(|element| element.name() == "h3").map(Element::line).collect();
    assert_eq!((names.len(), names[0].as_str(), names[299].as_str()), (300, "1 text 999", "300 text 700"));
    let said = section.line();
    assert!(
        said.contains("300 of 1,000 texts with places")
            && said.contains("700 more texts with places are not shown"),
        "{said}"
    );
}

#[test]
fn the_page_has_a_size() {
    let folder = tempfile::tempdir().unwrap();
    let text = "one two three ".repeat(50_000);
    let texts: Vec<TextRow> = (0..20).map(|at| text_row(&at.to_string(), "text", &text, 1)).collect();
    let place = SpanRow { doc_text: text.clone(), ..span_row(&texts[0], (0, text.len()), 150_000, Some(1)) };
    let spans: Vec<SpanRow> =
        texts.iter().map(|text| SpanRow { text_id: text.text_id.clone(), ..place.clone() }).collect();
    let trace = trace(folder.path(), &config(None), &summary(), &texts, &spans);
    let html = trace_page(&TracePage { trace: &trace, folder: "f", command: "c", seed: 0 }).unwrap();
    assert!(html.len() < 300_000, "{}", html.len());
    assert!(html.contains("698,800 characters"), "what is left out is counted");
}
