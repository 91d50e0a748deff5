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
    let differing = |size: &SweepOptions| {
        let mut found = Vec::new();
        let mut option = |name: &str, own: String, usual: String| {
            if own != usual {
                found.extend([format!("--{name}"), own]);
            }
        };
        let list = |ks: &[u32]| ks.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        option("k", list(&options.ks), list(&size.ks));
        option("passages", options.passages.to_string(), size.passages.to_string());
        option("copies-each", options.copies.to_string(), size.copies.to_string());
        option("background", options.background.to_string(), size.background.to_string());
        option("epochs", options.epochs.to_string(), size.epochs.to_string());
        option("seed", options.seed.to_string(), size.seed.to_string());
        found
    };
    let mut size = differing(&SweepOptions::default());
    // The number of validation passages has no option: it says which of the two sizes the others start from.
    if options.validation == SweepOptions::quick().validation {
        size = differing(&SweepOptions::quick());
        size.insert(0, "--quick".to_owned());
    }
    let folder = path(folder);
    let mut arguments = vec!["lab", "sweep", "--output", &folder];
    arguments.extend(size.iter().map(String::as_str));
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
    let numbers = [
        ("slots", options.slots as u64, size.slots as u64),
        ("replaced", options.replaced as u64, size.replaced as u64),
        ("most-later", options.most_later as u64, size.most_later as u64),
        ("k", u64::from(options.k), u64::from(size.k)),
        ("steps", options.steps, size.steps),
        ("width", options.width as u64, size.width as u64),
        ("seed", options.seed, size.seed),
    ];
    let mut found = vec!["--output".to_owned(), path(folder)];
    if quick {
        found.push("--quick".into());
    }
    for (name, own, usual) in numbers {
        if own != usual {
            found.extend([format!("--{name}"), own.to_string()]);
        }
    }
    if options.learning_rate != size.learning_rate {
        found.extend(["--lr".into(), options.learning_rate.to_string()]);
    }
    let mut arguments = vec!["lab", "memory"];
    arguments.extend(found.iter().map(String::as_str));
    line(&arguments)
}

/// Makes a copy task again, with models of these architectures.
pub(crate) fn copy(options: &CopyOptions, architectures: &[String], folder: &Path) -> String {
    let usual = CopyOptions::of_shape(options.shape, options.length);
    // The sequences in a step have no option: they say which of the two sizes the others start from.
    let quick = options.batch == usual.clone().quick().batch;
    let size = if quick { usual.quick() } else { usual };
    let list = |lengths: &[usize]| lengths.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let shape = CopyShape::default();
    let numbers = [
        ("key", options.shape.key as u64, shape.key as u64),
        ("answer", options.shape.answer as u64, shape.answer as u64),
        ("shortest", options.shortest as u64, size.shortest as u64),
        ("context", options.context as u64, size.context as u64),
        ("tokens", options.tokens, size.tokens),
        ("samples", options.samples, size.samples),
        ("layers", options.layers as u64, size.layers as u64),
        ("width", options.width as u64, size.width as u64),
        ("heads", options.heads as u64, size.heads as u64),
        ("seed", options.seed, size.seed),
    ];
    let mut found = vec!["--length".to_owned(), options.length.to_string()];
    if quick {
        found.push("--quick".into());
    }
    for (name, own, usual) in numbers {
        if own != usual {
            found.extend([format!("--{name}"), own.to_string()]);
        }
    }
    if options.lengths != size.lengths {
        found.extend(["--lengths".into(), list(&options.lengths)]);
    }
    if options.learning_rate != size.learning_rate {
        found.extend(["--lr".into(), options.learning_rate.to_string()]);
    }
    let (folder, architectures) = (path(folder), architectures.join(","));
    let mut arguments = vec!["lab", "copy", "--task", options.shape.task.name()];
    arguments.extend(["--architecture", &architectures, "--output", &folder]);
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
