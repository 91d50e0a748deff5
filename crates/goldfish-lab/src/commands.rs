//! Command lines that repeat what an experiment did, for its runs and pages.

use std::path::Path;

use goldfish_report::shell_line;

use crate::copy::options::CopyOptions;
use crate::copy::tasks::CopyShape;
use crate::experiment::audited::Audited;
use crate::memory::options::MemoryOptions;
use crate::repair::options::RepairOptions;
use crate::sweep::options::{SweepOptions, SweepPart};

/// Makes an audit again, whose results are divided by a column.
pub(crate) fn audit(audited: &Audited<'_>, by: &str) -> String {
    let (shards, model, run) = (path(audited.shards), path(audited.model), path(audited.run));
    let (control, samples) = (audited.control.map(path), audited.samples.to_string());
    let adapter = audited.adapter.map(path);
    let mut arguments = vec!["audit", &shards, "--model", &model];
    arguments.extend(adapter.iter().flat_map(|adapter| ["--adapter", adapter]));
    arguments.extend(control.iter().flat_map(|control| ["--control", control]));
    arguments.extend(audited.in_context.then_some("--in-context-control"));
    arguments.extend(["--by", by, "--samples", &samples, "--output", &run]);
    line(&arguments)
}

/// Makes the page of a run again.
pub(crate) fn report(run: &str, tokenizer: &Path, page: &Path) -> String {
    line(&["report", run, "--tokenizer", &path(tokenizer), "--output", &path(page)])
}

/// Makes the page of a comparison again.
pub(crate) fn compare(runs: [&Path; 2], page: &Path) -> String {
    let [first, second] = runs.map(path);
    line(&["compare", &first, &second, "--html", &path(page)])
}

/// Makes a sweep again: the architectures that it compares, what it finds out about them, and the copies of its other arms.
pub(crate) fn sweep(
    options: &SweepOptions,
    folder: &Path,
    [architectures, parts, copies]: [&[&str]; 3],
) -> String {
    // The number of validation passages has no option: it says which of the two sizes the others start from.
    let quick = options.validation == SweepOptions::quick().validation;
    let size = if quick { SweepOptions::quick() } else { SweepOptions::default() };
    let found = differing([
        ("k", list(&options.ks), list(&size.ks)),
        ("passages", options.passages.to_string(), size.passages.to_string()),
        ("copies-each", options.copies.to_string(), size.copies.to_string()),
        ("background", options.background.to_string(), size.background.to_string()),
        ("epochs", options.epochs.to_string(), size.epochs.to_string()),
        ("seed", options.seed.to_string(), size.seed.to_string()),
    ]);
    let folder = path(folder);
    let mut arguments = vec!["lab", "sweep", "--output", &folder];
    arguments.extend(quick.then_some("--quick"));
    arguments.extend(found.iter().map(String::as_str));
    let [architectures, parts, copies] = [architectures, parts, copies].map(|names| names.join(","));
    if !architectures.is_empty() {
        arguments.extend(["--architectures", &architectures]);
        if parts != SweepPart::Recitation.name() {
            arguments.extend(["--parts", &parts]);
        }
        if !copies.is_empty() {
            arguments.extend(["--copies", &copies]);
        }
    }
    line(&arguments)
}

/// Makes an experiment with a pool of memory again.
pub(crate) fn memory(options: &MemoryOptions, folder: &Path) -> String {
    let quick = options.samples == MemoryOptions::quick().samples;
    let size = if quick { MemoryOptions::quick() } else { MemoryOptions::default() };
    let found = differing([
        ("slots", options.slots.to_string(), size.slots.to_string()),
        ("replaced", options.replaced.to_string(), size.replaced.to_string()),
        ("most-later", options.most_later.to_string(), size.most_later.to_string()),
        ("k", options.k.to_string(), size.k.to_string()),
        ("steps", options.steps.to_string(), size.steps.to_string()),
        ("width", options.width.to_string(), size.width.to_string()),
        ("seed", options.seed.to_string(), size.seed.to_string()),
        ("lr", options.learning_rate.to_string(), size.learning_rate.to_string()),
    ]);
    let folder = path(folder);
    let mut arguments = vec!["lab", "memory", "--output", &folder];
    arguments.extend(quick.then_some("--quick"));
    arguments.extend(found.iter().map(String::as_str));
    line(&arguments)
}

/// Makes a copy task again, with models of these architectures.
pub(crate) fn copy(options: &CopyOptions, architectures: &[String], folder: &Path) -> String {
    let usual = CopyOptions::of_shape(options.shape, options.length);
    // The sequences in a step have no option: they say which of the two sizes the others start from.
    let quick = options.batch == usual.clone().quick().batch;
    let size = if quick { usual.quick() } else { usual };
    let shape = CopyShape::default();
    let found = differing([
        ("key", options.shape.key.to_string(), shape.key.to_string()),
        ("answer", options.shape.answer.to_string(), shape.answer.to_string()),
        ("shortest", options.shortest.to_string(), size.shortest.to_string()),
        ("context", options.context.to_string(), size.context.to_string()),
        ("tokens", options.tokens.to_string(), size.tokens.to_string()),
        ("samples", options.samples.to_string(), size.samples.to_string()),
        ("layers", options.layers.to_string(), size.layers.to_string()),
        ("width", options.width.to_string(), size.width.to_string()),
        ("heads", options.heads.to_string(), size.heads.to_string()),
        ("seed", options.seed.to_string(), size.seed.to_string()),
        ("lengths", list(&options.lengths), list(&size.lengths)),
        ("lr", options.learning_rate.to_string(), size.learning_rate.to_string()),
    ]);
    let (folder, architectures, length) = (path(folder), architectures.join(","), options.length.to_string());
    let mut arguments = vec!["lab", "copy", "--task", options.shape.task.name()];
    arguments.extend(["--architecture", &architectures, "--output", &folder, "--length", &length]);
    arguments.extend(quick.then_some("--quick"));
    arguments.extend(found.iter().map(String::as_str));
    line(&arguments)
}

/// Makes a repair again, by these methods.
pub(crate) fn repair(options: &RepairOptions, methods: &[&str], folder: &Path) -> String {
    let mut found = vec!["lab".to_owned(), "repair".into()];
    found.extend(options.shards.iter().map(|shards| path(shards)));
    let mut option = |name: &str, value: String| found.extend([format!("--{name}"), value]);
    option("model", path(&options.model));
    option("method", methods.join(","));
    option("output", path(folder));
    for (name, folders) in [("validation", &options.validation), ("other", &options.other)] {
        folders.iter().for_each(|folder| option(name, path(folder)));
    }
    for (name, value) in [
        ("prefix", options.prefix.to_string()),
        ("suffix", options.suffix.to_string()),
        ("steps", options.steps.to_string()),
        ("batch", options.batch.to_string()),
        ("every", options.every.to_string()),
        ("beta", options.beta.to_string()),
        ("temperature", options.temperature.to_string()),
        ("keep", options.keep.to_string()),
        ("lr", options.learning_rate.to_string()),
        ("mask-lr", options.mask_learning_rate.to_string()),
        ("sequence-length", options.sequence_length.to_string()),
        ("seed", options.seed.to_string()),
    ] {
        option(name, value);
    }
    line(&found.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The options, each with its name, own and usual value, that are not as usual.
fn differing<const N: usize>(options: [(&str, String, String); N]) -> Vec<String> {
    let others = options.into_iter().filter(|(_, own, usual)| own != usual);
    others.flat_map(|(name, own, _)| [format!("--{name}"), own]).collect()
}

fn list(values: &[impl ToString]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn line(arguments: &[&str]) -> String {
    shell_line(std::iter::once("goldfish").chain(arguments.iter().copied()).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_copy_tasks_hold_what_differs() {
        use crate::copy::tasks::CopyTask;

        let command = |options: &CopyOptions| copy(options, &["llama".into(), "nope".into()], Path::new("c"));
        let usual = CopyOptions::new(CopyTask::SuffixKey, 20);
        let start = "goldfish lab copy --task suffix-key --architecture llama,nope --output c --length 20";
        assert_eq!(command(&usual), start);
        let other = CopyOptions { lengths: vec![9, 40], learning_rate: 1e-3, heads: 2, ..usual.quick() };
        assert_eq!(command(&other), format!("{start} --quick --heads 2 --lengths 9,40 --lr 0.001"));
    }

    #[test]
    fn commands_hold_what_differs() {
        let quick = SweepOptions { ks: vec![4], seed: 3, ..SweepOptions::quick() };
        let found = sweep(&quick, Path::new("a folder"), [&[], &[], &["equal"]]);
        assert_eq!(found, "goldfish lab sweep --output 'a folder' --quick --k 4 --seed 3");
        let usual = SweepOptions::default();
        assert_eq!(sweep(&usual, Path::new("s"), [&[], &[], &[]]), "goldfish lab sweep --output s");
        assert_eq!(
            sweep(&usual, Path::new("s"), [&["lstm", "mamba"], &["recitation"], &["equal"]]),
            "goldfish lab sweep --output s --architectures lstm,mamba --copies equal"
        );
        assert_eq!(
            sweep(&usual, Path::new("s"), [&["lstm"], &["recitation", "costs"], &[]]),
            "goldfish lab sweep --output s --architectures lstm --parts recitation,costs"
        );
        let large = SweepOptions { passages: 500, epochs: 9, ..SweepOptions::default() };
        assert_eq!(
            sweep(&large, Path::new("s"), [&[], &[], &[]]),
            "goldfish lab sweep --output s --passages 500 --epochs 9"
        );
    }
}
