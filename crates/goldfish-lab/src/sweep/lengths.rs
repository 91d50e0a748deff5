//! Long documents against random ones ([Zhao et al. 2024, "Long Is More for Alignment"](https://arxiv.org/abs/2402.04833)): which of the
//! two a checkpoint recites after it was trained further on as many supervised tokens of either.

use std::path::{Path, PathBuf};

use goldfish_audit::stat::{Clusters, excess_rate};
use goldfish_report::{SweepLength, SweepLengths};

use super::arm::{control, training};
use super::documents::{mask_once, of_several_lengths};
use super::options::SweepOptions;
use super::plan::{Plan, unmasked};
use crate::architectures::ARCHITECTURES;
use crate::corpus::{Copy, write};
use crate::data::Corpus;
use crate::experiment::audited::Audited;
use crate::experiment::error::ExperimentError;
use crate::experiment::{Bench, make_folder, read_json, write_json};
use crate::options::{Documents, Length};

/// How many times longer models are trained than on copies: every document stands once.
const EPOCHS: u64 = 3;

/// The file with the results of an architecture, which is written last.
const RECORD: &str = "lengths.json";

/// Trains and audits the models of architectures that no earlier call did.
pub(super) fn run(
    bench: &mut Bench<'_>,
    options: &SweepOptions,
    plans: &[Plan],
    architectures: &[String],
) -> Result<(), ExperimentError> {
    make_folder(&folder(bench))?;
    let documents = of_several_lengths(options);
    let file = folder(bench).join("documents.jsonl");
    write(&file, &documents)?;
    let shards = folder(bench).join("shards");
    mask_once(bench, &file, unmasked(), &shards)?;
    let longest = (documents.len() as u64 / 4).max(1);
    for architecture in architectures {
        let own = folder(bench).join(architecture);
        if own.join(RECORD).is_file() {
            continue;
        }
        let base = control(bench, options, plans, architecture)?;
        bench.begin(&format!("training {architecture} further, on long and on random documents"));
        let further = Further { options, base: &base, shards: &shards, documents: &documents };
        let longest_only =
            further.train_and_audit(bench, Documents::Longest(longest), &own.join("longest"))?;
        let random =
            further.train_and_audit(bench, Documents::RandomAsLongest(longest), &own.join("random"))?;
        let [first, second] = [&longest_only, &random]
            .map(|found| Clusters::single(found.exact_match.positives, found.exact_match.n));
        let difference = excess_rate(&first, &second);
        let architecture = architecture.clone();
        let lengths = SweepLengths { architecture, longest: longest_only, random, difference };
        write_json(&own.join(RECORD), &lengths)?;
    }
    Ok(())
}

/// What both models have in common.
struct Further<'a> {
    options: &'a SweepOptions,
    base: &'a Path,
    shards: &'a Path,
    documents: &'a [Copy],
}

impl Further<'_> {
    fn train_and_audit(
        &self,
        bench: &mut Bench<'_>,
        documents: Documents,
        own: &Path,
    ) -> Result<SweepLength, ExperimentError> {
        make_folder(own)?;
        let mut training = training(bench, self.shards, false, 1, self.options.seed);
        training.from = Some(self.base.to_owned());
        training.documents = documents;
        let epochs = EPOCHS * self.options.epochs;
        training.length = Length::Epochs(epochs);
        let vocabulary = bench.tokenizer.vocab_size() as usize;
        let mut corpus = Corpus::read(&training.shards, vocabulary, false, training.sequence_length)?;
        let numbers = corpus.selected(documents, training.seed)?;
        let chosen: Vec<Copy> = numbers.iter().map(|number| self.documents[*number].clone()).collect();
        corpus.select(documents, training.seed)?;
        let file = own.join("audited.jsonl");
        write(&file, &chosen)?;
        let audited = own.join("audited");
        mask_once(bench, &file, unmasked(), &audited)?;
        let model = own.join("model");
        let trained = bench.train(&training, &model)?;
        let (summary, _) = bench.audit(&Audited {
            model: &model,
            adapter: None,
            shards: &audited,
            control: None,
            run: &own.join("run"),
            samples: chosen.len() as u64,
            in_context: false,
        })?;
        Ok(SweepLength {
            mean_tokens: corpus.length as f64 / chosen.len() as f64,
            epochs,
            supervised_tokens: trained.supervised_tokens,
            validation_loss: trained.validation_loss,
            exact_match: summary.scores.exact_match,
        })
    }
}

/// The results of all architectures that are finished.
pub(super) fn results(bench: &Bench<'_>) -> Result<Vec<SweepLengths>, ExperimentError> {
    let mut found = Vec::new();
    for kind in ARCHITECTURES {
        let path = folder(bench).join(kind.name).join(RECORD);
        if path.is_file() {
            found.push(read_json(&path)?);
        }
    }
    Ok(found)
}

fn folder(bench: &Bench<'_>) -> PathBuf {
    bench.path("lengths")
}
