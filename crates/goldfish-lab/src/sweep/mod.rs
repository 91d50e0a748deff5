//! The paper's figure at a small scale: recitation by rule and k, its cost, and the effect of copies that differ.

mod adapters;
mod arm;
mod costs;
mod documents;
mod lengths;
pub(crate) mod options;
mod plan;
mod tasks;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use goldfish_report::{SweepPage, sweep_page};

use self::arm::{arm, record};
use self::documents::write_documents;
use self::options::{SweepOptions, SweepPart, SweepResults, SweepSelection};
use self::plan::Plan;
use crate::architecture::Vocabulary;
use crate::architectures::ARCHITECTURES;
use crate::commands;
use crate::experiment::error::ExperimentError;
use crate::experiment::{Bench, Observe, make_folder, read_json, small_model, write_json, write_whole};
use crate::options::ModelOptions;

/// Trains and audits a model for each arm: rules and values of k on documents among which copies of the same passages recur, the standard
/// loss, and a control that never saw those passages. The copies are equal, in other layouts, or edited.
///
/// | in the folder | what |
/// |---|---|
/// | `corpus/` | the documents as JSON lines |
/// | `arms/NAME/` | `shards`, `audited` (the passages to recite, once each), `model`, `run`, `arm.json` |
/// | `costs/`, `tasks/` | what other parts found: files by architecture, and folders of [`copy`](crate::copy()) by task |
/// | `adapters/NAME/`, `lengths/ARCHITECTURE/` | models that were trained further, with their audits |
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
    let wanted = |part: &&SweepPart| selection.parts.contains(part);
    for part in SweepPart::ALL.iter().filter(wanted) {
        match part {
            SweepPart::Recitation => {}
            SweepPart::Costs => measure_costs(&mut bench, &selection.architectures)?,
            SweepPart::Copy | SweepPart::Keys => {
                let quick = *options == SweepOptions::quick();
                tasks::run(&mut bench, *part, &selection.architectures, quick)?;
            }
            SweepPart::Adapters => adapters::run(&mut bench, options, &plans, &selection.architectures)?,
            SweepPart::Lengths => lengths::run(&mut bench, options, &plans, &selection.architectures)?,
        }
    }
    let results = results(&bench, options, &plans)?;
    write_json(&bench.path("results.json"), &results)?;
    let page = sweep_page(&SweepPage {
        arms: &results.arms,
        costs: &results.costs,
        tasks: &results.tasks,
        tuned: &results.tuned,
        lengths: &results.lengths,
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
            || results.tuned.iter().any(|tuned| tuned.architecture == name)
            || results.lengths.iter().any(|lengths| lengths.architecture == name)
    };
    let architectures: Vec<&str> =
        ARCHITECTURES.iter().map(|kind| kind.name).filter(|name| has(name)).collect();
    let finished = |part: &SweepPart| match part {
        SweepPart::Recitation => !compared.is_empty(),
        SweepPart::Costs => !results.costs.is_empty(),
        SweepPart::Adapters => !results.tuned.is_empty(),
        SweepPart::Lengths => !results.lengths.is_empty(),
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
        tuned: adapters::results(bench)?,
        lengths: lengths::results(bench)?,
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
