//! Compressed raw text to shards, and startup of the program.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::inputs::{documents, write_documents};
use crate::measure::{RUNS, goldfish, measure, python, remove, root, row, title};
use crate::text::{TOKENIZER, fixture, mask_text};

/// Megabytes of text.
const MEGABYTES: usize = 50;

/// Paired runs with `datasets.map`, which takes a minute each.
const SLOW_RUNS: usize = 5;

pub(crate) fn raw() {
    let python = python(false);
    let (goldfish, scratch) = goldfish();
    let [plain, input, output] = ["input.jsonl", "input.jsonl.zst", "output"].map(|name| scratch.join(name));
    let tokenizer = std::env::var_os(TOKENIZER).map_or_else(|| fixture("neox"), PathBuf::from);
    write_documents(&plain, &documents(MEGABYTES << 20));
    let zstd = Command::new("zstd").args(["-q", "-f"]).arg(&plain).arg("-o").arg(&input).status();
    assert!(zstd.unwrap().success());
    let threads = std::thread::available_parallelism().unwrap();
    title(
        &format!(
            "JSONL.zst of {MEGABYTES} MiB of documents and sources to shards, rule `hash`, {threads} threads; ratio = time of the peer / time of `goldfish mask` (fixture neox, or {TOKENIZER}=tokenizer.json)"
        ),
        "MB/s",
    );
    let mask = || {
        let seconds = mask_text(&goldfish, &tokenizer, "hash", &input, &output, &[]).seconds;
        (seconds, (MEGABYTES << 20) as f64 / seconds / 1e6)
    };
    let pairs = (0..RUNS).map(|_| {
        let (seconds, speed) = mask();
        (measure(Command::new("zstd").args(["-q", "-d", "-c"]).arg(&input)).seconds / seconds, speed)
    });
    row("`zstd -d` alone", pairs);
    let pairs = (0..SLOW_RUNS).map(|_| {
        let (seconds, speed) = mask();
        let script = root().join("crates/xtask/benches/datasets_map.py");
        let mut peer = Command::new(&python);
        peer.arg(script).args([&plain, &tokenizer, &output]).arg(threads.to_string());
        let printed = peer.output().unwrap();
        assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        let peer: f64 = String::from_utf8(printed.stdout).unwrap().trim().parse().unwrap();
        (peer / seconds, speed)
    });
    row("`datasets.map`: fast tokenizer, mask by numpy and xxhash, the same ids and masks", pairs);
    remove(&scratch);
}

pub(crate) fn start() {
    let (goldfish, scratch) = goldfish();
    let size = fs::metadata(&goldfish).unwrap().len();
    println!("\nStart: size of the stripped program, and time to print the help (goal: under 20 ms)\n");
    println!("| program | MB | median ms | min | max |\n|---|---|---|---|---|");
    let mut times: Vec<f64> =
        (0..21).map(|_| 1e3 * measure(Command::new(&goldfish).arg("--help")).seconds).collect();
    times.sort_by(f64::total_cmp);
    println!(
        "| `goldfish --help` | {:.1} | {:.1} | {:.1} | {:.1} |",
        size as f64 / 1e6,
        times[10],
        times[0],
        times[20]
    );
    remove(&scratch);
}
