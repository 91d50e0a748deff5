//! The copy tasks: which models copy from their context, and how far beyond the lengths that they were trained on.

mod bounds;
mod characters;
pub(crate) mod evaluate;
pub(crate) mod options;
pub(crate) mod prompted;
mod shards;
pub(crate) mod tasks;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use goldfish_backends::local::Checkpoint;
use goldfish_report::{CopyArm, CopyPage, copy_page};
use goldfish_shard::MANIFEST_NAME;

pub use self::bounds::longest_copy;
use self::evaluate::{by_length, samples, teacher_forced};
use self::options::{CopyOptions, CopyResults};
use self::tasks::CopyTask;
use crate::architectures::ARCHITECTURES;
use crate::commands;
use crate::experiment::error::ExperimentError;
use crate::experiment::{Bench, Observe, make_folder, read_json, small_model, write_json, write_whole};
use crate::options::{Length, ModelOptions, OptimizerOptions, TrainOptions};

/// Trains a model of each architecture on a task, and evaluates it by length.
///
/// | in the folder | what |
/// |---|---|
/// | `copy.json` | the options |
/// | `tokenizer.json` | one token a character |
/// | `shards/` | packed samples, whose masks are the answers |
/// | `arms/NAME/` | `model`, `arm.json` |
/// | `results.json`, `copy.html` | [`CopyResults`] of all models that are finished in the folder, and their page |
///
/// A stopped run resumes in its folder, after the last saved step; further architectures can follow in other calls. The same options
/// give the same bytes.
///
/// # Errors
///
/// If the options are invalid, the folder has other contents, a file can't be written, or `stop` is set.
pub fn copy(
    options: &CopyOptions,
    architectures: &[String],
    folder: &Path,
    stop: &AtomicBool,
    observe: &mut Observe<'_>,
) -> Result<CopyResults, ExperimentError> {
    options.check()?;
    let tokenizer = characters::tokenizer();
    let mut bench = Bench::open_with(folder, (CopyOptions::RECORD, options), &tokenizer, stop, observe)?;
    let shards = bench.path("shards");
    bench.begin("writing the samples");
    if !shards.join(MANIFEST_NAME).is_file() {
        shards::write(&shards, options, &bench.tokenizer)?;
    }
    for (number, name) in architectures.iter().enumerate() {
        if !record(&bench, name).is_file() {
            let shown = format!("model {} of {}, {name}", number + 1, architectures.len());
            arm(&mut bench, options, name, &shown)?;
        }
    }
    let mut results = CopyResults { options: options.clone(), arms: Vec::new() };
    for kind in ARCHITECTURES {
        let path = record(&bench, kind.name);
        if path.is_file() {
            results.arms.push(read_json(&path)?);
        }
    }
    write_json(&bench.path("results.json"), &results)?;
    write_whole(&copy_page_path(folder), page(&results, folder)?.as_bytes())?;
    Ok(results)
}

/// The page of a task.
#[must_use]
pub fn copy_page_path(folder: &Path) -> PathBuf {
    folder.join("copy.html")
}

fn page(results: &CopyResults, folder: &Path) -> Result<String, ExperimentError> {
    let options = &results.options;
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let unit = if options.shape.task == CopyTask::PhoneBook { "entries" } else { "letters" };
    let facts = [
        fact("Task", options.shape.task.about().into()),
        fact(
            "Training",
            format!(
                "{} tokens of samples of {} to {} {unit}, packed into sequences of {} tokens at most; each is seen once",
                options.tokens, options.shortest, options.length, options.context
            ),
        ),
        fact("Evaluation", format!("{} samples at each length, the same for every model", options.samples)),
        fact(
            "Models",
            format!(
                "{} layers, width {}, {} heads where there are any",
                options.layers, options.width, options.heads
            ),
        ),
        fact("Seed", options.seed.to_string()),
    ];
    let architectures: Vec<String> = results.arms.iter().map(|arm| arm.architecture.clone()).collect();
    Ok(copy_page(&CopyPage {
        task: options.shape.task.name(),
        trained: [options.shortest, options.length],
        arms: &results.arms,
        facts: &facts,
        command: &commands::copy(options, &architectures, folder),
    })?)
}

/// The file with the results of an architecture, which is written last.
fn record(bench: &Bench<'_>, architecture: &str) -> PathBuf {
    bench.path("arms").join(architecture).join("arm.json")
}

/// Trains and evaluates one model.
fn arm(
    bench: &mut Bench<'_>,
    options: &CopyOptions,
    architecture: &str,
    shown: &str,
) -> Result<(), ExperimentError> {
    let folder = bench.path("arms").join(architecture);
    make_folder(&folder)?;
    bench.begin(shown);
    let model = folder.join("model");
    let trained = bench.train(&training(bench, options, architecture), &model)?;
    let checkpoint = Checkpoint::open(&model, None)?;
    let mut lengths = Vec::new();
    for length in &options.lengths {
        bench.begin(&format!("{shown}: length {length}"));
        let samples = samples(&options.shape, *length, options.samples, options.seed);
        let asked = (bench.stop, &mut *bench.observe);
        lengths.push(by_length(*length, &samples, asked, |some| teacher_forced(&checkpoint, some))?);
    }
    let state_bytes = checkpoint.state_bytes();
    let arm = CopyArm {
        architecture: architecture.to_owned(),
        parameters: trained.parameters,
        tokens: trained.tokens,
        supervised_tokens: trained.supervised_tokens,
        loss: trained.loss,
        state_bytes,
        longest_copy: state_bytes.map(longest_copy),
        lengths,
    };
    Ok(write_json(&record(bench, architecture), &arm)?)
}

fn training(bench: &Bench<'_>, options: &CopyOptions, architecture: &str) -> TrainOptions {
    let small = small_model(&bench.path("shards"));
    TrainOptions {
        tokenizer: Some(bench.path("tokenizer.json")),
        model: ModelOptions {
            architecture: architecture.to_owned(),
            layers: options.layers,
            width: options.width,
            heads: options.heads,
            mlp_width: None,
            // The evaluation must fit too.
            context_length: Some(options.longest_sequence()),
            ..small.model
        },
        sequence_length: options.context,
        batch_size: options.batch,
        length: Length::Epochs(1),
        optimizer: OptimizerOptions { learning_rate: options.learning_rate, ..small.optimizer },
        seed: options.seed,
        ..small
    }
}
