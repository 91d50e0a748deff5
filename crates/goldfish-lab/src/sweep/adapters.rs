//! Checkpoints that never saw the passages, trained further on them: adapters by rank, and all weights.

use std::path::{Path, PathBuf};

use goldfish_report::SweepTuned;

use super::arm::{BATCH, control, training};
use super::documents::{AUDITED, mask_once};
use super::options::SweepOptions;
use super::plan::{ARCHITECTURES_K, Corpus, Plan, rule};
use crate::architectures::ARCHITECTURES;
use crate::experiment::audited::Audited;
use crate::experiment::error::ExperimentError;
use crate::experiment::{Bench, make_folder, read_json, write_json};
use crate::options::{LoraOptions, TrainOptions};

/// Ranks of the adapters; at last all weights.
const RANKS: [Option<usize>; 4] = [Some(2), Some(8), Some(32), None];

/// Adapters need larger steps than weights.
const ADAPTERS_LEARNING_RATE: f64 = 1e-2;

/// The shards that models are trained on, and those with the passages to recite, once each.
const SHARDS: [&str; 2] = ["shards", "audited"];

/// The file with the results of a model, which is written last.
const RECORD: &str = "tuned.json";

/// Trains and audits the models that no earlier call did.
pub(super) fn run(
    bench: &mut Bench<'_>,
    options: &SweepOptions,
    plans: &[Plan],
    architectures: &[String],
) -> Result<(), ExperimentError> {
    make_folder(&folder(bench))?;
    let [shards, audited] = SHARDS.map(|name| folder(bench).join(name));
    let corpus = bench.path("corpus");
    let text = || rule("text", ARCHITECTURES_K);
    let masked = mask_once(bench, &corpus.join(Corpus::ALL[0].file()), text(), &shards)?;
    mask_once(bench, &corpus.join(AUDITED), text(), &audited)?;
    let steps = options.epochs * masked.totals.documents_out.div_ceil(BATCH);
    for architecture in architectures {
        let base = control(bench, options, plans, architecture)?;
        for (use_mask, rank) in models() {
            let own = folder(bench).join(name(architecture, use_mask, rank));
            if own.join(RECORD).is_file() {
                continue;
            }
            bench.begin(&format!("training further: {}", name(architecture, use_mask, rank)));
            let mut training = training(bench, &shards, use_mask, steps, options.seed);
            training.from = Some(base.clone());
            if let Some(rank) = rank {
                training.lora = Some(LoraOptions { rank, alpha: None, targets: Vec::new() });
                training.optimizer.learning_rate = ADAPTERS_LEARNING_RATE;
            }
            let tuned = Tuned { architecture, base: &base, training, samples: options.passages.max(1000) };
            tuned.train_and_audit(bench, &audited, &own)?;
        }
    }
    Ok(())
}

/// A checkpoint that is trained further.
struct Tuned<'a> {
    architecture: &'a str,
    base: &'a Path,
    training: TrainOptions,
    samples: u64,
}

impl Tuned<'_> {
    fn train_and_audit(
        &self,
        bench: &mut Bench<'_>,
        audited: &Path,
        own: &Path,
    ) -> Result<(), ExperimentError> {
        make_folder(own)?;
        let model = own.join("model");
        let trained = bench.train(&self.training, &model)?;
        let rank = self.training.lora.as_ref().map(|lora| lora.rank as u64);
        let (checkpoint, adapter) = match rank {
            Some(_) => (self.base, Some(model.as_path())),
            None => (model.as_path(), None),
        };
        let (summary, _) = bench.audit(&Audited {
            model: checkpoint,
            adapter,
            shards: audited,
            control: None,
            run: &own.join("run"),
            samples: self.samples,
            in_context: false,
        })?;
        let tuned = SweepTuned {
            architecture: self.architecture.to_owned(),
            rank,
            k: self.training.use_mask.then_some(ARCHITECTURES_K),
            parameters: trained.parameters,
            supervised_tokens: trained.supervised_tokens,
            validation_loss: trained.validation_loss,
            exact_match: summary.scores.exact_match,
            match_length: summary.scores.means["match_length"],
        };
        Ok(write_json(&own.join(RECORD), &tuned)?)
    }
}

/// The results of all models that are finished.
pub(super) fn results(bench: &Bench<'_>) -> Result<Vec<SweepTuned>, ExperimentError> {
    let mut found = Vec::new();
    for kind in ARCHITECTURES {
        for (use_mask, rank) in models() {
            let path = folder(bench).join(name(kind.name, use_mask, rank)).join(RECORD);
            if path.is_file() {
                found.push(read_json(&path)?);
            }
        }
    }
    Ok(found)
}

/// Whether a model is trained with the mask, and the rank of its adapters.
fn models() -> impl Iterator<Item = (bool, Option<usize>)> {
    [false, true].into_iter().flat_map(|use_mask| RANKS.map(|rank| (use_mask, rank)))
}

fn folder(bench: &Bench<'_>) -> PathBuf {
    bench.path("adapters")
}

fn name(architecture: &str, use_mask: bool, rank: Option<usize>) -> String {
    let loss = if use_mask { "text" } else { "standard" };
    let rank = rank.map_or_else(|| "whole".to_owned(), |rank| format!("rank-{rank}"));
    format!("{architecture}-{loss}-{rank}")
}
