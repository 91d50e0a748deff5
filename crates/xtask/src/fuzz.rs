//! Fuzzing with libFuzzer on stable Rust, which can add the coverage hooks by options of LLVM.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail, ensure};

use crate::tools::{cargo, root, run, target};

const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// The flags of `cargo fuzz` without the sanitizer, which needs nightly Rust.
const HOOKS: [&str; 6] = [
    "--cfg fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// The memory limit for an input, in MiB.
const MEMORY: &str = "-rss_limit_mb=2560";

/// The time limit for an input, in seconds.
const TIME: &str = "-timeout=25";

/// Seeds of each target: folders below `fixtures/` and the suffix of the file names. `a+b` joins two files that belong
/// together into one input that ends with the length of the first.
const SEEDS: [(&str, &[(&str, &str)]); 16] = [
    ("jsonl", &[("malformed", ".jsonl"), ("malformed", ".jsonl.gz"), ("malformed", ".jsonl.zst")]),
    ("text", &[("malformed", ".txt"), ("formats/docs-text", "-004.txt"), ("malformed", ".jsonl.gz")]),
    ("parquet", &[("malformed", ".parquet")]),
    ("arrow", &[("malformed", ".arrow")]),
    ("megatron", &[("malformed", ".idx+.bin")]),
    ("olmo", &[("malformed", ".csv.gz+.npy"), ("malformed", ".npy")]),
    ("datatrove", &[("malformed", ".ds.index+.ds")]),
    ("npy", &[("malformed", ".npy")]),
    ("manifest", &[("malformed", "manifest.json")]),
    ("shard", &[("malformed", ".arrow"), ("malformed", ".parquet")]),
    ("tokenizer", &[]),
    ("encode", &[("formats/docs-text", "-004.txt"), ("formats/docs-text", "-010.txt")]),
    ("text_map", &[("malformed", ".bin")]),
    ("mask_rules", &[("malformed", ".bin"), ("malformed", ".idx")]),
    ("mask_text", &[("formats/docs-text", "-004.txt"), ("formats/docs-text", "-010.txt")]),
    ("sequences", &[("malformed", ".bin"), ("malformed", ".idx")]),
];

/// How long to fuzz each target.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Effort {
    /// The seeds and 1,500 executions of fixed mutations.
    Smoke,
    /// New inputs for this many seconds.
    Seconds(u32),
}

/// Builds the targets and runs those named, or all.
pub(crate) fn fuzz(names: &[String], effort: Effort) -> anyhow::Result<()> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        println!("fuzz targets are built for {PLATFORM} only");
        return Ok(());
    }
    if let Some(name) = names.iter().find(|name| !SEEDS.iter().any(|(known, _)| known == name)) {
        bail!("no fuzz target {name:?}; there are {}", SEEDS.map(|(name, _)| name).join(", "));
    }
    let folder = target().join("fuzz");
    let mut build = cargo();
    build.args(["build", "--release", "--locked", "--quiet", "--manifest-path", "crates/fuzz/Cargo.toml"]);
    build.args(["--target", PLATFORM, "--target-dir"]).arg(&folder);
    run(build.env("RUSTFLAGS", HOOKS.join(" ")))?;
    for (name, sources) in SEEDS {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            run_target(&folder, name, sources, effort)?;
        }
    }
    Ok(())
}

fn run_target(folder: &Path, name: &str, sources: &[(&str, &str)], effort: Effort) -> anyhow::Result<()> {
    let seeds = folder.join("seeds").join(name);
    write_seeds(&seeds, name, sources)?;
    let (inputs, found) = (folder.join("inputs"), folder.join("found").join(name));
    fs::create_dir_all(&found)?;
    let program = folder.join(PLATFORM).join("release").join(name);
    let mut command = Command::new(&program);
    command.env("GOLDFISH_FUZZ_FOLDER", &inputs).args([
        MEMORY,
        TIME,
        "-max_len=4096",
        "-print_final_stats=1",
    ]);
    command.arg(format!("-artifact_prefix={}/", found.display()));
    // libFuzzer writes new inputs to the first folder.
    match effort {
        Effort::Smoke => {
            command.args(["-seed=1", "-runs=1500", "-max_total_time=10"]);
        }
        Effort::Seconds(seconds) => {
            let grown = folder.join("corpus").join(name);
            fs::create_dir_all(&grown)?;
            command.arg(format!("-max_total_time={seconds}")).arg(grown);
        }
    }
    let started = Instant::now();
    let output = command.arg(&seeds).output().with_context(|| program.display().to_string())?;
    // Best effort: the scratch files of the run are no longer needed.
    let _ = fs::remove_dir_all(&inputs);
    let log = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let tail: Vec<&str> = log.lines().rev().take(40).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        bail!(
            "{}\nthe fuzz target {name} failed; its input is in {}; reproduce it with {} FILE",
            tail.join("\n"),
            found.display(),
            program.display()
        );
    }
    let executions = log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let executions = executions.context("libFuzzer printed no statistics")?.trim();
    println!("{name:12} {executions:>10} executions in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Collects the seeds of a target: fixtures, and the files in `crates/fuzz/seeds`.
fn write_seeds(folder: &Path, name: &str, sources: &[(&str, &str)]) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let mut count = 0;
    for (source, suffixes) in sources {
        let (first, second) = suffixes.split_once('+').map_or((*suffixes, None), |(a, b)| (a, Some(b)));
        for path in files(&root().join("fixtures").join(source))? {
            let text = path.to_string_lossy().into_owned();
            let Some(stem) = text.strip_suffix(first) else { continue };
            let mut bytes = fs::read(&path)?;
            if let Some(second) = second {
                let length = u16::try_from(bytes.len()).context(text.clone())?;
                let Ok(other) = fs::read(format!("{stem}{second}")) else { continue };
                bytes.extend(other);
                bytes.extend(length.to_le_bytes());
            }
            fs::write(folder.join(format!("fixture-{count:03}")), bytes)?;
            count += 1;
        }
    }
    for path in files(&root().join("crates/fuzz/seeds").join(name))? {
        fs::copy(&path, folder.join(path.file_name().context("a file has a name")?))?;
        count += 1;
    }
    ensure!(count > 0, "the fuzz target {name} has no seeds");
    Ok(())
}

/// The sorted files of a folder; none if it does not exist.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
