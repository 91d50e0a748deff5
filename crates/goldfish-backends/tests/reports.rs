//! Pages and gates of a run over every protocol, and of one in this process: what each leaves unknown.

#![cfg(all(feature = "http", feature = "local"))]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use common::checkpoint;
use common::faults::Faults;
use common::protocols::{Codec, Kind};
use common::server::TestServer;
use common::*;
use goldfish_audit::AuditError;
use goldfish_audit::backend::{Backend, BlockMemory, SamplingScheme};
use goldfish_audit::engine::Engine;
use goldfish_audit::gate::{Gate, failures};
use goldfish_audit::options::Decide;
use goldfish_audit::options::{AuditOptions, Extraction};
use goldfish_audit::probe::ProbeTable;
use goldfish_audit::run::Run;
use goldfish_audit::stat::Bootstrap;
use goldfish_audit::store::RunStore;
use goldfish_audit::summary::{Comparison, Summary};
use goldfish_backends::http::{Server, ServerOptions, TextCodec};
use goldfish_backends::local::Checkpoint;
use goldfish_report::{AuditPage, ComparePage, audit_page, compare_page, compare_runs};
use tempfile::tempdir;

/// A complete run in a folder, as a later process finds it.
fn run(folder: &Path, backend: &dyn Backend, table: &ProbeTable, extraction: bool) -> Run {
    let can = backend.capabilities();
    let scheme = SamplingScheme { temperature: 1.0, top_k: None, top_p: None };
    let options = AuditOptions {
        decide: if can.score { Decide::Score } else { Decide::Generate },
        continuations: can.generate,
        extraction: (extraction && can.schemes).then_some(Extraction { scheme, p: 0.5, near: None }),
        ..AuditOptions::default()
    };
    audit_with(folder, backend, table, &options).unwrap();
    let mut run = Run::open(folder).unwrap();
    run.summary.self_test = tested(backend, table).unwrap();
    run
}

fn page(run: &Run) -> String {
    let holds: Gate<Summary> = "exact_match.n > 1 and probes.probes > 1".parse().unwrap();
    let fails: Gate<Summary> = "exact_match.rate > 1".parse().unwrap();
    let gates = [holds, fails];
    let failures = failures(&gates, &run.summary).unwrap();
    assert_eq!(failures.len(), 1);
    let input = AuditPage {
        run,
        folder: "run",
        command: "goldfish report run",
        gates: &gates.iter().map(Gate::to_string).collect::<Vec<_>>(),
        failures: &failures,
        redact: false,
        decode: None,
        seed: 0,
    };
    // With and without the model's text.
    let (page, redacted) = (audit_page(&input), audit_page(&AuditPage { redact: true, ..input }));
    assert!(redacted.unwrap().contains("Redacted"));
    page.unwrap()
}

/// A gate on a score: decided if it was measured, otherwise an error that names it.
fn gate(run: &Run, path: &str, measured: bool) {
    let gate: Gate<Summary> = format!("{path} > -1e9").parse().unwrap();
    match gate.failure(&run.summary) {
        Ok(failure) => assert!(measured && failure.is_some(), "{path}"),
        Err(error) => {
            let error = error.to_string();
            assert!(!measured && error.contains(&format!("{path} has no value here")), "{path}: {error}");
        }
    }
}

fn compared(runs: &[(String, Run)]) -> String {
    let compared = compare_runs(runs, &Bootstrap { seed: 0, resamples: 50 }).unwrap();
    let gates: Vec<Gate<Comparison>> =
        ["probes > 1", "differences.exact_match.difference > 2"].map(|gate| gate.parse().unwrap()).into();
    let mut found = Vec::new();
    for one in &compared.comparisons.comparisons {
        found.extend(failures(&gates, &one.comparison).unwrap().into_iter().map(|it| (one.run.clone(), it)));
    }
    assert_eq!(found.len(), runs.len() - 1);
    let gates: Vec<String> = gates.iter().map(Gate::to_string).collect();
    let input = ComparePage {
        compared: &compared,
        command: "goldfish compare",
        gates: &gates,
        failures: &found,
        seed: 0,
    };
    compare_page(&input).unwrap()
}

#[test]
fn every_protocol_has_pages_and_gates() {
    let folder = tempdir().unwrap();
    let table = table(folder.path());
    // Each with what is known of the vocabulary and the context, and whether it scores and continues.
    let (no_size, no_context) = ("unknown vocabulary size", "unknown context length");
    let cases = [
        (Kind::Vllm, no_size, "context of 199 tokens", true, true),
        (Kind::OpenAi, no_size, no_context, true, false),
        (Kind::OpenAi, no_size, no_context, true, true),
        (Kind::LlamaCpp, "60 token ids", "context of 256 tokens", false, true),
        (Kind::Ollama, no_size, "context of 256 tokens", false, true),
        (Kind::Tgi, no_size, "context of 256 tokens", false, true),
        (Kind::OpenAiText, no_size, no_context, false, true),
    ];
    let direct = run(&folder.path().join("direct"), &model(), &table, true);
    assert!(page(&direct).contains("60 token ids"));
    let mut runs = vec![("direct".to_owned(), direct)];
    for (number, (kind, size, context, scores, continues)) in cases.into_iter().enumerate() {
        let server = TestServer::start(kind, model(), Faults::default());
        let text = !matches!(kind, Kind::Vllm | Kind::LlamaCpp) && continues;
        let codec: Option<Box<dyn TextCodec>> = text.then(|| Box::new(Codec) as _);
        let protocol = (kind == Kind::OpenAiText).then(|| "text".parse().unwrap());
        let backend = Server::connect(&server.url, ServerOptions { codec, protocol, ..options() }).unwrap();
        let can = backend.capabilities();
        assert_eq!((can.score, can.generate), (scores, continues), "{kind:?}");
        let name = format!("{kind:?}-{number}");
        let run = run(&folder.path().join(&name), &backend, &table, true);
        let page = page(&run);
        assert!(page.contains(size) && page.contains(context), "{name}");
        gate(&run, "exact_match.upper", true);
        gate(&run, "loss.mean", scores);
        gate(&run, "rouge_l.mean", continues);
        runs.push((name, run));
    }
    let page = compared(&runs);
    assert!(runs.iter().all(|(name, _)| page.contains(name.as_str())));
    // A baseline that doesn't score against one that does, and the other way.
    runs.reverse();
    compared(&runs);
}

/// A checkpoint's folder, and probes of its ids.
fn checkpoint_and_probes(folder: &Path) -> (PathBuf, ProbeTable) {
    let model = folder.join("model");
    std::fs::create_dir(&model).unwrap();
    checkpoint::write(&model, &checkpoint::config(), &checkpoint::file_of(&checkpoint::tensors()));
    let vocabulary = checkpoint::VOCABULARY as u32;
    let documents = documents().into_iter().map(|ids| ids.into_iter().map(|id| id % vocabulary).collect());
    (model, table_of(folder, documents.collect()))
}

#[test]
fn a_local_run_has_pages_and_gates() {
    let folder = tempdir().unwrap();
    let (model, table) = checkpoint_and_probes(folder.path());
    let backend = Checkpoint::open(&model, None).unwrap();
    let mut runs = Vec::new();
    for extraction in [false, true] {
        let name = format!("local-{extraction}");
        let run = run(&folder.path().join(&name), &backend, &table, extraction);
        assert!(page(&run).contains("11 token ids, context of 64 tokens"));
        gate(&run, "loss.mean", true);
        gate(&run, "rouge_l.mean", true);
        runs.push((name, run));
    }
    compared(&runs);
}

/// A memory belongs to what a run is resumed with.
#[test]
fn a_run_with_a_memory_is_resumed_with_the_same_one() {
    let folder = tempdir().unwrap();
    let (model, table) = checkpoint_and_probes(folder.path());
    let small = BlockMemory { window: 8, blocks: 1, block_tokens: 2, init: 1 };
    let open = |memory: Option<BlockMemory>| {
        let model = Checkpoint::open(&model, None).unwrap();
        match memory {
            Some(memory) => model.with_memory(memory).unwrap(),
            None => model,
        }
    };
    let [whole, stopped] = ["whole", "stopped"].map(|name| folder.path().join(name));
    let backend = open(Some(small));
    audit(&whole, &backend, &table, Decide::Score).unwrap();
    assert!(
        page(&Run::open(&whole).unwrap()).contains("each token to the last 8, to 1 block of 2 before them")
    );

    let options = AuditOptions { decide: Decide::Score, ..AuditOptions::default() };
    let config = Run::open(&whole).unwrap().config;
    let mut store = RunStore::open(&stopped, &config, &[&table], true).unwrap();
    let stop = AtomicBool::new(false);
    let engine =
        Engine { backend: &backend, options: &options, decode: None, batch: 5, segment_rows: 1, stop: &stop };
    let error =
        engine.run(&[&table], &mut store, &mut |progress| stop.store(progress.done > 0, Ordering::Relaxed));
    assert!(matches!(error, Err(AuditError::Interrupted)));
    assert!(store.done() > 0 && store.done() < table.probes.len());
    drop(store);
    for other in [None, Some(BlockMemory { window: 9, ..small })] {
        let refused = audit(&stopped, &open(other), &table, Decide::Score).map(drop).unwrap_err();
        assert!(refused.to_string().contains("which differ in model"), "{refused}");
    }
    audit(&stopped, &backend, &table, Decide::Score).unwrap();
    let sums = |run: &Path| std::fs::read(run.join("SHA256SUMS")).unwrap();
    assert_eq!(sums(&stopped), sums(&whole));
}
