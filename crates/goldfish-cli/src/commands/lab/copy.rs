//! `goldfish lab copy`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use goldfish_lab::{
    CopyOptions, CopyResults, CopyShape, PromptedOptions, PromptedResults, copy, copy_page_path,
    copy_prompted,
};
use goldfish_report::{CopyArm, CopyLength};
use goldfish_tokenize::Tokenizer;

use crate::args::CopyArgs;
use crate::experiment::shown;
use crate::model::{self, Asking};
use crate::print::{self, BOLD, count, plural, share};
use crate::signals::stop_on_signals;
use crate::terminal;
use crate::threads::use_threads;
use crate::verdict::Verdict;

pub(crate) fn run(args: &CopyArgs) -> anyhow::Result<Verdict> {
    let stop = stop_on_signals()?;
    if args.model.model.is_some() || args.model.server.is_some() {
        prompted(args, &stop)?;
    } else {
        trained(args, &stop)?;
    }
    Ok(Verdict::Clean)
}

fn shape(args: &CopyArgs) -> CopyShape {
    CopyShape { task: args.task, key: args.key.into(), answer: args.answer.into() }
}

fn lengths(args: &CopyArgs) -> Option<Vec<usize>> {
    Some(args.lengths.as_ref()?.iter().map(|length| *length as usize).collect())
}

/// Trains models and evaluates them.
fn trained(args: &CopyArgs, stop: &AtomicBool) -> anyhow::Result<()> {
    use_threads(args.model.threads)?;
    let mut size = CopyOptions::of_shape(shape(args), args.length as usize);
    if let Some(shortest) = args.shortest {
        size.shortest = shortest as usize;
        size.lengths[0] = size.shortest;
    }
    if args.quick {
        size = size.quick();
    }
    let options = CopyOptions {
        lengths: lengths(args).unwrap_or(size.lengths),
        context: args.context.map_or(size.context, |context| context as usize),
        tokens: args.tokens.unwrap_or(size.tokens),
        samples: args.samples.unwrap_or(size.samples),
        layers: args.layers.into(),
        width: args.width.map_or(size.width, usize::from),
        heads: args.heads.map_or(size.heads, usize::from),
        learning_rate: args.lr,
        seed: args.seed,
        ..size
    };
    let results = shown(|observe| copy(&options, &args.architecture, &args.output, stop, observe))?;
    if args.json { print::json(&results) } else { print::out(&table(args, &results)) }
}

/// Asks a model that was trained on anything.
fn prompted(args: &CopyArgs, stop: &AtomicBool) -> anyhow::Result<()> {
    let file = args.tokenizer.clone().or_else(|| args.model.tokenizer());
    let tokenizer = file.map(|path| Tokenizer::from_file(&path)).transpose()?.map(Arc::new);
    let asking = Asking { tokenizer: tokenizer.clone(), bos: args.bos_id, ..Asking::default() };
    let model = model::open(&args.model, asking)?;
    let defaults = PromptedOptions::default();
    let options = PromptedOptions {
        shape: shape(args),
        lengths: lengths(args).unwrap_or(defaults.lengths),
        examples: args.examples.map_or(defaults.examples, usize::from),
        samples: args.samples.unwrap_or(defaults.samples),
        bos: args.bos_id,
        seed: args.seed,
    };
    let results = shown(|observe| {
        copy_prompted(&options, &*model.backend, tokenizer.as_ref(), &args.output, stop, observe)
    })?;
    if args.json { print::json(&results) } else { print::out(&prompted_table(args, &results)) }
}

fn table(args: &CopyArgs, results: &CopyResults) -> String {
    let options = &results.options;
    let mut lines = vec![format!(
        "{BOLD}{}{BOLD:#}  {}, trained at lengths {} to {}; {} a length",
        print::path(&args.output),
        options.shape.task.name(),
        count(options.shortest as u64),
        count(options.length as u64),
        plural(options.samples, "sample"),
    )];
    for arm in &results.arms {
        lines.push(String::new());
        lines.push(about(arm));
        let rows = arm.lengths.iter().map(|found| {
            let beyond = found.length > options.length || found.length < options.shortest;
            row(found, if beyond { "not in training" } else { "" })
        });
        lines.push(by_length(rows));
    }
    lines.push(String::new());
    lines.push(format!("Look at {}.", print::path(&copy_page_path(&args.output))));
    lines.join("\n") + "\n"
}

/// A model in a line.
fn about(arm: &CopyArm) -> String {
    let mut line = format!(
        "{BOLD}{}{BOLD:#}  {}, {} of them answers; loss {:.4}",
        arm.architecture,
        plural(arm.tokens, "token"),
        print::percent(arm.supervised_tokens, arm.tokens),
        arm.loss,
    );
    if let (Some(bytes), Some(longest)) = (arm.state_bytes, arm.longest_copy) {
        line += &format!("; its state of {} bytes can copy {} letters", count(bytes), count(longest as u64));
    }
    line
}

fn prompted_table(args: &CopyArgs, results: &PromptedResults) -> String {
    let options = &results.options;
    let lines = [
        format!(
            "{BOLD}{}{BOLD:#}  {} asked of {}; {} after {} each",
            print::path(&args.output),
            options.shape.task.name(),
            print::name(&results.model.name),
            plural(options.samples, "sample"),
            plural(options.examples as u64, "example"),
        ),
        by_length(results.lengths.iter().map(|found| row(found, ""))),
    ];
    lines.join("\n") + "\n"
}

fn by_length(rows: impl Iterator<Item = [String; 6]>) -> String {
    let heads = ["length", "strings", "95% interval", "characters", "95% interval", ""];
    terminal::lines(&heads, &rows.collect::<Vec<_>>())
}

fn row(found: &CopyLength, note: &str) -> [String; 6] {
    let interval = |lower: f64, upper: f64| format!("{} to {}", share(lower), share(upper));
    let CopyLength { length, strings, characters } = found;
    [
        count(*length as u64),
        share(strings.rate),
        interval(strings.lower, strings.upper),
        share(characters.rate),
        interval(characters.lower, characters.upper),
        note.to_owned(),
    ]
}
