//! The paper's figure at a small scale: recitation by rule and k, its cost, and the effect of copies that differ.

mod documents;
pub(crate) mod options;
mod plan;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use goldfish_audit::run::Run;
use goldfish_report::{SweepArm, SweepPage, sweep_page};

use self::documents::{AUDITED, write_documents};
use self::options::{SweepOptions, SweepResults, SweepSelection};
use self::plan::Plan;
use crate::commands;
use crate::error::LabError;
use crate::events::ValidationEvent;
use crate::experiment::error::ExperimentError;
use crate::experiment::{
    Audited, Bench, Observe, make_folder, read_json, small_model, write_json, write_whole,
};
use crate::options::{Length, TrainOptions};

/// Losses on the validation documents in a run.
const VALIDATIONS: u64 = 12;

/// Sequences in one step.
const BATCH: u64 = 4;

/// Trains and audits a model for each arm: rules and values of k on documents among which copies of the same passages recur, the standard
/// loss, and a control that never saw those passages. The copies are equal, in other layouts, or edited.
///
/// | in the folder | what |
/// |---|---|
/// | `corpus/` | the documents as JSON lines |
/// | `arms/NAME/` | `shards`, `audited` (the passages to recite, once each), `model`, `run`, `arm.json` |
/// | `results.json` | [`SweepResults`] |
/// | `sweep.html` | the page |
///
/// Only the selected arms are trained; results and page have all that are finished in the folder. So a sweep can be divided over several
/// calls, also at the same time. A stopped sweep resumes in its folder, after the last saved step; an arm with an `arm.json` is not
/// trained again. The same options give the same bytes.
///
/// # Errors
///
/// If the folder has other contents, a file can't be written, no arm has a selected name, or `stop` is set.
pub fn sweep(
    options: &SweepOptions,
    selection: &SweepSelection,
    folder: &Path,
    stop: &AtomicBool,
    observe: &mut Observe<'_>,
) -> Result<SweepResults, ExperimentError> {
    let plans = plan::plans(options);
    let selected = plan::selected(&plans, selection)?;
    let mut bench = Bench::open(folder, "sweep.json", options, stop, observe)?;
    bench.begin("writing the documents");
    write_documents(&bench, options)?;
    for (number, plan) in selected.iter().enumerate() {
        let shown = format!("arm {} of {}, {}", number + 1, selected.len(), plan.name);
        if !record(&bench, plan).is_file() {
            arm(&mut bench, options, plan, &shown)?;
        }
    }
    let results = results(&bench, options, &plans)?;
    write_json(&bench.path("results.json"), &results)?;
    let done = |plan: &&Plan| results.arms.iter().any(|arm| arm.name == plan.name);
    let (compared, others): (Vec<&Plan>, Vec<&Plan>) =
        plans.iter().filter(done).partition(|plan| plan.compares);
    let mut architectures: Vec<&str> = compared.iter().map(|plan| plan.architecture).collect();
    let mut copies: Vec<&str> = others.iter().map(|plan| plan.corpus.copies.name()).collect();
    architectures.dedup();
    copies.dedup();
    let page = sweep_page(&SweepPage {
        arms: &results.arms,
        facts: &facts(&results),
        command: &commands::sweep(options, folder, &architectures, &copies),
    })?;
    write_whole(&page_path(folder), page.as_bytes())?;
    Ok(results)
}

/// The page of a sweep.
#[must_use]
pub fn page_path(folder: &Path) -> PathBuf {
    folder.join("sweep.html")
}

/// The file with the results of an arm, which is written last.
fn record(bench: &Bench<'_>, plan: &Plan) -> PathBuf {
    bench.path("arms").join(&plan.name).join("arm.json")
}

/// The results of all arms that are finished.
fn results(
    bench: &Bench<'_>,
    options: &SweepOptions,
    plans: &[Plan],
) -> Result<SweepResults, ExperimentError> {
    let mut results = SweepResults { options: options.clone(), arms: Vec::new(), missing: Vec::new() };
    let compared = plans.iter().any(|plan| plan.compares && record(bench, plan).is_file());
    for plan in plans {
        let path = record(bench, plan);
        if path.is_file() {
            results.arms.push(read_json(&path)?);
        } else if compared || !plan.compares {
            results.missing.push(plan.name.clone());
        }
    }
    Ok(results)
}

/// What was trained and audited, for the page.
fn facts(results: &SweepResults) -> Vec<(String, String)> {
    let SweepOptions { passages, copies, background, epochs, validation, seed, .. } = &results.options;
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let mut facts = vec![
        fact(
            "Documents",
            format!(
                "{passages} made-up passages in {copies} copies each, among {background} that stand once; every document is seen {epochs} times, more often where the tables say so"
            ),
        ),
        fact(
            "Copies",
            "equal; or in twelve layouts in turn; or with words replaced, 5% of them in every other copy, 10% in the rest"
                .into(),
        ),
        fact(
            "Probes",
            "the first 50 tokens of each passage as it was before the edits, on one line; the next 50 must be the greedy continuation"
                .into(),
        ),
        fact("Model", "2 layers, width 128, a llama unless the table says so; the same first weights and order in every arm of an architecture".into()),
        fact("Validation", format!("{validation} passages that no arm was trained on")),
        fact(
            "Intervals",
            "over passages, of one model an arm: another seed may give other numbers. Arms share their passages; goldfish compare sets two of them against each other"
                .into(),
        ),
        fact("Seed", seed.to_string()),
    ];
    if !results.missing.is_empty() {
        facts.push(fact("Not trained yet", results.missing.join(", ")));
    }
    facts
}

/// Trains and audits one arm. With the same options, training and audit return their earlier results; with others they fail.
fn arm(
    bench: &mut Bench<'_>,
    options: &SweepOptions,
    plan: &Plan,
    shown: &str,
) -> Result<(), ExperimentError> {
    let folder = bench.path("arms").join(&plan.name);
    make_folder(&folder)?;
    bench.begin(shown);
    let corpora = bench.path("corpus");
    let (shards, audited, model) = (folder.join("shards"), folder.join("audited"), folder.join("model"));
    let masked = bench.mask(&corpora.join(plan.corpus.file()), plan.rule.clone(), &shards)?.totals;
    bench.mask(&corpora.join(AUDITED), plan.rule.clone(), &audited)?;
    let epochs = plan.epochs(options);
    let epoch = masked.documents_out.div_ceil(BATCH);
    // More steps for as many supervised tokens as without a mask.
    let supervised = (masked.tokens - masked.dropped).max(1);
    let steps =
        if plan.longer { (epochs * epoch * masked.tokens).div_ceil(supervised) } else { epochs * epoch };
    let mut training = training(bench, &shards, plan.use_mask, steps, options.seed);
    training.model.architecture = plan.architecture.to_owned();
    let trained = bench.train(&training, &model)?;
    let run = folder.join("run");
    let (summary, near_dropped) = bench.audit(&Audited {
        model: &model,
        shards: &audited,
        control: None,
        run: &run,
        samples: options.passages.max(1000),
    })?;
    let rows = Run::open(&run)?.results()?;
    let same_mask = plan.repeats_mask();
    let arm = SweepArm {
        name: plan.name.clone(),
        group: plan.group().to_owned(),
        series: plan.series.to_owned(),
        k: plan.k,
        variant: plan.variant.clone(),
        epochs,
        tokens: trained.tokens,
        supervised_tokens: trained.supervised_tokens,
        validation: validation(&model)?,
        exact_match: summary.scores.exact_match,
        rouge_l: summary.scores.means["rouge_l"],
        match_length: summary.scores.means["match_length"],
        match_lengths: rows.map(|row| row.map(|row| row.match_length)).collect::<Result<_, _>>()?,
        goldfish: summary.goldfish.filter(|_| same_mask),
        near_by_chance: near_dropped.filter(|_| same_mask),
    };
    write_json(&record(bench, plan), &arm)?;
    Ok(())
}

/// Largest file of metrics that is read, in bytes.
const MAX_METRICS_BYTES: u64 = 1 << 30;

/// The losses on the validation documents by supervised tokens, from the model's metrics.
fn validation(model: &Path) -> Result<Vec<(u64, f64)>, LabError> {
    let path = model.join("metrics.jsonl");
    let text = goldfish_storage::read(&path, MAX_METRICS_BYTES).map_err(LabError::io(&path, "reading"))?;
    let lines = text.split(|byte| *byte == b'\n');
    let events = lines.filter_map(|line| serde_json::from_slice::<ValidationEvent>(line).ok());
    Ok(events.map(|event| (event.supervised_total, event.validation_loss)).collect())
}

fn training(bench: &Bench<'_>, shards: &Path, use_mask: bool, steps: u64, seed: u64) -> TrainOptions {
    TrainOptions {
        validation: vec![bench.path("validation")],
        tokenizer: Some(bench.path("tokenizer.json")),
        use_mask,
        sequence_length: 512,
        batch_size: BATCH as usize,
        length: Length::Steps(steps),
        seed,
        validate_every: steps.div_ceil(VALIDATIONS).max(1),
        ..small_model(shards)
    }
}
