//! The control of copying, on models that recite, copy, or do neither.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use common::*;
use goldfish_audit::ResultRow;
use goldfish_audit::backend::Backend;
use goldfish_audit::check::check;
use goldfish_audit::config::RunConfig;
use goldfish_audit::control::{Contamination, ControlCounts, match_controls};
use goldfish_audit::engine::Engine;
use goldfish_audit::fake::{FakeModel, Faults};
use goldfish_audit::options::{AuditOptions, Decide};
use goldfish_audit::probe::{Grid, Passage, ProbeTable, Set};
use goldfish_audit::replay::replay;
use goldfish_audit::selftest::SelfTest;
use goldfish_audit::store::{Finished, RunStore};
use goldfish_audit::summary::Copying;
use goldfish_shard::ToolEntry;
use tempfile::tempdir;

const VOCAB: u32 = 131;
const SEPARATOR: [u32; 2] = [130, 129];
const BOS: u32 = 128;

/// Documents of eight ids of their own.
fn document(number: u32) -> Vec<u32> {
    (number * 8 + 1..=number * 8 + 8).collect()
}

/// After two tokens: what came after them earlier in the prompt, with a logit of 5, if it `copies`; what comes after them in one of the
/// documents that it knows, with 4; else some token, with ln 2. All others have 0.
fn model(known: u32, copies: bool) -> FakeModel {
    FakeModel::new(VOCAB, move |tokens| {
        let mut logits = vec![0.0; VOCAB as usize];
        let Some((last, earlier)) = tokens.last_chunk::<2>().map(|last| (last, &tokens[..tokens.len() - 1]))
        else {
            return logits;
        };
        let seen = earlier.windows(2).rposition(|pair| pair == last).map(|at| tokens[at + 2]);
        let learnt = (last[1] == last[0] + 1 && last[1] % 8 != 0 && last[1] < known * 8).then(|| last[1] + 1);
        let (token, logit) = match (seen.filter(|_| copies), learnt) {
            (Some(token), _) => (token, 5.0),
            (None, Some(token)) => (token, 4.0),
            (None, None) => ((last[1] * 7 + 5) % VOCAB, std::f32::consts::LN_2),
        };
        logits[token as usize] = logit;
        logits
    })
}

/// The log-probability of a token with this logit, where all others have 0.
fn log_prob(logit: f64) -> f64 {
    logit - (logit.exp() + f64::from(VOCAB) - 1.0).ln()
}

/// What is asked.
struct Asked {
    grid: Grid,
    audited: ProbeTable,
    control: Option<(ProbeTable, ControlCounts)>,
    in_prompt: Vec<ProbeTable>,
    options: AuditOptions,
}

impl Asked {
    /// Eight audited documents and, if there is a control, eight others.
    fn new(folder: &Path, grid: &Grid, with_control: bool, options: AuditOptions) -> Self {
        let documents = |name: &str, from: u32| {
            let all: Vec<_> = (from..from + 8).map(|i| (format!("d{i}"), "s".into(), document(i))).collect();
            open(&write_documents(&folder.join(name), &all), Some("source"))
        };
        let (corpus, held_out) = (documents("corpus.jsonl", 0), documents("held-out.jsonl", 8));
        let audited = ProbeTable::sample(&corpus, grid, &everything()).unwrap();
        let control = with_control.then(|| {
            match_controls(&audited, &corpus, &held_out, grid, 0, Contamination::default(), None).unwrap()
        });
        let tables = std::iter::once(&audited).chain(control.as_ref().map(|(table, _)| table));
        let in_prompt = tables.map(|table| table.in_prompt(&SEPARATOR)).collect();
        Self { grid: grid.clone(), audited, control, in_prompt, options }
    }

    fn tables(&self) -> Vec<&ProbeTable> {
        let control = self.control.as_ref().map(|(table, _)| table);
        std::iter::once(&self.audited).chain(control).chain(&self.in_prompt).collect()
    }

    /// The run in a folder, resumed if there is one, as far as the model goes.
    fn run(&self, folder: &Path, model: &FakeModel) -> Option<Finished> {
        let options = AuditOptions { statistics: statistics(), ..self.options.clone() };
        let control =
            self.control.as_ref().map(|(table, counts)| (table, counts.clone(), Contamination::default()));
        let tool = ToolEntry { name: "goldfish".into(), version: "0".into() };
        let described = model.describe().unwrap();
        let (grid, sample) = (self.grid.clone(), everything());
        let config = RunConfig::new(tool, described, grid, sample, options, &self.audited, control)
            .with_in_context(SEPARATOR.to_vec());
        let mut store = RunStore::open(folder, &config, &self.tables(), true).unwrap();
        let stop = AtomicBool::new(false);
        let engine = engine(model, &config.options, &stop);
        engine.run(&self.tables(), &mut store, &mut |_| ()).ok()?;
        let none = SelfTest { capabilities: model.capabilities(), checks: Vec::new() };
        Some(store.finish(&none).unwrap())
    }
}

fn engine<'a>(model: &'a FakeModel, options: &'a AuditOptions, stop: &'a AtomicBool) -> Engine<'a> {
    Engine { backend: model, options, decode: None, batch: 3, segment_rows: 4, stop }
}

fn halves() -> Grid {
    grid(&[0], None, &[4], &[4])
}

fn of(rows: &[ResultRow], set: Set, passage: Passage) -> Vec<&ResultRow> {
    rows.iter().filter(|row| row.is_of(set, passage)).collect()
}

/// Two of eight documents are known, and all are copied.
#[test]
fn four_cells_by_hand() {
    let folder = tempdir().unwrap();
    let asked = Asked::new(folder.path(), &halves(), true, AuditOptions::default());
    let model = model(2, true);
    let run = folder.path().join("run");
    let Finished { rows, summary, .. } = asked.run(&run, &model).unwrap();
    assert_eq!(rows.len(), 32);
    for set in [Set::Audited, Set::Control] {
        let copied = of(&rows, set, Passage::InPrompt);
        assert_eq!(copied.len(), 8);
        for row in copied {
            let log_probs = row.log_probs.as_ref().unwrap();
            assert!(log_probs.iter().all(|found| (found - log_prob(5.0)).abs() < 1e-6), "{log_probs:?}");
            assert!(
                row.exact_match && row.trivial.is_empty(),
                "a passage in the prompt makes no probe trivial"
            );
        }
    }
    let absent = of(&rows, Set::Audited, Passage::Absent);
    assert_eq!(absent.iter().filter(|row| row.exact_match).count(), 2);
    assert!((absent[0].scores["loss"].unwrap() + log_prob(4.0)).abs() < 1e-6);
    assert!((absent[2].scores["loss"].unwrap() - (f64::from(VOCAB) + 1.0).ln()).abs() < 1e-6);

    let found = summary.in_context.clone().unwrap();
    let counts = |rate: goldfish_audit::stat::Rate| (rate.positives, rate.n, rate.clusters);
    assert_eq!(counts(summary.scores.exact_match), (2, 8, 8));
    assert_eq!(counts(summary.control.clone().unwrap().exact_match), (0, 8, 8));
    assert_eq!(counts(found.scores.exact_match), (8, 8, 8));
    assert_eq!(counts(found.control.clone().unwrap().exact_match), (8, 8, 8));
    let difference = |excess: &goldfish_audit::summary::Excess, name: &str| excess[name].difference.unwrap();
    assert_eq!(difference(found.excess.as_ref().unwrap(), "exact_match"), 0.0);
    assert_eq!(difference(&found.gain, "exact_match"), 0.75);
    assert_eq!(difference(found.control_gain.as_ref().unwrap(), "exact_match"), 1.0);
    // Two known documents gain what a logit of 5 is over 4, the others what it is over a guess.
    let guess = -(f64::from(VOCAB) + 1.0).ln();
    let expected = -(2.0 * (log_prob(5.0) - log_prob(4.0)) + 6.0 * (log_prob(5.0) - guess)) / 8.0;
    assert!((difference(&found.gain, "loss") - expected).abs() < 1e-6);
    // Wilson's interval of 8 of 8 starts at 8 / (8 + 1.96^2).
    assert!((found.control.unwrap().exact_match.lower - 0.675_592).abs() < 1e-6);
    assert_eq!(found.copying, Some(Copying::Copies));

    // What was asked and what it cost.
    let (cost, sent) = (summary.cost, model.asked());
    assert_eq!((cost.scored_tokens, sent.scored), (16 * 8 + 16 * (8 + 2 + 8), cost.scored_tokens));
    assert_eq!((cost.prompt_tokens, cost.decoded_tokens), (sent.prompted, sent.generated));
    assert_eq!(cost.naive_forward_tokens, 16 * 8 + 16 * 18);
    let (problems, checked) = check(&run, None).unwrap();
    assert_eq!(problems, []);
    let checked = checked.unwrap();
    let names: std::collections::BTreeSet<&str> = checked.probes.iter().map(|row| &*row.probe_id).collect();
    assert_eq!(names.len(), 32, "a probe has another name with the passage in its prompt");
    let evidence = std::fs::read_to_string(run.join("evidence.jsonl")).unwrap();
    let proofs: Vec<serde_json::Value> =
        evidence.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(proofs.len(), 2 + 16);
    let prompt = [&document(7)[..], &SEPARATOR, &document(7)[..4]].concat();
    let last = proofs.iter().rfind(|proof| proof["set"] == "audited").unwrap();
    assert_eq!((last["passage"].as_str(), &last["tokens"]["prompt"]), (Some("in_prompt"), &prompt.into()));
}

#[test]
fn a_model_that_does_not_copy_is_one_that_may_be_unable() {
    let folder = tempdir().unwrap();
    let asked = Asked::new(folder.path(), &halves(), true, AuditOptions::default());
    let summary = asked.run(&folder.path().join("run"), &model(2, false)).unwrap().summary;
    let found = summary.in_context.unwrap();
    let rate = |scores: &goldfish_audit::summary::Scores| scores.exact_match.positives;
    assert_eq!((rate(&found.scores), rate(&found.control.unwrap())), (2, 0));
    assert_eq!(found.copying, Some(Copying::DoesNotCopy));
    assert_eq!(found.gain["exact_match"].difference, Some(0.0));
    assert!(summary.notes.iter().any(|note| note.contains("does not copy")), "{:?}", summary.notes);
}

#[test]
fn without_a_control_nothing_is_said_of_copying() {
    let folder = tempdir().unwrap();
    let asked = Asked::new(folder.path(), &halves(), false, AuditOptions::default());
    let summary = asked.run(&folder.path().join("run"), &model(2, true)).unwrap().summary;
    let found = summary.in_context.unwrap();
    assert_eq!((found.control, found.excess, found.copying), (None, None, None));
    assert_eq!(found.scores.exact_match.positives, 8);
    assert!(summary.notes.iter().any(|note| note.contains("may come from its weights too")));
}

/// Several splits of a start, after a BOS: one pass each, and continuations find what scores find.
#[test]
fn scores_and_continuations_agree_on_every_split() {
    let folder = tempdir().unwrap();
    let grid = grid(&[0, 1], None, &[2, 3], &[2, 4]);
    let run = |decide| {
        let options = AuditOptions { decide, bos: Some(BOS), ..AuditOptions::default() };
        let asked = Asked::new(folder.path(), &grid, true, options);
        let (model, run) = (model(3, true), folder.path().join(format!("{decide:?}")));
        let Finished { rows, summary, .. } = asked.run(&run, &model).unwrap();
        let (cost, sent) = (summary.cost, model.asked());
        assert_eq!(
            (cost.scored_tokens, cost.prompt_tokens, cost.decoded_tokens),
            (sent.scored, sent.prompted, sent.generated)
        );
        rows
    };
    let (scored, generated) = (run(Decide::Score), run(Decide::Generate));
    assert_eq!(scored.len(), 2 * 16 * 8);
    for (a, b) in scored.iter().zip(&generated) {
        assert_eq!((a.match_length, &a.generated), (b.match_length, &b.generated), "{a:?}");
    }
    assert!(of(&scored, Set::Control, Passage::InPrompt).iter().all(|row| row.exact_match));
    assert!(of(&scored, Set::Control, Passage::Absent).iter().all(|row| !row.exact_match));
}

#[test]
fn a_resumed_run_has_the_same_bytes() {
    let folder = tempdir().unwrap();
    let asked = Asked::new(folder.path(), &halves(), true, AuditOptions::default());
    let whole = folder.path().join("whole");
    let once = model(2, true);
    asked.run(&whole, &once).unwrap();
    let calls = once.asked().calls;
    assert!(calls > 10);
    for fails_at in (1..calls).step_by(5) {
        let broken = folder.path().join(format!("broken-{fails_at}"));
        let faults = Faults { fails_at: Some(fails_at), ..Faults::default() };
        assert!(asked.run(&broken, &model(2, true).with_faults(faults)).is_none());
        asked.run(&broken, &model(2, true)).unwrap();
        assert!(contents(&broken) == contents(&whole), "failed at call {fails_at}");
    }
}

#[test]
fn a_replay_puts_the_passage_into_the_prompt_again() {
    let folder = tempdir().unwrap();
    let asked = Asked::new(folder.path(), &halves(), true, AuditOptions::default());
    let run = folder.path().join("run");
    asked.run(&run, &model(2, true)).unwrap();
    let checked = check(&run, None).unwrap().1.unwrap();
    let (probes, results): (Vec<_>, Vec<_>) =
        (checked.probes.iter().collect(), checked.results.iter().collect());
    let again = |model: &FakeModel| {
        let stop = AtomicBool::new(false);
        let engine = engine(model, &checked.config.options, &stop);
        replay(&engine, &checked.self_test, &probes, &results, checked.config.separator()).unwrap()
    };
    let same = again(&model(2, true));
    assert_eq!((same.asked, same.positives, same.largest_difference), (32, 18, Some(0.0)));
    assert_eq!(same.changed, []);
    // Only what was copied is answered otherwise.
    assert_eq!(again(&model(2, false)).changed.len(), 16);
}
