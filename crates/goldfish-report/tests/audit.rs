//! The page of an audit, made of real runs of a fake model.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use common::dom::Page;
use common::optional::without_each;
use goldfish_audit::backend::{Backend, BlockMemory, SamplingScheme};
use goldfish_audit::config::{DocumentsOrigin, Origin, RunConfig};
use goldfish_audit::control::{Contamination, match_controls};
use goldfish_audit::documents::{DocumentOptions, Documents};
use goldfish_audit::engine::Engine;
use goldfish_audit::fake::FakeModel;
use goldfish_audit::gate::{Gate, failures};
use goldfish_audit::options::{AuditOptions, Extraction};
use goldfish_audit::probe::{Allocation, Grid, ProbeTable, Sample};
use goldfish_audit::prompt_template::PromptTemplate;
use goldfish_audit::run::Run;
use goldfish_audit::selftest::SelfTest;
use goldfish_audit::stat::Bootstrap;
use goldfish_audit::store::RunStore;
use goldfish_audit::summary::{DistanceCount, GoldfishSummary, Summary};
use goldfish_report::{AuditPage, ComparePage, audit_page, compare_page, compare_runs};
use goldfish_shard::ToolEntry;

const TEXT: &str = "a<script>alert(1)</script>\u{202E}";

/// Documents of 40 tokens that share nothing.
fn documents(folder: &Path, name: &str, from: u32, number: u32) -> Documents {
    let path = folder.join(format!("{name}.jsonl"));
    let row = |i: u32| {
        let ids: Vec<u32> = (0..40).map(|at| (from + i * 40 + at) * 7 % 4001).collect();
        let id = serde_json::to_string(&format!("{name} {i} {TEXT}")).unwrap();
        format!("{{\"id\": {id}, \"source\": \"s{}\", \"input_ids\": {ids:?}}}\n", i % 2)
    };
    fs::write(&path, (0..number).map(row).collect::<String>()).unwrap();
    let options = DocumentOptions {
        id_column: Some("id".into()),
        by: Some("source".into()),
        ..DocumentOptions::default()
    };
    Documents::find(&[path.to_str().unwrap().to_owned()], options).unwrap()
}

/// An audit of 30 documents, of which the first `known` are recited, with 30 for a control.
fn run(folder: &Path, known: usize, control: bool, redact: bool) -> Run {
    run_in_context(folder, known, control, redact, None)
}

/// The same with the control of copying, if it is said whether the model copies.
fn run_in_context(folder: &Path, known: usize, control: bool, redact: bool, copies: Option<bool>) -> Run {
    let corpus = documents(folder, "corpus", 0, 30);
    let held_out = documents(folder, "held-out", 1200, 30);
    let grid = Grid::new(vec![0, 10], None, vec![8], vec![8, 16]).unwrap();
    let sample = Sample { starts: None, seed: 1, allocation: Allocation::Proportional };
    let audited = ProbeTable::sample(&corpus, &grid, &sample).unwrap();
    let contamination = Contamination::default();
    let matched = match_controls(&audited, &corpus, &held_out, &grid, 1, contamination, None).unwrap();
    let mut passages = Vec::new();
    corpus
        .for_each(&mut |document| {
            passages.push(document.ids.to_vec());
            Ok(())
        })
        .unwrap();
    let recites = FakeModel::reciting(4001, &passages[..known], 4, 12.0);
    let model = FakeModel::new(4001, move |tokens| {
        let mut logits = recites.logits(tokens);
        let seen = tokens.last_chunk::<4>().and_then(|last| {
            let earlier = &tokens[..tokens.len() - 1];
            earlier.windows(4).rposition(|window| window == last).map(|at| tokens[at + 4])
        });
        if let Some(token) = seen.filter(|_| copies == Some(true)) {
            logits[token as usize] = 20.0;
        }
        logits
    });
    let scheme = SamplingScheme { temperature: 1.0, top_k: None, top_p: None };
    let options = AuditOptions {
        extraction: Some(Extraction { scheme, p: 0.5, near: None }),
        redact,
        ..AuditOptions::default()
    };
    let tool = ToolEntry { name: "goldfish".into(), version: "0".into() };
    let tables: Vec<&ProbeTable> = if control { vec![&audited, &matched.0] } else { vec![&audited] };
    let with = control.then_some((&matched.0, matched.1, contamination));
    let described = model.describe().unwrap();
    let mut config = RunConfig::new(tool, described, grid, sample, options.clone(), &audited, with);
    let in_prompt: Vec<ProbeTable> = tables.iter().map(|table| table.in_prompt(&[4000])).collect();
    let tables = match copies {
        Some(_) => {
            config = config.with_in_context(vec![4000]);
            tables.into_iter().chain(&in_prompt).collect()
        }
        None => tables,
    };
    let output = folder.join(format!("run-{known}-{control}-{redact}-{copies:?}"));
    let mut store = RunStore::open(&output, &config, &tables, false).unwrap();
    let command = format!("goldfish audit {TEXT}");
    // A process that resumes the run has another command: the first one counts.
    for command in [command, "goldfish audit --resume".into()] {
        store.origin(&Origin { command, corpus: Vec::new(), control: Vec::new(), tokenizer: None }).unwrap();
    }
    let engine = Engine {
        backend: &model,
        options: &options,
        decode: None,
        batch: 16,
        segment_rows: 1000,
        stop: &AtomicBool::new(false),
    };
    engine.run(&tables, &mut store, &mut |_| ()).unwrap();
    let none = SelfTest { capabilities: model.capabilities(), checks: Vec::new() };
    store.finish(&none).unwrap();
    Run::open(&output).unwrap()
}

fn page(run: &Run, gates: &[&str], redact: bool) -> Page {
    let decode = |ids: &[u32]| Some(ids.iter().map(|id| format!("{TEXT}{id} ")).collect::<String>());
    let gates: Vec<Gate<Summary>> = gates.iter().map(|gate| gate.parse().unwrap()).collect();
    let html = audit_page(&AuditPage {
        run,
        folder: TEXT,
        command: TEXT,
        gates: &gates.iter().map(Gate::to_string).collect::<Vec<_>>(),
        failures: &failures(&gates, &run.summary).unwrap(),
        redact,
        decode: Some(&decode),
        seed: 0,
    });
    conforming(&html.unwrap())
}

/// A page without faults, in which nothing of the corpus became an element.
fn conforming(html: &str) -> Page {
    assert!(!html.contains('\u{202E}'));
    let page = Page::parse(html);
    let faults: Vec<&String> = page.errors.iter().filter(|error| !error.contains("duplicate")).collect();
    assert!(faults.is_empty(), "{faults:?}");
    let scripts = page.named("script");
    assert!(scripts.len() <= 2, "one script, and its data");
    assert!(page.named("img").is_empty());
    page
}

fn verdict(page: &Page) -> String {
    page.elements().into_iter().find(|element| element.has_class("verdict")).unwrap().line()
}

fn statistics(page: &Page) -> String {
    page.elements().into_iter().find(|element| element.has_class("statistics")).unwrap().line()
}

#[test]
fn the_page_says_what_the_run_found() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(folder.path(), 20, true, false);
    let page = page(&run, &["exact_match.upper > 0.01", "probes.probes < 10"], false);
    // Two offsets and two suffix lengths of each of 20 of 30 documents.
    assert_eq!(
        verdict(&page),
        "The model recites 80 of 120 probes, and none of 120 probes of text that it never saw."
    );
    let text = statistics(&page);
    assert!(text.starts_with("The model recites 80 of 120 probes (66.67%, 95% interval"), "{text}");
    assert!(text.contains("and 0 of 120 control probes") && text.contains("+66.67 points ("), "{text}");
    assert!(text.ends_with("more, which chance does not explain."), "{text}");
    let status = page.elements().into_iter().find(|element| element.has_class("bad")).unwrap().line();
    assert!(status.contains("1 gate of 2 failed") && status.contains("exact_match.upper is 0."), "{status}");
    let worst = page.by_id("worst").unwrap();
    let passages: Vec<_> =
        worst.inside().into_iter().filter(|element| element.has_class("passage")).collect();
    assert_eq!(passages.len(), 60, "prefix, truth and continuation of 20 documents");
    assert!(passages[1].inside().iter().any(|element| element.has_class("same")));
    let strata = page.by_id("strata").unwrap().line();
    assert!(
        strata.contains("By source: 2 groups, each interval at 97.50%") && strata.contains("below"),
        "{strata}"
    );
    assert!(common::axes::check(&page) >= 3);
    for chart in ["survival-chart-d", "rouge-chart-d", "draws-chart-d"] {
        let said = page.by_id(chart).unwrap().line();
        assert!(said.contains("audited") && said.contains('%'), "{chart}: {said}");
    }
    let survival = page.by_id("survival-chart-d").unwrap().line();
    // 40 matches of 8 tokens and 40 of 16.
    assert!(survival.contains("16 tokens or more: 33.33%"), "{survival}");
    let data = page.by_id("all-probes-data").unwrap().text();
    let data: serde_json::Value = serde_json::from_str(&data).unwrap();
    assert_eq!(data["rows"], 240);
    let again = page.by_id("again").unwrap().line();
    assert!(again.contains("goldfish audit a<script>alert(1)</script>202E"), "{again}");
    assert!(!again.contains("--resume"), "{again}");
}

/// The page of a run says what each of the four cells shows, and what follows.
#[test]
fn copying_is_told_from_recitation() {
    let folder = tempfile::tempdir().unwrap();
    let said = |known, control, copies| {
        let run = run_in_context(folder.path(), known, control, false, Some(copies));
        let page = page(&run, &[], false);
        let data: serde_json::Value =
            serde_json::from_str(&page.by_id("all-probes-data").unwrap().text()).unwrap();
        assert_eq!(data["rows"], if control { 480 } else { 240 });
        let passages = data["columns"].as_array().unwrap().last().unwrap();
        assert_eq!(passages["values"], serde_json::json!(["absent", "in the prompt"]));
        page.by_id("copying").unwrap().line()
    };
    let able = said(0, true, true);
    for words in [
        "copies 120 of 120 control probes",
        "is not inability",
        "recited: from the weights",
        "+100.00 points",
    ] {
        assert!(able.contains(words), "{words}: {able}");
    }
    assert!(said(20, true, true).contains("these come from its weights"));
    // What is in the prompt changes no other number.
    let plain = run(folder.path(), 20, true, false);
    let with = Run::open(&folder.path().join("run-20-true-false-Some(true)")).unwrap();
    assert_eq!(plain.summary.scores, with.summary.scores);
    assert_eq!(statistics(&page(&plain, &[], false)), statistics(&page(&with, &[], false)));
    let unable = said(0, true, false);
    assert!(unable.contains("does not copy from its prompt at this length: it repeats 0 of 120"), "{unable}");
    assert!(unable.contains("may be inability"), "{unable}");
    let alone = said(3, false, true);
    assert!(alone.contains("Without a control, what the model repeats"), "{alone}");
}

#[test]
fn what_is_missing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = run(folder.path(), 0, true, false);
    let page_of_nothing = page(&nothing, &[], false);
    assert!(verdict(&page_of_nothing).starts_with("The model recites none of 120 probes, and"));
    let text = statistics(&page_of_nothing);
    assert!(text.starts_with("The model recites 0 of 120 probes (95% interval up to"), "{text}");
    assert!(text.ends_with(": no recitation was found."), "{text}");
    let alone = run(folder.path(), 3, false, false);
    let text = statistics(&page(&alone, &[], false));
    assert!(text.ends_with("; without a control, chance and common text are not ruled out."), "{text}");
    let gate: Gate<Summary> = "excess.exact_match.lower > 0".parse().unwrap();
    let error = gate.failure(&alone.summary).unwrap_err().to_string();
    assert!(error.contains("excess has no value here"), "{error}");
    let error = Run::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("there is no audit run"), "{error}");
    fs::remove_file(alone.folder().join("summary.json")).unwrap();
    let error = Run::open(alone.folder()).unwrap_err().to_string();
    assert!(error.contains("not complete"), "{error}");
}

#[test]
fn redaction_keeps_lengths_and_positions() {
    let folder = tempfile::tempdir().unwrap();
    let open = run(folder.path(), 3, true, false);
    let redacted = run(folder.path(), 3, true, true);
    for page in [page(&open, &[], true), page(&redacted, &[], false)] {
        let worst = page.by_id("worst").unwrap();
        assert!(!worst.inside().iter().any(|element| element.has_class("passage")));
        let text = worst.line();
        assert!(
            text.contains("Redacted") && text.contains("from token 10 of 40: prefix 8, suffix 16"),
            "{text}"
        );
    }
}

#[test]
fn a_comparison_pairs_probes() {
    let folder = tempfile::tempdir().unwrap();
    let runs: Vec<(String, Run)> = [(3, "few"), (20, TEXT), (0, "none")]
        .map(|(n, name)| (name.to_owned(), run(folder.path(), n, true, false)))
        .into();
    let bootstrap = Bootstrap { seed: 0, resamples: 200 };
    let compared = compare_runs(&runs, &bootstrap).unwrap();
    let [more, none] = compared.comparisons.comparisons.as_slice() else { panic!("two comparisons") };
    assert_eq!((more.baseline_positives, more.run_positives, more.comparison.probes), (12, 80, 120));
    let test = more.comparison.exact_match_test;
    assert_eq!((test.first_only, test.second_only, more.changed.len()), (68, 0, 68));
    assert!(
        more.changed
            .iter()
            .all(|probe| probe.exact_match && probe.baseline_match_length < probe.suffix_tokens)
    );
    assert!((more.comparison.differences["exact_match"].difference.unwrap() - 68.0 / 120.0).abs() < 1e-12);
    assert_eq!((none.run_positives, none.changed.len()), (0, 12));
    assert!(none.changed.iter().all(|probe| !probe.exact_match));
    let html =
        compare_page(&ComparePage { compared: &compared, command: TEXT, gates: &[], failures: &[], seed: 0 });
    let page = conforming(&html.unwrap());
    assert!(statistics(&page).contains("Of 120 probes in common"), "{}", statistics(&page));
    assert!(verdict(&page).contains("recites none of 120 probes; "), "{}", verdict(&page));
    let data: serde_json::Value =
        serde_json::from_str(&page.by_id("changed-probes-data").unwrap().text()).unwrap();
    assert_eq!(data["rows"], 80);
    let error = compare_runs(&runs[..1], &bootstrap).unwrap_err().to_string();
    assert!(error.contains("at least two runs"), "{error}");
}

#[test]
fn a_prompt_template_is_shown_with_what_it_cannot_prove() {
    let folder = tempfile::tempdir().unwrap();
    for (known, words) in [(0, "a zero is no all-clear."), (5, "the rates are lower bounds.")] {
        let mut run = run(folder.path(), known, true, false);
        assert!(!verdict(&page(&run, &[], false)).contains("template"));
        let prompt = format!("Go on {TEXT}: {{prefix}}");
        run.summary.model.template = Some(PromptTemplate::new(Some(prompt), Some(TEXT.into())).unwrap());
        let page = page(&run, &[], false);
        for line in [verdict(&page), statistics(&page)] {
            assert!(line.ends_with(&format!("It was asked through a prompt template: {words}")), "{line}");
        }
        let facts = page.by_id("what").unwrap().text();
        assert!(facts.contains("Go on a<script>alert(1)</script>") && facts.contains("{prefix}"), "{facts}");
    }
}

/// Whatever a run may leave out, a page says so or passes over it.
#[test]
fn no_value_that_may_be_missing_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = run_in_context(folder.path(), 2, true, false, Some(true));
    let of = DocumentsOrigin {
        path: "p".into(),
        manifest: Some("m".into()),
        rule: Some("r".into()),
        tokenized_by: None,
    };
    run.origin.as_mut().unwrap().corpus.push(of);
    run.origin.as_mut().unwrap().tokenizer = Some("t".into());
    (run.config.grid.stride, run.config.sample.starts, run.config.options.bos) = (Some(5), Some(9), Some(1));
    (run.summary.model.vocab_size, run.summary.model.context_length) = (Some(4001), Some(64));
    run.summary.model.memory = Some(BlockMemory { window: 512, blocks: 16, block_tokens: 128, init: 4 });
    run.summary.model.template = Some(PromptTemplate::new(None, Some("Be brief.".into())).unwrap());
    let (scores, excess) = (&run.summary.scores, run.summary.excess.as_ref().unwrap());
    let distances = vec![DistanceCount { distance: 0, count: 2 }];
    run.summary.goldfish = Some(GoldfishSummary {
        probes: 4,
        drop_rate: 0.25,
        loss_dropped: scores.means["loss"],
        loss_kept: scores.means["loss"],
        loss_difference: excess["loss"],
        at_dropped: scores.exact_match,
        nearest: distances.clone(),
        since_dropped: distances,
        without_dropped: 1,
    });
    let (summary, config, origin) = (run.summary.clone(), run.config.clone(), run.origin.clone());
    let mut tried = 0;
    let mut try_page = |run: &Run, place: &str| {
        let (folder, command, gates, failures) = ("f", "c", &[], &[]);
        let input = AuditPage { run, folder, command, gates, failures, redact: false, decode: None, seed: 0 };
        let page = audit_page(&input);
        assert!(page.is_ok(), "without {place}: {}", page.unwrap_err());
        tried += 1;
        page.unwrap()
    };
    let whole = try_page(&run, "nothing");
    assert!(whole.contains("4,001 token ids, context of 64 tokens"));
    assert!(
        whole.contains("each token to the last 512, to 16 blocks of 128 before them, and to the first 4")
    );
    // Means are written by one function, so that some of them stand for all.
    let alike = ["positional", "rouge_l_words", "longest_run", "edit_similarity", "ttr_"];
    let stands = |place: &str| {
        let is_inner = place.starts_with("/in_context") && place.matches('/').count() > 2;
        !alike.iter().any(|it| place.contains(it)) && (!is_inner || place.contains("exact_match"))
    };
    for (place, less) in without_each(&summary).into_iter().filter(|(place, _)| stands(place)) {
        run.summary = less;
        let page = try_page(&run, &place);
        let vocabulary = page.contains("unknown vocabulary size");
        assert_eq!(vocabulary, place == "/model/vocab_size", "{place}");
        assert_eq!(page.contains("unknown context length"), place == "/model/context_length");
    }
    run.summary = summary;
    for (place, less) in without_each(&config) {
        run.config = less;
        try_page(&run, &place);
    }
    run.config = config;
    for (place, less) in without_each(&origin) {
        run.origin = less;
        try_page(&run, &place);
    }
    assert!(tried > 50, "{tried}");
}

#[test]
fn no_value_that_may_be_missing_is_needed_for_a_comparison() {
    let folder = tempfile::tempdir().unwrap();
    let runs: Vec<(String, Run)> =
        [3, 5].map(|known| (format!("knows {known}"), run(folder.path(), known, true, false))).into();
    let mut compared = compare_runs(&runs, &Bootstrap { seed: 0, resamples: 50 }).unwrap();
    let all = without_each(&compared.comparisons);
    assert!(all.len() > 10);
    for (place, less) in all {
        compared.comparisons = less;
        let page = compare_page(&ComparePage {
            compared: &compared,
            command: "c",
            gates: &[],
            failures: &[],
            seed: 0,
        });
        assert!(page.is_ok(), "without {place}: {}", page.unwrap_err());
    }
}

/// A name can turn nothing round, also where a page has no place for marks.
#[test]
fn hidden_characters_of_names_are_visible_escapes() {
    let folder = tempfile::tempdir().unwrap();
    let page = page(&run(folder.path(), 3, true, false), &[], false);
    assert_eq!(page.named("title")[0].line(), "goldfish report: a<script>alert(1)</script>\\u{202e}");
    let data: serde_json::Value =
        serde_json::from_str(&page.by_id("all-probes-data").unwrap().text()).unwrap();
    let document = data["columns"][0]["values"][0].as_str().unwrap();
    assert!(document.ends_with("a<script>alert(1)</script>\\u{202e}"), "{document}");
}
