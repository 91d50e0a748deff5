//! The claim of the goldfish loss in one comparison: a model trained with the standard loss recites its documents, the same
//! model trained with a mask doesn't.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use goldfish_audit::run::Run;
use goldfish_audit::stat::Bootstrap;
use goldfish_audit::summary::Summary;
use goldfish_mask::RuleParameters;
use goldfish_mask::rules::Text;
use goldfish_report::{AuditPage, ComparePage, audit_page, compare_page, compare_runs};
use serde::{Deserialize, Serialize};

use crate::commands;
use crate::corpus::{Formatting, copies, passages, write};
use crate::experiment::audited::Audited;
use crate::experiment::error::ExperimentError;
use crate::experiment::{Bench, Observe, make_folder, small_model, text, write_whole};
use crate::options::{Length, TrainOptions};

/// The size of a demo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DemoOptions {
    /// Passages to train on; as many are held out.
    pub passages: u64,
    /// How often a model sees each copy of them.
    pub epochs: u64,
    /// Determines passages, initial weights and order.
    pub seed: u64,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self { passages: 64, epochs: 14, seed: 0 }
    }
}

/// The results of a demo.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Demo {
    /// The model trained with the standard loss.
    pub standard: Summary,
    /// The model trained with the goldfish loss.
    pub goldfish: Summary,
    /// The standard model again, audited with passages that it never saw.
    pub control: Summary,
}

/// The layouts of each passage in training. The first is audited.
const LAYOUTS: [Formatting; 3] = [Formatting::Line, Formatting::Indented(48), Formatting::Commented(56)];

/// First number of the held-out passages.
const HELD_OUT: u64 = 1 << 32;

/// One token in so many is dropped.
const K: u32 = 4;

/// Makes a corpus, masks it, trains two models on it and audits both, all in one folder.
///
/// | in the folder | what | made as by |
/// |---|---|---|
/// | `corpus/` | `documents.jsonl` (three layouts), `audited.jsonl` (each passage once, on one line), `control.jsonl` (the same of others) | |
/// | `masked/`, `audited/`, `control/` | shards | `goldfish mask` |
/// | `models/standard`, `models/goldfish` | checkpoints | `goldfish lab train` |
/// | `runs/standard`, `runs/goldfish`, `runs/control` | audits | `goldfish audit` |
/// | `standard.html`, `goldfish.html` | pages of the audits | `goldfish report` |
/// | `compare.html` | one against the other | `goldfish compare` |
///
/// A stopped demo resumes in its folder. The same options give the same bytes.
///
/// # Errors
///
/// If the folder has other contents, a file can't be written, or `stop` is set.
pub fn demo(
    options: &DemoOptions,
    folder: &Path,
    stop: &AtomicBool,
    observe: &mut Observe<'_>,
) -> Result<Demo, ExperimentError> {
    let mut bench = Bench::open(folder, "demo.json", options, stop, observe)?;
    bench.begin("writing and masking the documents");
    let rule = RuleParameters::from(Text::new(K));
    make_folder(&bench.path("corpus"))?;
    let first = options.seed.wrapping_mul(1 << 20);
    let trained = passages(first, options.passages);
    let held_out = passages(first.wrapping_add(HELD_OUT), options.passages);
    // The layouts of a passage are not independent: one copy of each is audited, so that intervals are over passages.
    let plain = &LAYOUTS[..1];
    for (name, shards, copies) in [
        ("documents", "masked", copies("documents", &trained, &LAYOUTS, 1)),
        ("audited", "audited", copies("documents", &trained, plain, 1)),
        ("control", "control", copies("control", &held_out, plain, 1)),
    ] {
        let corpus = bench.path("corpus").join(format!("{name}.jsonl"));
        write(&corpus, &copies)?;
        bench.mask(&corpus, rule.clone(), &bench.path(shards))?;
    }
    for (name, use_mask) in [("standard", false), ("goldfish", true)] {
        bench.begin(&format!("training: {name}"));
        let options = training(options, &bench.path("masked"), &bench.path("tokenizer.json"), use_mask);
        bench.train(&options, &bench.path("models").join(name))?;
    }
    let audit = |bench: &mut Bench<'_>, name: &str, model: &str, shards: &str, control: Option<&str>| {
        bench.begin(&format!("auditing: {name}"));
        let control = control.map(|control| bench.path(control));
        let (summary, _) = bench.audit(&Audited {
            adapter: None,
            in_context: false,
            model: &bench.path("models").join(model),
            shards: &bench.path(shards),
            control: control.as_deref(),
            run: &bench.path("runs").join(name),
            samples: options.passages.max(1000),
        })?;
        Ok::<_, ExperimentError>(summary)
    };
    let demo = Demo {
        standard: audit(&mut bench, "standard", "standard", "audited", Some("control"))?,
        goldfish: audit(&mut bench, "goldfish", "goldfish", "audited", Some("control"))?,
        control: audit(&mut bench, "control", "standard", "control", None)?,
    };
    pages(&bench)?;
    Ok(demo)
}

fn training(options: &DemoOptions, shards: &Path, tokenizer: &Path, use_mask: bool) -> TrainOptions {
    TrainOptions {
        tokenizer: Some(tokenizer.to_owned()),
        use_mask,
        batch_size: 4,
        length: Length::Epochs(options.epochs),
        seed: options.seed,
        ..small_model(shards)
    }
}

/// Writes the pages of the two audits and of their comparison.
fn pages(bench: &Bench<'_>) -> Result<(), ExperimentError> {
    let decode = |ids: &[u32]| Some(text(&bench.tokenizer, ids));
    let mut runs = Vec::new();
    for name in ["standard", "goldfish"] {
        let folder = bench.path("runs").join(name);
        let (shown, page) = (folder.display().to_string(), bench.path(&format!("{name}.html")));
        let run = Run::open(&folder)?;
        let tokenizer = bench.path("tokenizer.json");
        let made = audit_page(&AuditPage {
            run: &run,
            folder: &shown,
            command: &commands::report(&shown, &tokenizer, &page),
            gates: &[],
            failures: &[],
            redact: false,
            decode: Some(&decode),
            seed: 0,
        })?;
        write_whole(&page, made.as_bytes())?;
        runs.push((name.to_owned(), run));
    }
    let compared = compare_runs(&runs, &Bootstrap::new(0))?;
    let page = comparison(bench.folder);
    let made = compare_page(&ComparePage {
        compared: &compared,
        command: &commands::compare(
            [&bench.path("runs").join("standard"), &bench.path("runs").join("goldfish")],
            &page,
        ),
        gates: &[],
        failures: &[],
        seed: 0,
    })?;
    write_whole(&page, made.as_bytes())?;
    Ok(())
}

/// The page that shows both models.
#[must_use]
pub fn comparison(folder: &Path) -> PathBuf {
    folder.join("compare.html")
}
