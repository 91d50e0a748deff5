//! The paper's figure at a small scale: recitation by rule and k, its cost, and the effect of copies that differ.

mod costs;
mod documents;
pub(crate) mod options;
mod plan;
mod tasks;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use goldfish_audit::run::Run;
use goldfish_audit::summary::Summary;
use goldfish_report::{SweepArm, SweepContext, SweepPage, sweep_page};
use serde::de::DeserializeOwned;

use self::documents::{AUDITED, HELD_OUT, VALIDATION, write_documents};
use self::options::{SweepOptions, SweepPart, SweepResults, SweepSelection};
use self::plan::Plan;
use crate::architecture::Vocabulary;
use crate::architectures::ARCHITECTURES;
use crate::commands;
use crate::error::LabError;
use crate::events::{RecitationEvent, ValidationEvent};
use crate::experiment::audited::Audited;
use crate::experiment::error::ExperimentError;
use crate::experiment::{Bench, Observe, make_folder, read_json, small_model, write_json, write_whole};
use crate::options::{Length, ModelOptions, TrainOptions};

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
/// | `costs/`, `tasks/` | what other parts found: files by architecture, and folders of [`copy`](crate::copy()) by task |
/// | `results.json` | [`SweepResults`] |
/// | `sweep.html` | the page |
///
/// Only the selected arms are trained; results and page have all that are finished in the folder. So a sweep can be divided over several
/// calls, also at the same time. A stopped sweep resumes in its folder, after the last saved step; an arm with an `arm.json` is not
/// trained again. The same options give the same bytes, but for the times of [`SweepPart::Costs`].
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
    let is_new = |part: &&SweepPart| selection.parts.contains(part);
    for part in SweepPart::ALL.iter().filter(is_new) {
        match part {
            SweepPart::Recitation => {}
            SweepPart::Costs => measure_costs(&mut bench, &selection.architectures)?,
            SweepPart::Copy | SweepPart::Keys => {
                let quick = *options == SweepOptions::quick();
                tasks::run(&mut bench, *part, &selection.architectures, quick)?;
            }
        }
    }
    let results = results(&bench, options, &plans)?;
    write_json(&bench.path("results.json"), &results)?;
    let page = sweep_page(&SweepPage {
        arms: &results.arms,
        costs: &results.costs,
        tasks: &results.tasks,
        facts: &facts(&results),
        command: &command(&results, &plans, folder),
    })?;
    write_whole(&page_path(folder), page.as_bytes())?;
    Ok(results)
}

/// The command line that finds out again what the results have.
fn command(results: &SweepResults, plans: &[Plan], folder: &Path) -> String {
    let done = |plan: &&Plan| results.arms.iter().any(|arm| arm.name == plan.name);
    let (compared, others): (Vec<&Plan>, Vec<&Plan>) =
        plans.iter().filter(done).partition(|plan| plan.compares);
    let has = |name: &str| {
        compared.iter().any(|plan| plan.architecture == name)
            || results.costs.iter().any(|cost| cost.architecture == name)
            || results.tasks.iter().any(|task| task.arms.iter().any(|arm| arm.architecture == name))
    };
    let architectures: Vec<&str> =
        ARCHITECTURES.iter().map(|kind| kind.name).filter(|name| has(name)).collect();
    let finished = |part: &SweepPart| match part {
        SweepPart::Recitation => !compared.is_empty(),
        SweepPart::Costs => !results.costs.is_empty(),
        part => results.tasks.iter().any(|task| tasks::is_of(*part, &task.task)),
    };
    let parts: Vec<&str> =
        SweepPart::ALL.iter().filter(|part| finished(part)).map(|part| part.name()).collect();
    let mut copies: Vec<&str> = others.iter().map(|plan| plan.corpus.copies.name()).collect();
    copies.dedup();
    commands::sweep(&results.options, folder, [&architectures, &parts, &copies])
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

/// The file with the costs of an architecture.
fn cost_record(bench: &Bench<'_>, architecture: &str) -> PathBuf {
    bench.path("costs").join(format!("{architecture}.json"))
}

/// Measures the architectures that no earlier call measured.
fn measure_costs(bench: &mut Bench<'_>, architectures: &[String]) -> Result<(), ExperimentError> {
    make_folder(&bench.path("costs"))?;
    for name in architectures {
        let path = cost_record(bench, name);
        if !path.is_file() {
            bench.begin(&format!("costs of {name}"));
            let model = ModelOptions { architecture: name.clone(), ..small_model(bench.folder).model };
            let vocabulary = Vocabulary {
                size: bench.tokenizer.vocab_size() as usize,
                bos_id: bench.tokenizer.bos_id(),
                eos_id: bench.tokenizer.eos_id(),
            };
            write_json(&path, &costs::costs(&model, &vocabulary)?)?;
        }
    }
    Ok(())
}

/// The results of all arms that are finished.
fn results(
    bench: &Bench<'_>,
    options: &SweepOptions,
    plans: &[Plan],
) -> Result<SweepResults, ExperimentError> {
    let mut results = SweepResults {
        options: options.clone(),
        arms: Vec::new(),
        missing: Vec::new(),
        costs: Vec::new(),
        tasks: tasks::results(bench)?,
    };
    for kind in ARCHITECTURES {
        let path = cost_record(bench, kind.name);
        if path.is_file() {
            results.costs.push(read_json(&path)?);
        }
    }
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
    if plan.compares {
        training.recite = vec![audited.clone()];
    }
    let trained = bench.train(&training, &model)?;
    let run = folder.join("run");
    // For the control these are the passages that it was trained on.
    let held_out = (plan.compares && !plan.corpus.control).then(|| bench.path(HELD_OUT));
    let (summary, near_dropped) = bench.audit(&Audited {
        model: &model,
        shards: &audited,
        control: held_out.as_deref(),
        run: &run,
        samples: options.passages.max(1000),
        in_context: held_out.is_some(),
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
        recited: recited(&model, epoch)?,
        in_context: in_context(&summary),
        goldfish: summary.goldfish.filter(|_| same_mask),
        near_by_chance: near_dropped.filter(|_| same_mask),
    };
    write_json(&record(bench, plan), &arm)?;
    Ok(())
}

/// Largest file of metrics that is read, in bytes.
const MAX_METRICS_BYTES: u64 = 1 << 30;

/// The losses on the validation documents by supervised tokens.
fn validation(model: &Path) -> Result<Vec<(u64, f64)>, LabError> {
    let events: Vec<ValidationEvent> = metrics(model)?;
    Ok(events.iter().map(|event| (event.supervised_total, event.validation_loss)).collect())
}

/// The passages that the model recited, by how often it had seen every document, which takes `epoch` steps.
fn recited(model: &Path, epoch: u64) -> Result<Vec<(f64, u64)>, LabError> {
    let events: Vec<RecitationEvent> = metrics(model)?;
    Ok(events.iter().map(|event| (event.step as f64 / epoch as f64, event.recited)).collect())
}

/// The events of one kind in a model's metrics.
fn metrics<T: DeserializeOwned>(model: &Path) -> Result<Vec<T>, LabError> {
    let path = model.join("metrics.jsonl");
    let text = goldfish_storage::read(&path, MAX_METRICS_BYTES).map_err(LabError::io(&path, "reading"))?;
    let lines = text.split(|byte| *byte == b'\n');
    Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

/// What an audit with the passages in the prompt found.
fn in_context(summary: &Summary) -> Option<SweepContext> {
    let found = summary.in_context.as_ref()?;
    Some(SweepContext {
        held_out: summary.control.as_ref()?.exact_match,
        in_prompt: found.scores.exact_match,
        held_out_in_prompt: found.control.as_ref()?.exact_match,
    })
}

fn training(bench: &Bench<'_>, shards: &Path, use_mask: bool, steps: u64, seed: u64) -> TrainOptions {
    TrainOptions {
        validation: vec![bench.path(VALIDATION)],
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
