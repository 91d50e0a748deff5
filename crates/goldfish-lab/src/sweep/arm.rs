//! An arm of a sweep: a model that is trained and audited.

use std::path::{Path, PathBuf};

use goldfish_audit::run::Run;
use goldfish_audit::summary::Summary;
use goldfish_report::{SweepArm, SweepContext};

use super::documents::{AUDITED, HELD_OUT, VALIDATION};
use super::options::SweepOptions;
use super::plan::Plan;
use crate::error::LabError;
use crate::events::{RecitationEvent, ValidationEvent};
use crate::experiment::audited::Audited;
use crate::experiment::error::ExperimentError;
use crate::experiment::{Bench, make_folder, small_model, write_json};
use crate::folder::Metrics;
use crate::options::{Length, TrainOptions};

/// Losses on the validation documents in a run.
const VALIDATIONS: u64 = 12;

/// Sequences in one step.
pub(super) const BATCH: u64 = 4;

/// The file with the results of an arm, which is written last.
pub(super) fn record(bench: &Bench<'_>, plan: &Plan) -> PathBuf {
    bench.path("arms").join(&plan.name).join("arm.json")
}

/// Trains and audits one arm. With the same options, training and audit return their earlier results; with others they fail.
pub(super) fn arm(
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
        adapter: None,
        shards: &audited,
        control: held_out.as_deref(),
        run: &run,
        samples: options.passages.max(1000),
        in_context: held_out.is_some(),
    })?;
    let rows = Run::open(&run)?.results()?;
    let same_mask = plan.repeats_mask();
    let metrics = Metrics::read(&model)?;
    let arm = SweepArm {
        name: plan.name.clone(),
        group: plan.group().to_owned(),
        series: plan.series.to_owned(),
        k: plan.k,
        variant: plan.variant.clone(),
        epochs,
        tokens: trained.tokens,
        supervised_tokens: trained.supervised_tokens,
        validation: metrics
            .events::<ValidationEvent>()
            .map(|event| (event.supervised_total, event.validation_loss))
            .collect(),
        exact_match: summary.scores.exact_match,
        rouge_l: summary.scores.means["rouge_l"],
        match_length: summary.scores.means["match_length"],
        match_lengths: rows.map(|row| row.map(|row| row.match_length)).collect::<Result<_, _>>()?,
        recited: metrics
            .events::<RecitationEvent>()
            .map(|event| (event.step as f64 / epoch as f64, event.recited))
            .collect(),
        in_context: in_context(&summary),
        goldfish: summary.goldfish.filter(|_| same_mask),
        near_by_chance: near_dropped.filter(|_| same_mask),
    };
    write_json(&record(bench, plan), &arm)?;
    Ok(())
}

/// The control of an architecture, which is trained now if no earlier call did.
pub(super) fn control(
    bench: &mut Bench<'_>,
    options: &SweepOptions,
    plans: &[Plan],
    architecture: &str,
) -> Result<PathBuf, ExperimentError> {
    let control = |plan: &&Plan| plan.compares && plan.corpus.control && plan.architecture == architecture;
    let Some(plan) = plans.iter().find(control) else {
        return Err(LabError::option("architectures", format!("{architecture:?} is unknown")).into());
    };
    if !record(bench, plan).is_file() {
        arm(bench, options, plan, &plan.name)?;
    }
    Ok(bench.path("arms").join(&plan.name).join("model"))
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

/// How the models of a sweep are trained on some shards.
pub(super) fn training(
    bench: &Bench<'_>,
    shards: &Path,
    use_mask: bool,
    steps: u64,
    seed: u64,
) -> TrainOptions {
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
