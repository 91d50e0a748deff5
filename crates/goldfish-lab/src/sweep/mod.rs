//! The paper's figure at a small scale: recitation by rule and k, its cost, and the effect of copies that differ.

pub(crate) mod options;
mod plan;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use goldfish_report::{SweepArm, SweepPage, sweep_page};

use self::options::{SweepOptions, SweepResults};
use self::plan::{Corpus, Plan};
use crate::commands;
use crate::corpus::{self, Formatting, copies, write};
use crate::error::LabError;
use crate::events::ValidationEvent;
use crate::experiment::error::ExperimentError;
use crate::experiment::{Audited, Bench, Observe, make_folder, small_model, write_json, write_whole};
use crate::options::{Length, TrainOptions};

/// Losses on the validation documents in a run.
const VALIDATIONS: u64 = 12;

/// Sequences in one step.
const BATCH: u64 = 4;

/// Layouts of the arms with copies that differ: the plain form, nine line widths, comment marks and capitals.
const LAYOUTS: [Formatting; 12] = [
    Formatting::Line,
    Formatting::Wrapped(40),
    Formatting::Wrapped(44),
    Formatting::Wrapped(48),
    Formatting::Wrapped(52),
    Formatting::Wrapped(56),
    Formatting::Wrapped(60),
    Formatting::Wrapped(64),
    Formatting::Wrapped(68),
    Formatting::Wrapped(72),
    Formatting::Commented(56),
    Formatting::Capitals,
];

/// Trains and audits a model for each arm: rules and values of k on documents among which the same passages recur, the standard loss,
/// a control that never saw those passages, and copies in twelve layouts.
///
/// | in the folder | what |
/// |---|---|
/// | `corpus/` | the documents as JSON lines |
/// | `arms/NAME/` | `shards`, `audited` (the passages to recite, once each), `model`, `run`, `arm.json` |
/// | `results.json` | [`SweepResults`] |
/// | `sweep.html` | the page |
///
/// A stopped sweep resumes in its folder, after the last saved step. The same options give the same bytes.
///
/// # Errors
///
/// If the folder has other contents, a file can't be written, or `stop` is set.
pub fn sweep(
    options: &SweepOptions,
    folder: &Path,
    stop: &AtomicBool,
    observe: &mut Observe<'_>,
) -> Result<SweepResults, ExperimentError> {
    let mut bench = Bench::open(folder, "sweep.json", options, stop, observe)?;
    bench.begin("writing the documents");
    write_corpora(&bench, options)?;
    let plans = plan::plans(options);
    let mut arms = Vec::new();
    for (number, plan) in plans.iter().enumerate() {
        let shown = format!("arm {} of {}, {}", number + 1, plans.len(), plan.name);
        arms.push(arm(&mut bench, options, plan, &shown)?);
    }
    let results = SweepResults { options: options.clone(), arms };
    write_json(&bench.path("results.json"), &results)?;
    let page = sweep_page(&SweepPage {
        arms: &results.arms,
        facts: &facts(options),
        command: &commands::sweep(options, folder),
    })?;
    write_whole(&page_path(folder), page.as_bytes())?;
    Ok(results)
}

/// The page of a sweep.
#[must_use]
pub fn page_path(folder: &Path) -> PathBuf {
    folder.join("sweep.html")
}

/// What was trained and audited, for the page.
fn facts(options: &SweepOptions) -> Vec<(String, String)> {
    let SweepOptions {
        targets,
        copies,
        background,
        epochs,
        layout_targets,
        layout_epochs,
        validation,
        seed,
        ..
    } = options;
    let fact = |name: &str, value: String| (name.to_owned(), value);
    vec![
        fact(
            "Documents",
            format!(
                "{targets} made-up passages in {copies} equal copies each, among {background} that stand once; every document is seen {epochs} times"
            ),
        ),
        fact(
            "Layouts",
            format!(
                "{layout_targets} passages, each once in 12 layouts; every copy is seen {layout_epochs} times"
            ),
        ),
        fact(
            "Probes",
            "the first 50 tokens of each passage; the next 50 must be the greedy continuation".into(),
        ),
        fact("Model", "Llama, 2 layers, width 128; the same first weights and order in every arm".into()),
        fact("Validation", format!("{validation} passages that no arm was trained on")),
        fact(
            "Intervals",
            "over passages, of one model an arm: another seed may give other numbers. Arms share their passages; goldfish compare sets two of them against each other"
                .into(),
        ),
        fact("Seed", seed.to_string()),
    ]
}

/// Passages for one purpose, so that no passage is in two corpora that must differ.
fn passages(options: &SweepOptions, purpose: u64, count: u64) -> Vec<String> {
    corpus::passages((purpose << 40) ^ options.seed.wrapping_mul(1 << 20), count)
}

fn write_corpora(bench: &Bench<'_>, options: &SweepOptions) -> Result<(), ExperimentError> {
    let folder = bench.path("corpus");
    make_folder(&folder)?;
    let plain = [Formatting::Line];
    let targets = passages(options, 1, options.targets);
    let background = copies("background", &passages(options, 2, options.background), &plain, 1);
    let others = passages(options, 3, options.targets);
    let layout_targets = passages(options, 4, options.layout_targets);
    let validation = passages(options, 5, options.validation);
    let among = |passages: &[String]| {
        let mut all = copies("target", passages, &plain, options.copies);
        all.extend(background.iter().cloned());
        all
    };
    for (name, contents) in [
        (Corpus::Repeated.file(), among(&targets)),
        (Corpus::Control.file(), among(&others)),
        (Corpus::Layouts.file(), copies("target", &layout_targets, &LAYOUTS, 1)),
        (Corpus::Repeated.audited_file(), copies("target", &targets, &plain, 1)),
        (Corpus::Layouts.audited_file(), copies("target", &layout_targets, &plain, 1)),
        ("validation.jsonl", copies("validation", &validation, &plain, 1)),
    ] {
        write(&folder.join(name), &contents)?;
    }
    bench.mask(&folder.join("validation.jsonl"), plan::unmasked(), &bench.path("validation"))?;
    Ok(())
}

/// Trains and audits one arm. With the same options, training and audit return their earlier results; with others they fail.
fn arm(
    bench: &mut Bench<'_>,
    options: &SweepOptions,
    plan: &Plan,
    shown: &str,
) -> Result<SweepArm, ExperimentError> {
    let folder = bench.path("arms").join(&plan.name);
    make_folder(&folder)?;
    bench.begin(shown);
    let corpora = bench.path("corpus");
    let (shards, audited, model) = (folder.join("shards"), folder.join("audited"), folder.join("model"));
    let masked = bench.mask(&corpora.join(plan.corpus.file()), plan.rule.clone(), &shards)?.totals;
    bench.mask(&corpora.join(plan.corpus.audited_file()), plan.rule.clone(), &audited)?;
    let epochs = if plan.corpus == Corpus::Layouts { options.layout_epochs } else { options.epochs };
    let epoch = masked.documents_out.div_ceil(BATCH);
    // More steps for as many supervised tokens as without a mask.
    let supervised = (masked.tokens - masked.dropped).max(1);
    let steps =
        if plan.longer { (epochs * epoch * masked.tokens).div_ceil(supervised) } else { epochs * epoch };
    let training = training(bench, &shards, plan.use_mask, steps, options.seed);
    let trained = bench.train(&training, &model)?;
    let (summary, near_dropped) = bench.audit(&Audited {
        model: &model,
        shards: &audited,
        control: None,
        run: &folder.join("run"),
        samples: options.targets.max(options.layout_targets).max(1000),
    })?;
    let same_mask = plan.use_mask && plan.repeats_mask;
    let arm = SweepArm {
        name: plan.name.clone(),
        group: plan.group.to_owned(),
        series: plan.series.to_owned(),
        k: plan.k,
        tokens: trained.tokens,
        supervised_tokens: trained.supervised_tokens,
        validation: validation(&model)?,
        exact_match: summary.scores.exact_match,
        rouge_l: summary.scores.means["rouge_l"],
        match_length: summary.scores.means["match_length"],
        goldfish: summary.goldfish.filter(|_| same_mask),
        near_by_chance: near_dropped.filter(|_| same_mask),
    };
    write_json(&folder.join("arm.json"), &arm)?;
    Ok(arm)
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
