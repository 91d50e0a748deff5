//! Instruction counts of kernels and small runs under valgrind: a performance test that does not depend on load.
//!
//! Valgrind emulates a processor with 256-bit vectors on any machine, so that the counts of a build hardly differ between
//! machines. They change with the compiler: check the differences, then run `cargo xtask counts --update`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::packages;
use crate::tools::{cargo, describe, root, run, target};

/// By how much a count may exceed the one in the table.
const TOLERANCE: f64 = 0.05;

/// Kernels of the example `counted`.
const KERNELS: [&str; 24] = [
    "anchor h=12",
    "hash h=4",
    "hash h=13",
    "hash h=50",
    "hash-table h=13",
    "hash-avalanche h=13",
    "coefficient-sum h=13",
    "random",
    "text English",
    "text German",
    "text Chinese",
    "text marks",
    "text-v1 English",
    "tokenize gpt2",
    "tokenize gpt2 with spans",
    "tokenize gpt2, new words",
    "tokenize qwen2",
    "tokenize sentencepiece",
    "tokenize sentencepiece, new words",
    "tokenize unigram",
    "tokenize wordpiece",
    "tokenize wordpiece, new words",
    "load gpt2",
    "load sentencepiece",
];

/// Small runs of `goldfish mask` on one thread.
const RUNS: [(&str, [&str; 4]); 4] = [
    ("mask raw text by text", ["text.jsonl", "--tokenizer", "fixtures/tokenizers/gpt2.json", "--rule=text"]),
    ("mask raw text by hash", ["text.jsonl", "--tokenizer", "fixtures/tokenizers/gpt2.json", "--rule=hash"]),
    ("mask a memmap by anchor", ["ids.npy", "--ids-dtype=uint32", "--eos-id=0", "--rule=anchor"]),
    ("mask a memmap by hash", ["ids.npy", "--ids-dtype=uint32", "--eos-id=0", "--rule=hash"]),
];

type Counts = BTreeMap<String, u64>;

fn table() -> PathBuf {
    root().join("crates/xtask/counts.json")
}

/// Makes a release build of the program and of the example.
pub(crate) fn build() -> anyhow::Result<()> {
    run(cargo().args(["build", "--release", "--bins", "--example", "counted"]))
}

/// Counts, and fails if anything exceeds the table by more than the tolerance.
pub(crate) fn check() -> anyhow::Result<()> {
    let expected: Counts = serde_json::from_slice(&fs::read(table()).context("crates/xtask/counts.json")?)?;
    let found = count_all()?;
    let mut slower = Vec::new();
    for (name, &count) in &found {
        let Some(&before) = expected.get(name) else {
            println!("{name:33} {count:>12} instructions, not in the table: cargo xtask counts --update");
            continue;
        };
        let change = count as f64 / before as f64 - 1.0;
        println!("{name:33} {count:>12} instructions {:+6.1}%", 100.0 * change);
        if change > TOLERANCE {
            slower.push(format!("{name}: {count} instructions, {before} before"));
        }
    }
    ensure!(
        slower.is_empty(),
        "slower by more than {:.0}%; make it faster, or explain the change and run cargo xtask counts --update:\n{}",
        100.0 * TOLERANCE,
        slower.join("\n")
    );
    Ok(())
}

/// Counts, and writes the table.
pub(crate) fn update() -> anyhow::Result<()> {
    let mut json = serde_json::to_string_pretty(&count_all()?)?;
    json.push('\n');
    fs::write(table(), json).context("crates/xtask/counts.json")
}

fn count_all() -> anyhow::Result<Counts> {
    packages::VALGRIND.ensure()?;
    let mut counts = Counts::new();
    let example = target().join("release/examples/counted");
    for name in KERNELS {
        let turns = |turns| {
            let mut command = callgrind();
            command.arg(&example).args([name, turns]);
            count(command)
        };
        counts.insert(name.to_owned(), turns("3")?.saturating_sub(turns("2")?));
    }
    let scratch = target().join("counts");
    if scratch.exists() {
        fs::remove_dir_all(&scratch)?;
    }
    fs::create_dir_all(&scratch)?;
    let inputs = Command::new(&example).arg("inputs").arg(&scratch).status()?;
    ensure!(inputs.success(), "{} ended with {inputs}", example.display());
    for (i, (name, [input, options @ ..])) in RUNS.iter().enumerate() {
        let mut command = callgrind();
        command.arg(target().join("release/goldfish")).arg("mask").arg(scratch.join(input)).args(options);
        command.arg("--threads=1").arg("--output").arg(scratch.join(format!("output-{i}")));
        counts.insert((*name).to_owned(), count(command)?);
    }
    fs::remove_dir_all(&scratch)?;
    Ok(counts)
}

fn callgrind() -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).current_dir(root());
    command
}

/// Runs a command under callgrind and returns its number of instructions.
fn count(mut command: Command) -> anyhow::Result<u64> {
    let output = command.output().with_context(|| describe(&command))?;
    let log = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} ended with {}:\n{log}", describe(&command), output.status);
    let collected = log.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    let count: u64 = collected.with_context(|| format!("{} printed no count:\n{log}", describe(&command)))?;
    ensure!(count > 0, "{} counted nothing", describe(&command));
    Ok(count)
}
