//! Command lines that repeat what an experiment did, for its runs and pages.

use std::path::Path;

use goldfish_report::shell_line;

use crate::sweep::options::SweepOptions;

/// Makes an audit again, whose results are divided by a column.
pub(crate) fn audit(
    shards: &Path,
    model: &Path,
    control: Option<&Path>,
    by: &str,
    samples: u64,
    run: &Path,
) -> String {
    let (shards, model, run) = (path(shards), path(model), path(run));
    let (control, samples) = (control.map(path), samples.to_string());
    let mut arguments = vec!["audit", &shards, "--model", &model];
    arguments.extend(control.iter().flat_map(|control| ["--control", control]));
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

/// Makes a sweep again.
pub(crate) fn sweep(options: &SweepOptions, folder: &Path) -> String {
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
    line(&arguments)
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
    fn commands_hold_what_differs() {
        let quick = SweepOptions { ks: vec![4], seed: 3, ..SweepOptions::quick() };
        let found = sweep(&quick, Path::new("a folder"));
        assert_eq!(found, "goldfish lab sweep --output 'a folder' --quick --k 4 --seed 3");
        assert_eq!(sweep(&SweepOptions::default(), Path::new("s")), "goldfish lab sweep --output s");
        let large = SweepOptions { passages: 500, epochs: 9, ..SweepOptions::default() };
        assert_eq!(sweep(&large, Path::new("s")), "goldfish lab sweep --output s --passages 500 --epochs 9");
    }
}
