//! Teaching a model that recites not to recite.

pub(crate) mod options;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use goldfish_audit::stat::{Clusters, RateMethod, rate};
use goldfish_report::{RepairArm, RepairPage, RepairPoint, repair_page};
use goldfish_shard::Manifest;

use self::options::{RepairMethod, RepairOptions, RepairResults};
use crate::commands;
use crate::error::LabError;
use crate::events::{RecitationEvent, StepEvent, Trained, ValidationEvent};
use crate::experiment::error::ExperimentError;
use crate::experiment::{Event, Observe, open_folder, read_json, train_observed, write_json, write_whole};
use crate::folder::{Metrics, TRAINED};
use crate::options::{Length, OptimizerOptions, PreferenceOptions, RecitationOptions, TrainOptions};

/// Repairs a checkpoint by each of some methods, and measures by steps what it still recites and what became of its loss on other text.
///
/// | in the folder | what |
/// |---|---|
/// | `repair.json` | the options |
/// | `preference/`, `keep/`, `mask/` | the checkpoint of each method, as of [`train`](crate::train()); its `metrics.jsonl` has the pairs too |
/// | `results.json`, `repair.html` | [`RepairResults`] of all methods that are finished in the folder, and their page |
///
/// A stopped repair resumes in its folder, after the last saved step; further methods can follow in other calls. The same options
/// give the same bytes.
///
/// # Errors
///
/// If the options are invalid, the folder has other contents, a file can't be read or written, or `stop` is set.
pub fn repair(
    options: &RepairOptions,
    methods: &[RepairMethod],
    folder: &Path,
    stop: &AtomicBool,
    observe: &mut Observe<'_>,
) -> Result<RepairResults, ExperimentError> {
    options.check(methods)?;
    open_folder(folder, "repair.json", options)?;
    for method in RepairMethod::ALL.into_iter().filter(|method| methods.contains(method)) {
        observe(Event::Step(method.name()));
        let training = training(options, method, folder)?;
        train_observed(&training, &folder.join(method.name()), stop, observe)?;
    }
    let mut results = RepairResults { options: options.clone(), arms: Vec::new(), left_out: 0 };
    let mut done = Vec::new();
    for method in RepairMethod::ALL {
        let model = folder.join(method.name());
        if model.join(TRAINED).is_file() {
            done.push(method.name());
            results.arms.push(arm(method, &model, &mut results.left_out)?);
        }
    }
    write_json(&folder.join("results.json"), &results)?;
    let page = repair_page(&RepairPage {
        arms: &results.arms,
        facts: &facts(&results),
        command: &commands::repair(options, &done, folder),
    })?;
    write_whole(&repair_page_path(folder), page.as_bytes())?;
    Ok(results)
}

/// The page of a repair.
#[must_use]
pub fn repair_page_path(folder: &Path) -> PathBuf {
    folder.join("repair.html")
}

/// How a method trains.
fn training(
    options: &RepairOptions,
    method: RepairMethod,
    folder: &Path,
) -> Result<TrainOptions, ExperimentError> {
    let keeps = method == RepairMethod::Keep;
    let preference = PreferenceOptions {
        beta: options.beta,
        temperature: options.temperature,
        keep: if keeps { options.keep } else { 0.0 },
        other: if keeps { options.other.clone() } else { Vec::new() },
    };
    let optimizer = OptimizerOptions { weight_decay: 0.0, ..OptimizerOptions::default() };
    let training = TrainOptions {
        shards: options.shards.clone(),
        validation: options.validation.clone(),
        from: Some(options.model.clone()),
        sequence_length: options.sequence_length,
        batch_size: options.batch,
        length: Length::Steps(options.steps),
        recite: options.shards.clone(),
        recitation: RecitationOptions { prefix: options.prefix, suffix: options.suffix },
        preference: Some(preference),
        optimizer: OptimizerOptions { learning_rate: options.learning_rate, ..optimizer.clone() },
        seed: options.seed,
        checkpoint_every: options.every,
        validate_every: options.every,
        ..TrainOptions::default()
    };
    if method != RepairMethod::Mask {
        return Ok(training);
    }
    let steps = masked_steps(options, folder)?;
    // As many measurements.
    let every = (steps * options.every).div_ceil(options.steps).max(1);
    Ok(TrainOptions {
        preference: None,
        length: Length::Steps(steps),
        optimizer: OptimizerOptions { learning_rate: options.mask_learning_rate, ..optimizer },
        validate_every: every,
        checkpoint_every: every,
        ..training
    })
}

/// Steps on the masked documents that have as many supervised tokens as the method with preferences had.
fn masked_steps(options: &RepairOptions, folder: &Path) -> Result<u64, ExperimentError> {
    let path = folder.join(RepairMethod::Preference.name()).join(TRAINED);
    if !path.is_file() {
        let reason =
            "mask is trained for as many supervised tokens as preference, which is not finished here";
        return Err(LabError::option("method", reason).into());
    }
    let trained: Trained = read_json(&path)?;
    let (mut supervised, mut documents, mut dropped) = (0, 0, 0);
    for shards in &options.shards {
        let totals = Manifest::read(shards)?.totals;
        // The first token of a document is no target.
        supervised += totals.tokens.saturating_sub(totals.dropped + totals.documents_out);
        documents += totals.documents_out;
        dropped += totals.dropped;
    }
    if dropped == 0 {
        let reason = "no token is excluded from the loss; mask the documents with a rule, or leave out the method mask";
        return Err(LabError::option("shards", reason).into());
    }
    let steps = trained.supervised_tokens * documents / (supervised * options.batch as u64).max(1);
    Ok(steps.max(1))
}

/// The results of a method that is finished.
fn arm(method: RepairMethod, model: &Path, left_out: &mut u64) -> Result<RepairArm, LabError> {
    let trained: Trained = read_json(&model.join(TRAINED))?;
    let metrics = Metrics::read(model)?;
    let mut points = Vec::new();
    // Both are measured at the same steps.
    for (loss, found) in metrics.events::<ValidationEvent>().zip(metrics.events::<RecitationEvent>()) {
        *left_out = found.short;
        points.push(RepairPoint {
            step: found.step,
            supervised_tokens: found.supervised_total,
            validation_loss: loss.validation_loss,
            recited: rate(&Clusters::single(found.recited, found.documents), RateMethod::Wilson),
            rouge_l: found.rouge_l,
            match_length: found.match_length,
        });
    }
    let preferences: Vec<_> = metrics.events::<StepEvent>().filter_map(|step| step.preference).collect();
    let pairs = preferences.iter().fold((0, 0), |(pairs, ties), step| (pairs + step.pairs, ties + step.ties));
    Ok(RepairArm {
        name: method.name().to_owned(),
        steps: trained.steps,
        tokens: trained.tokens,
        supervised_tokens: trained.supervised_tokens,
        pairs: (!preferences.is_empty()).then_some(pairs),
        points,
    })
}

/// What was done, for the page.
fn facts(results: &RepairResults) -> Vec<(String, String)> {
    let options = &results.options;
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let shown = |paths: &[PathBuf]| {
        paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    };
    let mut facts = vec![
        fact("Model", options.model.display().to_string()),
        fact(
            "Passages",
            format!(
                "the first {} tokens of the documents in {}, and the {} tokens after them; {} documents are shorter",
                options.prefix,
                shown(&options.shards),
                options.suffix,
                results.left_out
            ),
        ),
        fact(
            "Preference",
            format!(
                "{} steps of {} passages: of two continuations that the model draws at temperature {}, the one with the lower Rouge-L to the true suffix is preferred, ties are skipped; direct preference optimization with beta {} against the model as it was, learning rate {}",
                options.steps, options.batch, options.temperature, options.beta, options.learning_rate
            ),
        ),
    ];
    let has = |method: RepairMethod| results.arms.iter().any(|arm| arm.name == method.name());
    if has(RepairMethod::Keep) {
        facts.push(fact(
            "Keep",
            format!("the same, plus {} times the cross entropy of {}", options.keep, shown(&options.other)),
        ));
    }
    if has(RepairMethod::Mask) {
        facts.push(fact(
            "Mask",
            format!(
                "training on with the documents' masks, {} in a step, for as many supervised tokens; learning rate {}",
                options.batch, options.mask_learning_rate
            ),
        ));
    }
    facts.push(fact("Other text", shown(&options.validation)));
    facts.push(fact("Seed", options.seed.to_string()));
    facts
}
