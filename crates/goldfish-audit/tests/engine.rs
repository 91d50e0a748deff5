//! Whole runs against models whose probabilities are known.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::Path;

use common::*;
use goldfish_audit::backend::{Capabilities, SamplingScheme};
use goldfish_audit::fake::{FakeModel, Faults};
use goldfish_audit::options::Decide;
use goldfish_audit::options::{AuditOptions, Extraction};
use goldfish_audit::probe::{Grid, ProbeTable};
use goldfish_audit::stat::RateMethod;
use goldfish_audit::{AuditError, ResultRow, compare};
use goldfish_shard::OutputFormat;
use proptest::prelude::*;
use tempfile::tempdir;

const VOCAB: u32 = 50;

fn table(folder: &Path, documents: &[Vec<u32>], grid: &Grid) -> ProbeTable {
    let path = write_documents(&folder.join("documents.jsonl"), &plain(documents));
    ProbeTable::sample(&open(&path, Some("source")), grid, &everything()).unwrap()
}

fn near(found: Option<f64>, expected: f64) {
    let found = found.unwrap();
    assert!((found - expected).abs() < 1e-6 * expected.abs().max(1.0), "{found}, expected {expected}");
}

/// Suffixes after the prefix of the other document, computed by hand.
#[test]
fn suffixes_are_scored_after_unrelated_prefixes() {
    let folder = tempdir().unwrap();
    let documents: [Vec<u32>; 2] = [(1..9).collect(), (11..19).collect()];
    let model = FakeModel::reciting(VOCAB, &[documents[0].clone(), documents[1][..6].to_vec()], 2, 5.0);
    let grid = grid(&[0], None, &[4], &[4]);
    let all = table(folder.path(), &documents, &grid);
    let options = AuditOptions { unrelated_prefixes: Some(8), ..AuditOptions::default() };
    let (rows, summary) = audit(&folder.path().join("run"), &model, &grid, &all, &options, 8).unwrap();
    let known = 5f64.exp() + 49.0;
    let sure = known.ln() - 5.0;
    // After 11 to 14 the model expects 15 and not 5; after 14 and 5 it knows nothing; 7 and 8 it knows again.
    let after_other = -known.ln() - 51f64.ln() - 2.0 * sure;
    near(rows[0].scores["prior_log_p"], after_other);
    near(rows[0].scores["prior_gain"], -4.0 * sure - after_other);
    near(
        summary.scores.means["prior_gain"].mean,
        rows.iter().filter_map(|row| row.scores["prior_gain"]).sum::<f64>() / 2.0,
    );
    // Two more sequences of eight tokens.
    assert_eq!(summary.cost.scored_tokens, 2 * 8 + 8 * 2 * 8);

    // Alone, a document has no unrelated prefix.
    let alone = table(folder.path(), &documents[..1], &grid);
    let (rows, _) = audit(&folder.path().join("alone"), &model, &grid, &alone, &options, 8).unwrap();
    assert_eq!((rows[0].scores["prior_log_p"], rows[0].scores["prior_gain"]), (None, None));
}

/// Every score of two probes, computed by hand.
#[test]
fn a_run_by_hand() {
    let folder = tempdir().unwrap();
    // The model knows the first passage whole, and the second up to its sixth token.
    let known: Vec<u32> = vec![1, 2, 3, 4, 5, 6, 7, 8];
    let half: Vec<u32> = vec![11, 12, 13, 14, 15, 16, 17, 18];
    let model = FakeModel::reciting(VOCAB, &[known.clone(), half[..6].to_vec()], 2, 5.0);
    let grid = grid(&[0], None, &[4], &[4]);
    let table = table(folder.path(), &[known, half], &grid);
    let scheme = SamplingScheme { temperature: 2.0, top_k: Some(3), top_p: None };
    let options = AuditOptions {
        extraction: Some(Extraction { scheme, p: 0.9, near: None }),
        text: true,
        min_k: 0.5,
        ..AuditOptions::default()
    };
    let (rows, summary) = audit(&folder.path().join("run"), &model, &grid, &table, &options, 8).unwrap();
    let (first, second) = (&rows[0], &rows[1]);

    let known = 5f64.exp() + 49.0;
    let sure = known.ln() - 5.0;
    assert!(first.exact_match && first.match_length == 4 && first.decided_by == "score");
    assert_eq!(first.ranks, Some(vec![1; 4]));
    near(first.scores["loss"], sure);
    near(first.margin, 5.0);
    for one in [
        first.scores["rouge_l"],
        first.scores["positional_accuracy"],
        first.scores["longest_run"],
        first.scores["edit_similarity"],
    ] {
        assert_eq!(one, Some(1.0));
    }
    // Three tokens can be drawn, with logits 5/2, 0 and 0.
    let log_p_z = 4.0 * (2.5 - (2.5f64.exp() + 2.0).ln());
    near(first.scores["log_p_z"], log_p_z);
    near(first.scores["ln_draws"], (0.1f64.ln() / (1.0 - log_p_z.exp()).ln()).ln());
    near(first.scores["min_k"], sure);

    // Positions 4 and 5 are known. At 6 the favorite is (7 * 16 + 3) mod 50 = 15, at 7 (7 * 17 + 3) mod 50 = 22.
    let unsure = 51f64.ln();
    assert!(!second.exact_match && second.match_length == 2);
    let log_probs = second.log_probs.clone().unwrap();
    for (found, expected) in log_probs.iter().zip([-sure, -sure, -unsure, -unsure]) {
        near(Some(*found), expected);
    }
    // 17 is after 15 and the 17 ids before itself; 18 likewise, with 22 ahead.
    assert_eq!(second.ranks, Some(vec![1, 1, 18, 20]));
    // The truth is ln 2 below the favorite, and less than the known ones are above theirs.
    near(second.margin, 2f64.ln());
    // The model continues with 15, after 16, 15 with (7 * 15 + 3) mod 50 = 8.
    assert_eq!(second.generated, Some(vec![15, 16, 15, 8]));
    near(second.scores["loss"], (sure + unsure) / 2.0);
    near(second.scores["min_k"], unsure);
    assert_eq!(second.scores["positional_accuracy"], Some(0.5));
    assert_eq!(second.scores["rouge_l"], Some(0.5));
    assert_eq!(second.scores["longest_run"], Some(0.5));
    assert_eq!(second.scores["edit_similarity"], Some(0.5));
    assert_eq!(second.scores["rouge_l_words"], Some(0.5));
    assert_eq!((second.scores["ttr_generated"], second.scores["ttr_truth"]), (Some(0.75), Some(1.0)));
    assert_eq!(
        (second.scores["log_p_z"], second.scores["ln_draws"]),
        (Some(f64::NEG_INFINITY), Some(f64::INFINITY))
    );
    // Mean log-probability of an unsure position: (2 ln 2) / 51 - ln 51; in units of its deviation.
    let mean = 2.0 * 2f64.ln() / 51.0;
    let variance = (2.0 * (2f64.ln() - mean).powi(2) + 49.0 * mean * mean) / 51.0;
    near(second.scores["min_k_plus_plus"], mean / variance.sqrt());

    assert_eq!((summary.scores.exact_match.rate, summary.scores.exact_match.n), (0.5, 2));
    assert_eq!(summary.scores.means["match_length"].mean, Some(3.0));
    assert!(summary.notes[0].contains("not checked") && summary.notes[1].starts_with("no positive control"));
    let extraction = summary.extraction.unwrap();
    let within: Vec<u64> = extraction.within.iter().map(|line| line.audited.positives).collect();
    // n(p) of the first is 5.5 draws.
    assert_eq!(within, [0, 1, 1, 1, 1, 1, 1]);
}

/// Masks: the model loses the chain just after the second dropped token of the suffix.
#[test]
fn goldfish_diagnostics_by_hand() {
    let folder = tempdir().unwrap();
    let text: Vec<u32> = (1..=16).collect();
    let source = write_documents(&folder.path().join("documents.jsonl"), &plain(std::slice::from_ref(&text)));
    for format in [OutputFormat::ArrowStream, OutputFormat::Parquet] {
        let name = format!("{format:?}");
        // Tokens 0, 5, 10, 15 are dropped.
        let documents = mask(&source, &folder.path().join(&name), 5, format);
        let grid = grid(&[0], None, &[4], &[12]);
        let table = ProbeTable::sample(&documents, &grid, &everything()).unwrap();
        assert_eq!((table.starts[0].stratum.as_str(), table.starts[0].doc_id.as_str()), ("s", "d0"));
        let model = FakeModel::reciting(VOCAB, &[text[..11].to_vec(), text[10..].to_vec()], 2, 5.0);
        let run = folder.path().join(format!("run-{name}"));
        let (rows, summary) = audit(&run, &model, &grid, &table, &AuditOptions::default(), 1).unwrap();
        // Neither passage knows what follows (10, 11): the first ends with 11, the second begins with it.
        assert_eq!(rows[0].match_length, 7);
        assert_eq!(rows[0].dropped, Some(3));
        assert_eq!(rows[0].divergence_at_dropped, Some(false));
        assert_eq!((rows[0].divergence_nearest, rows[0].divergence_since_dropped), (Some(1), Some(1)));
        let (sure, unsure) = ((5f64.exp() + 49.0).ln() - 5.0, 51f64.ln());
        near(rows[0].scores["loss_dropped"], sure);
        near(rows[0].scores["loss_kept"], (8.0 * sure + unsure) / 9.0);
        let goldfish = summary.goldfish.unwrap();
        assert_eq!((goldfish.probes, goldfish.drop_rate, goldfish.without_dropped), (1, 0.25, 0));
        assert_eq!((goldfish.nearest[0].distance, goldfish.nearest[0].count), (1, 1));
        assert_eq!((goldfish.at_dropped.positives, goldfish.at_dropped.n), (0, 1));
    }
}

#[test]
fn one_pass_a_start_and_one_continuation_a_prefix() {
    let folder = tempdir().unwrap();
    let text = numbers(1, 40, VOCAB);
    let model = FakeModel::reciting(VOCAB, &[text[..20].to_vec()], 3, 4.0);
    let grid = grid(&[0], None, &[4, 8], &[6, 16, 24]);
    let table = table(folder.path(), &[text], &grid);
    assert_eq!(table.probes.len(), 6);
    let (rows, summary) =
        audit(&folder.path().join("run"), &model, &grid, &table, &AuditOptions::default(), 4).unwrap();
    let asked = model.asked();
    assert_eq!((asked.scored, summary.cost.scored_tokens), (32, 32), "one pass");
    assert_eq!(asked.prompted, summary.cost.prompt_tokens);
    assert_eq!(asked.generated, summary.cost.decoded_tokens);
    let decoded: u64 =
        rows.iter().filter(|row| !row.exact_match).map(|row| u64::from(row.suffix_tokens)).sum();
    assert!(asked.generated < decoded / 2, "{asked:?}, {decoded} tokens of inexact suffixes");
    assert_eq!(summary.cost.naive_forward_tokens, 3 * (4 + 8) + 2 * (6 + 16 + 24));
    assert_eq!(summary.cost.naive_decoded_tokens, 2 * (6 + 16 + 24));
}

#[test]
fn without_continuations_nothing_is_decoded() {
    let folder = tempdir().unwrap();
    let model =
        FakeModel::reciting(VOCAB, &[numbers(1, 40, VOCAB)], 3, 4.0).with_capabilities(Capabilities {
            generate: false,
            score: true,
            moments: false,
            schemes: false,
            candidates: false,
        });
    let grid = grid(&[0], None, &[8], &[8]);
    let table = table(folder.path(), &[numbers(1, 40, VOCAB), numbers(2, 40, VOCAB)], &grid);
    let options = AuditOptions { continuations: false, ..AuditOptions::default() };
    let (rows, _) = audit(&folder.path().join("run"), &model, &grid, &table, &options, 4).unwrap();
    assert_eq!(model.asked().calls, 1);
    assert_eq!(rows.iter().map(|row| row.exact_match).collect::<Vec<_>>(), [true, false]);
    assert!(rows.iter().all(|row| row.scores["rouge_l"].is_none()
        && row.scores["loss"].is_some()
        && row.scores["min_k_plus_plus"].is_none()));
    // Asked for all the same, the backend is refused before it is asked anything.
    let refused = audit(&folder.path().join("other"), &model, &grid, &table, &AuditOptions::default(), 4);
    let ability = goldfish_audit::Ability::Continue;
    assert!(matches!(refused, Err(AuditError::Missing { ability: found, .. }) if found == ability));
}

#[test]
fn a_bos_goes_before_every_sequence() {
    let folder = tempdir().unwrap();
    let text = numbers(3, 12, VOCAB);
    // Knows the passage only after the BOS, of which the first window of three holds one.
    let passage: Vec<u32> = std::iter::once(49).chain(text.iter().copied()).collect();
    let model = FakeModel::reciting(VOCAB, &[passage], 3, 4.0);
    let grid = grid(&[0], None, &[2], &[6]);
    let table = table(folder.path(), &[text], &grid);
    let exact = |bos: Option<u32>| {
        let options = AuditOptions { bos, ..AuditOptions::default() };
        let (rows, _) =
            audit(&folder.path().join(format!("{bos:?}")), &model, &grid, &table, &options, 4).unwrap();
        rows[0].exact_match
    };
    assert!(exact(Some(49)) && !exact(None));
}

#[test]
fn redacted_runs_hold_no_text() {
    let folder = tempdir().unwrap();
    // Ids of five digits, which nothing else in the files looks like.
    let text: Vec<u32> = (0..16).map(|i| 54_321 + i).collect();
    let model = FakeModel::reciting(60_000, std::slice::from_ref(&text), 3, 15.0);
    let grid = grid(&[0], None, &[8], &[8]);
    let table = table(folder.path(), &[text], &grid);
    for redact in [false, true] {
        let run = folder.path().join(format!("{redact}"));
        let options = AuditOptions { redact, text: true, ..AuditOptions::default() };
        let (rows, _) = audit(&run, &model, &grid, &table, &options, 1).unwrap();
        assert!(rows[0].exact_match);
        assert_eq!(rows[0].generated.is_none(), redact);
        let probes = goldfish_audit::read_probes(&run.join("probes.parquet")).unwrap();
        assert_eq!(probes[0].prefix.is_none() && probes[0].suffix.is_none(), redact);
        let evidence = std::fs::read_to_string(run.join("evidence.jsonl")).unwrap();
        assert_eq!(evidence.contains("w54330") || evidence.contains("54330"), !redact, "{evidence}");
        assert_eq!(evidence.lines().count(), 1);
    }
}

#[test]
fn bad_answers_are_errors() {
    let folder = tempdir().unwrap();
    let grid = grid(&[0], None, &[8], &[8]);
    let table = table(folder.path(), &[numbers(1, 16, VOCAB)], &grid);
    let run = |name: &str, faults: Faults, decide| {
        let model = FakeModel::reciting(VOCAB, &[], 3, 4.0).with_faults(faults);
        let options = AuditOptions { decide, ..AuditOptions::default() };
        audit(&folder.path().join(name), &model, &grid, &table, &options, 1)
    };
    let short = run("a", Faults { loses_last: true, ..Faults::default() }, Decide::Score);
    assert!(matches!(short, Err(AuditError::BadAnswer { .. })), "{short:?}");
    let positive = run("b", Faults { batch_drifts: 0.0, drifts: 9.0, ..Faults::default() }, Decide::Score);
    assert!(positive.is_ok(), "the first call doesn't drift");
    let generated = numbers(1, 8, VOCAB)[7].wrapping_mul(7) + 3;
    let stops = Faults { stops_at: Some(generated % VOCAB), ..Faults::default() };
    let stopped = run("c", stops, Decide::Generate);
    assert!(matches!(stopped, Err(AuditError::BadAnswer { .. })), "{stopped:?}");
}

/// A run that is interrupted at any call and resumed ends with the same bytes.
#[test]
fn a_resumed_run_has_the_same_bytes() {
    let folder = tempdir().unwrap();
    let documents: Vec<Vec<u32>> = (0..12).map(|i| numbers(i, 30, VOCAB)).collect();
    let recite = || FakeModel::reciting(VOCAB, &documents[..6], 3, 4.0);
    let grid = grid(&[0, 5], None, &[4, 8], &[8]);
    let table = table(folder.path(), &documents, &grid);
    let options = AuditOptions { text: true, ..AuditOptions::default() };
    let whole = folder.path().join("whole");
    let model = recite();
    audit(&whole, &model, &grid, &table, &options, 2).unwrap();
    let expected = contents(&whole);
    assert_eq!(
        expected.keys().collect::<Vec<_>>(),
        [
            "SHA256SUMS",
            "config.json",
            "evidence.jsonl",
            "probes.parquet",
            "results.parquet",
            "self-test.json",
            "summary.json"
        ]
    );
    for fails_at in 0..model.asked().calls {
        let broken = folder.path().join(format!("broken-{fails_at}"));
        let failing = recite().with_faults(Faults { fails_at: Some(fails_at), ..Faults::default() });
        assert!(audit(&broken, &failing, &grid, &table, &options, 2).is_err());
        // What a killed process leaves: an unfinished file, and evidence without its rows.
        std::fs::write(broken.join("segments/.000099.parquet.partial"), b"half").unwrap();
        std::fs::write(broken.join("segments/000098.jsonl"), b"{\"half").unwrap();
        // Another batch size must not matter either.
        audit(&broken, &recite(), &grid, &table, &options, 5).unwrap();
        assert!(contents(&broken) == expected, "failed at call {fails_at}");
    }
    // A finished run ends again, with the same bytes and without asking the model.
    let again = recite();
    audit(&whole, &again, &grid, &table, &options, 2).unwrap();
    assert!(contents(&whole) == expected);
    assert_eq!(again.asked().calls, 0);
}

#[test]
fn a_replay_asks_for_all_positives_and_finds_another_model() {
    use goldfish_audit::check::check;
    use goldfish_audit::engine::Engine;
    use goldfish_audit::replay::{choose, replay};
    use std::sync::atomic::AtomicBool;
    let folder = tempdir().unwrap();
    let documents: Vec<Vec<u32>> = (0..12).map(|i| numbers(i, 16, VOCAB)).collect();
    let grid = grid(&[0], None, &[8], &[8]);
    let table = table(folder.path(), &documents, &grid);
    let model = FakeModel::reciting(VOCAB, &documents[..5], 3, 4.0);
    let run = folder.path().join("run");
    audit(&run, &model, &grid, &table, &AuditOptions::default(), 4).unwrap();
    let (problems, run) = check(&run, None).unwrap();
    assert_eq!(problems, []);
    let run = run.unwrap();
    let chosen = choose(&run.results, 3, 7);
    assert_eq!(chosen, choose(&run.results, 3, 7));
    assert!(run.results.iter().enumerate().all(|(at, row)| !row.exact_match || chosen.contains(&at)));
    assert!((5..=8).contains(&chosen.len()), "{chosen:?}");
    assert_eq!(choose(&run.results, 100, 7).len(), 12);
    let ask = |model: &FakeModel| {
        let stop = AtomicBool::new(false);
        let options = &run.config.options;
        let engine = Engine { backend: model, options, decode: None, batch: 4, segment_rows: 1, stop: &stop };
        let probes: Vec<_> = chosen.iter().map(|at| &run.probes[*at]).collect();
        let results: Vec<_> = chosen.iter().map(|at| &run.results[*at]).collect();
        replay(&engine, &run.self_test, &probes, &results, &[]).unwrap()
    };
    let same = ask(&model);
    assert_eq!((same.asked, same.positives, same.largest_difference), (chosen.len() as u64, 5, Some(0.0)));
    assert_eq!(same.changed, []);
    let other = ask(&FakeModel::reciting(VOCAB, &documents[..4], 3, 4.0));
    let changed: Vec<_> = other.changed.iter().map(|one| (&*one.doc_id, one.exact_match_now)).collect();
    assert_eq!(changed, [("d4", false)]);
    assert_eq!((other.changed[0].match_length_then, other.changed[0].exact_match_then), (8, true));
}

#[test]
fn another_run_in_the_folder_is_refused() {
    use goldfish_audit::store::RunStore;
    use goldfish_remedy::{Remedies, Remedy, Setting};
    let folder = tempdir().unwrap();
    let grid = grid(&[0], None, &[8], &[8]);
    let table = table(folder.path(), &[numbers(1, 16, VOCAB)], &grid);
    let model = FakeModel::reciting(VOCAB, &[], 3, 4.0);
    let run = folder.path().join("run");
    let first = config(&model, &grid, &AuditOptions::default(), &table);
    let store = RunStore::open(&run, &first, &[&table], false).unwrap();
    let message = |result: Result<RunStore, AuditError>| result.unwrap_err().to_string();
    assert!(message(RunStore::open(&run, &first, &[&table], true)).contains("another process"));
    drop(store);
    let refused = RunStore::open(&run, &first, &[&table], false).unwrap_err();
    assert_eq!(
        refused.remedies(),
        [Remedy::give(Setting::Resume).to("continue"), Remedy::change(Setting::Output)]
    );
    let other = config(&model, &grid, &AuditOptions { min_k: 0.1, ..AuditOptions::default() }, &table);
    assert_ne!(first.key, other.key);
    let refused = message(RunStore::open(&run, &other, &[&table], true));
    assert!(refused.ends_with("which differ in options"), "{refused}");
    assert!(
        message(RunStore::open(folder.path(), &first, &[&table], true)).contains("not hold an audit run")
    );
}

#[test]
fn two_runs_are_compared_by_probe() {
    let folder = tempdir().unwrap();
    let documents: Vec<Vec<u32>> = (0..30).map(|i| numbers(i, 16, VOCAB)).collect();
    let grid = grid(&[0], None, &[8], &[8]);
    let table = table(folder.path(), &documents, &grid);
    let run = |known: usize| -> Vec<ResultRow> {
        let model = FakeModel::reciting(VOCAB, &documents[..known], 3, 4.0);
        let name = folder.path().join(format!("run-{known}"));
        audit(&name, &model, &grid, &table, &AuditOptions::default(), 8).unwrap().0
    };
    let (many, few) = (run(20), run(5));
    let found = compare(&many, &few[1..], &statistics().bootstrap);
    assert_eq!((found.probes, found.unpaired), (29, 1));
    assert_eq!((found.exact_match_test.first_only, found.exact_match_test.second_only), (15, 0));
    assert!((found.differences["exact_match"].difference.unwrap() - 15.0 / 29.0).abs() < 1e-12);
    assert!(found.differences["loss"].upper.unwrap() < 0.0);
    assert_eq!(statistics().rates, RateMethod::Wilson);
    // Pairs of documents depend on each other for one run, and the first half of them for the other: so the half is one cluster.
    let clustered = |mut rows: Vec<ResultRow>, of: fn(usize) -> usize| {
        rows.iter_mut().enumerate().for_each(|(i, row)| row.cluster = of(i).to_string());
        rows
    };
    let test = |a: fn(usize) -> usize, b: fn(usize) -> usize| {
        compare(&clustered(many.clone(), a), &clustered(few.clone(), b), &statistics().bootstrap)
            .exact_match_test
    };
    let each = test(|i| i, |i| i);
    assert!((each.clustered - 1.075_111_767e-4).abs() < 1e-9, "{each:?}");
    // 5 of the documents that differ are one cluster, 10 are five.
    let [one, other] =
        [test(|i| i / 2, |i| if i < 10 { 0 } else { i }), test(|i| if i < 10 { 0 } else { i }, |i| i / 2)];
    assert_eq!(one, other);
    // Obuchowski: 15^2 / (5^2 + 5 * 2^2) = 5.
    assert!((one.clustered - 0.025_347_318_677_468).abs() < 1e-9, "{one:?}");
    assert_eq!((one.first_only, one.exact), (each.first_only, each.exact));
}

fn model_of(seed: u64) -> FakeModel {
    // Depends on the last two tokens, with many ties, so that greedy choices hang on the order of the ids.
    FakeModel::new(8, move |tokens| {
        let last = tokens.iter().rev().take(2).fold(seed, |hash, token| {
            (hash ^ u64::from(*token)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23)
        });
        (0..8).map(|i| ((last >> (8 * i)) % 5) as f32).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Scoring first, with any batch size, finds what continuations find.
    #[test]
    fn scores_and_continuations_agree(
        seed in any::<u64>(),
        lengths in prop::collection::vec(0usize..30, 1..6),
        prefixes in prop::collection::vec(1u32..6, 1..3),
        suffixes in prop::collection::vec(1u32..8, 1..3),
        offsets in prop::collection::vec(0u64..10, 1..3),
        stride in prop::option::of(1u64..7),
        batch in 1usize..9,
    ) {
        let folder = tempdir().unwrap();
        let documents: Vec<Vec<u32>> =
            lengths.iter().enumerate().map(|(i, n)| {
                // Half of the documents are what the model itself says, so that suffixes match.
                let mut ids = numbers(seed ^ i as u64, *n, 8);
                if i % 2 == 0 && *n > 3 {
                    use goldfish_audit::backend::{Backend, Decoding, GenerateRequest};
                    let request = GenerateRequest { prompt: &ids[..3], tokens: n - 3 };
                    let told = model_of(seed).generate(&[request], &Decoding::Greedy).unwrap().remove(0).ids;
                    ids.truncate(3);
                    ids.extend(told);
                }
                ids
            }).collect();
        let grid = grid(&offsets, stride, &prefixes, &suffixes);
        let table = table(folder.path(), &documents, &grid);
        prop_assert_eq!(table.counts.documents as usize, documents.len());
        prop_assert_eq!(table.counts.splits, table.counts.probes + table.counts.duplicates);
        let run = |name: &str, decide, batch| {
            let options = AuditOptions { decide, ..AuditOptions::default() };
            let model = model_of(seed);
            let (rows, summary) =
                audit(&folder.path().join(name), &model, &grid, &table, &options, batch).unwrap();
            let asked = model.asked();
            let cost = summary.cost;
            assert_eq!(
                (asked.scored, asked.prompted, asked.generated),
                (cost.scored_tokens, cost.prompt_tokens, cost.decoded_tokens)
            );
            rows
        };
        let scored = run("scored", Decide::Score, batch);
        let generated = run("generated", Decide::Generate, 1);
        prop_assert_eq!(scored.len(), table.probes.len());
        for (a, b) in scored.iter().zip(&generated) {
            prop_assert_eq!((a.exact_match, a.match_length), (b.exact_match, b.match_length));
            prop_assert_eq!(&a.generated, &b.generated);
            prop_assert_eq!((a.scores["rouge_l"], a.scores["edit_similarity"]), (b.scores["rouge_l"], b.scores["edit_similarity"]));
            prop_assert_eq!((a.scores["longest_run"], a.scores["positional_accuracy"]), (b.scores["longest_run"], b.scores["positional_accuracy"]));
        }
        prop_assert_eq!(&scored, &run("again", Decide::Score, batch + 3));
    }
}

#[test]
fn numbers_out_of_range_are_refused() {
    let scheme = |temperature, top_k| SamplingScheme { temperature, top_k, top_p: None };
    let asked = |scheme, p| AuditOptions {
        extraction: Some(Extraction { scheme, p, near: None }),
        ..AuditOptions::default()
    };
    for (options, word) in [
        (asked(scheme(0.0, None), 0.9), "temperature"),
        (asked(scheme(-1.0, None), 0.9), "temperature"),
        (asked(scheme(f64::NAN, None), 0.9), "temperature"),
        (asked(scheme(1.0, Some(0)), 0.9), "top-k"),
        (asked(scheme(1.0, None), 1.0), "p is 1"),
        (asked(scheme(1.0, None), f64::NAN), "p is NaN"),
        (AuditOptions { min_k: 0.0, ..AuditOptions::default() }, "Min-K%"),
        (AuditOptions { min_k: 1.5, ..AuditOptions::default() }, "Min-K%"),
    ] {
        let error = options.check().unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    assert!(asked(scheme(0.7, Some(1)), 0.5).check().is_ok());
}

/// The bound of near-verbatim extraction beside `p_z`, which it is at distance 0, and beside draws.
#[test]
fn near_verbatim_bounds_lie_between_the_suffix_and_what_is_drawn() {
    use goldfish_audit::backend::{Backend, Decoding, GenerateRequest};
    use goldfish_audit::score::near_verbatim::NearVerbatim;
    use goldfish_audit::score::rouge_l::common_subsequence;

    let folder = tempdir().unwrap();
    let known: Vec<u32> = (1..9).collect();
    let model = FakeModel::reciting(VOCAB, std::slice::from_ref(&known), 2, 6.0);
    let grid = grid(&[0], None, &[4], &[4]);
    let table = table(folder.path(), std::slice::from_ref(&known), &grid);
    let scheme = SamplingScheme { temperature: 1.0, top_k: Some(40), top_p: None };
    let bound = |distance, beams| {
        let near = Some(NearVerbatim { distance, beams });
        let options =
            AuditOptions { extraction: Some(Extraction { scheme, p: 0.9, near }), ..AuditOptions::default() };
        let run = folder.path().join(format!("run-{distance}-{beams}"));
        let (rows, summary) = audit(&run, &model, &grid, &table, &options, 3).unwrap();
        let extraction = summary.extraction.unwrap();
        assert!(extraction.near_within[0].audited.rate >= extraction.within[0].audited.rate);
        (rows[0].scores["log_p_z"].unwrap(), rows[0].scores["near_log_p_z"].unwrap())
    };
    let (exact, at_0) = bound(0, 1);
    near(Some(at_0), exact);
    let (few, many) = (bound(1, 5).1, bound(1, 2000).1);
    assert!(exact < few && few <= many, "{exact} {few} {many}");
    // Draws that differ in one token at most: replaced, or one inserted and the last one pushed out.
    let requests = vec![GenerateRequest { prompt: &known[..4], tokens: 4 }; 20_000];
    let drawn = model.generate(&requests, &Decoding::Sampled { scheme, seed: 1, first: 0 }).unwrap();
    let differs = |ids: &[u32]| known[4..].iter().zip(ids).filter(|(a, b)| a != b).count();
    let within = |ids: &[u32]| differs(ids) <= 1 && common_subsequence(ids, &known[4..]) >= 3;
    let share = drawn.iter().filter(|answer| within(&answer.ids)).count() as f64 / 20_000.0;
    let error = 4.0 * (share * (1.0 - share) / 20_000.0).sqrt();
    assert!((many.exp() - share).abs() < error, "{} {share}", many.exp());
    assert!(few.exp() <= share + error);
}
