//! Compares the outputs of two builds of the program, for changes that must not change any.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::Value;

use crate::tools::{root, target};

/// Commands that cover every rule, format, layout and kind of run.
const COMMANDS: &str = include_str!("same.txt");

/// The fixtures that commands read.
const FIXTURES: [&str; 4] = ["corpus", "formats", "tokenizers", "malformed"];

/// JSON fields that are not compared: their values are messages, or hashes of files with messages.
const NOT_COMPARED: [&str; 8] =
    ["reason", "warnings", "notes", "detail", "rule_chosen_because", "rejects", "checksum", "_fingerprint"];

/// File names that end like this contain JSON, as one document or by line.
const JSON_SUFFIXES: [&str; 2] = [".json", ".jsonl"];

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The reference build of the program.
    before: PathBuf,
    /// The build to compare; by default, a debug build of this tree.
    after: Option<PathBuf>,
}

/// One command, and the name of the file for its standard output.
struct Step {
    arguments: Vec<String>,
    stdout_name: Option<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let after = match &options.after {
        Some(after) => after.clone(),
        None => crate::test::build_program()?,
    };
    let steps = steps()?;
    let folder = target().join("same");
    let side = |name: &str, program: &Path| run_all(&steps, &folder.join(name), &program.canonicalize()?);
    let (codes_before, codes_after) = std::thread::scope(|scope| {
        let before = scope.spawn(|| side("before", &options.before));
        let after = side("after", &after);
        (before.join(), after)
    });
    let codes_before = codes_before.map_err(|_| anyhow::anyhow!("a thread panicked"))??;
    let mut differences = Vec::new();
    for (step, (before, after)) in steps.iter().zip(codes_before.iter().zip(codes_after?)) {
        if *before != after {
            differences.push(format!(
                "exit code changed from {before} to {after}: goldfish {}",
                step.arguments.join(" ")
            ));
        }
    }
    let (before, after) = (files(&folder.join("before"))?, files(&folder.join("after"))?);
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in &names {
        match (before.get(*name), after.get(*name)) {
            (Some(before), Some(after)) if is_equal(name, before, after)? => {}
            (Some(_), Some(_)) => differences.push(format!("differs: {name}")),
            (Some(_), None) => differences.push(format!("missing: {name}")),
            (None, _) => differences.push(format!("new: {name}")),
        }
    }
    println!(
        "{} commands ({} fail in the reference build), {} files compared",
        steps.len(),
        codes_before.iter().filter(|code| **code == 2).count(),
        names.len()
    );
    differences.iter().for_each(|difference| println!("{difference}"));
    ensure!(differences.is_empty(), "{} differences; outputs are in {}", differences.len(), folder.display());
    Ok(())
}

/// The commands of the list, and one for each malformed file.
fn steps() -> anyhow::Result<Vec<Step>> {
    let lines = COMMANDS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut steps: Vec<Step> = lines
        .map(|line| {
            let (command, stdout_name) = match line.split_once(" > ") {
                Some((command, name)) => (command, Some(format!("printed-{name}.json"))),
                None => (line, None),
            };
            Step { arguments: command.split_whitespace().map(str::to_owned).collect(), stdout_name }
        })
        .collect();
    let cases: Value = serde_json::from_slice(&fs::read(root().join("fixtures/malformed/expected.json"))?)?;
    for (index, case) in cases.as_array().context("expected.json is not a list")?.iter().enumerate() {
        let file = case["file"].as_str().context("a case without a file")?;
        let mut arguments = vec!["mask".to_owned(), file.to_owned()];
        let own = case["args"].as_array().context("a case without arguments")?;
        arguments.extend(own.iter().filter_map(Value::as_str).map(str::to_owned));
        arguments.extend(["--on-error", "skip", "--output"].map(str::to_owned));
        arguments.push(format!("malformed-{index}"));
        steps.push(Step { arguments, stdout_name: None });
    }
    Ok(steps)
}

/// Runs all commands in a new folder and returns their exit codes.
fn run_all(steps: &[Step], folder: &Path, program: &Path) -> anyhow::Result<Vec<i32>> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    for name in FIXTURES {
        copy(&root().join("fixtures").join(name), &folder.join(name))?;
    }
    let mut codes = Vec::with_capacity(steps.len());
    for step in steps {
        let command = || step.arguments.join(" ");
        let output = Command::new(program)
            .args(&step.arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .output()
            .with_context(command)?;
        let Some(code @ 0..=2) = output.status.code() else {
            bail!("{} ended with {}: goldfish {}", program.display(), output.status, command());
        };
        let may_fail = step.stdout_name.is_none() && command().contains("malformed");
        ensure!(may_fail || code != 2, "{}: {}", command(), String::from_utf8_lossy(&output.stderr));
        if let Some(name) = &step.stdout_name {
            fs::write(folder.join(name), output.stdout)?;
        }
        codes.push(code);
    }
    Ok(codes)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?
        } else {
            fs::copy(entry.path(), target).map(|_| ())?
        }
    }
    Ok(())
}

/// Every file below a folder, by its path with `/`.
fn files(root: &Path) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![(root.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                folders.push((entry.path(), format!("{name}/")));
            } else {
                found.insert(name, entry.path());
            }
        }
    }
    Ok(found)
}

/// Whether two files are equal, apart from messages.
fn is_equal(name: &str, before: &Path, after: &Path) -> anyhow::Result<bool> {
    let (before, after) = (fs::read(before)?, fs::read(after)?);
    if before == after {
        return Ok(true);
    }
    if name.ends_with(".html") {
        return Ok(numbers(&before) == numbers(&after));
    }
    Ok(JSON_SUFFIXES.iter().any(|ending| name.ends_with(ending))
        && values(&before).is_some_and(|v| Some(v) == values(&after)))
}

/// The values of a JSON file in order, without the fields that are not compared.
fn values(bytes: &[u8]) -> Option<Vec<String>> {
    let parsed = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    parsed.map(|value| value.ok().map(|mut value| (strip(&mut value), value.to_string()).1)).collect()
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !NOT_COMPARED.contains(&name.as_str()));
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

/// The numbers of an HTML page, sorted: its words and their order are not compared.
fn numbers(page: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(page);
    let runs = text.split(|c: char| !c.is_ascii_digit() && c != '.');
    let mut numbers: Vec<String> =
        runs.map(|run| run.trim_matches('.').to_owned()).filter(|run| !run.is_empty()).collect();
    numbers.sort();
    numbers
}
