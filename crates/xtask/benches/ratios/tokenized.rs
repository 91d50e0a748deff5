//! Tokenized input to shards, and verification of shards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::inputs::{DOCUMENT, documents, write_documents, write_memmap};
use crate::measure::{RUNS, Usage, goldfish, measure, python, remove, row, title};
use crate::text::{fixture, mask_text};

/// `goldfish mask` on a memmap of 32-bit ids.
fn mask_memmap(goldfish: &Path, rule: &str, input: &Path, output: &Path, options: &[&str]) -> Usage {
    let memmap = ["--ids-dtype", "uint32", "--eos-id", "0"];
    mask_ids(goldfish, rule, input, output, &[&memmap, options].concat())
}

/// `goldfish mask` on ids.
fn mask_ids(goldfish: &Path, rule: &str, input: &Path, output: &Path, options: &[&str]) -> Usage {
    remove(output);
    let mut command = Command::new(goldfish);
    command.arg("mask").arg(input).args(["--rule", rule]).args(options);
    measure(command.arg("--output").arg(output))
}

/// Writes the ids of a memmap as lists of 32-bit ids with pyarrow: a stream with so many rows a batch, or Parquet with a
/// compression.
const COLUMNS: &str = "\
import sys
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
source, tokens, target, how = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
ids = np.fromfile(source, np.int32)
ids = ids[:len(ids) // tokens * tokens]
ends = np.arange(0, len(ids) + 1, tokens, dtype=np.int32)
table = pa.table({'input_ids': pa.ListArray.from_arrays(ends, ids)})
if target.endswith('.parquet'):
    pq.write_table(table, target, compression=how)
else:
    with pa.OSFile(target, 'wb') as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=int(how))
";

/// Megabytes of ids in columns.
const COLUMN_MEGABYTES: u64 = 400;

/// The same ids in columns, as other programs write them.
fn mask_columns(goldfish: &Path, scratch: &Path) {
    let python = python(false);
    let [input, output, copied] = ["input.npy", "output", "copied"].map(|name| scratch.join(name));
    write_memmap(&input, COLUMN_MEGABYTES * 1_000_000, DOCUMENT);
    let files = [
        ("stream-50.arrow", "50", "Arrow stream, 50 rows a batch"),
        ("stream-1000.arrow", "1000", "Arrow stream, 1,000 rows a batch"),
        ("snappy.parquet", "snappy", "Parquet with snappy"),
        ("zstd.parquet", "zstd", "Parquet with zstd"),
    ];
    for (name, how, what) in files {
        let file = scratch.join(name);
        let mut script = Command::new(&python);
        script.args(["-c", COLUMNS]).arg(&input).arg(DOCUMENT.to_string()).args([&file]).arg(how);
        assert!(script.status().unwrap().success());
        let mut peak = 0;
        let pairs = (0..RUNS).map(|_| {
            let masked = mask_ids(goldfish, "hash", &file, &output, &[]);
            peak = peak.max(masked.peak_bytes);
            (masked.seconds / copy(&output, &copied).seconds, COLUMN_MEGABYTES as f64 / masked.seconds)
        });
        let pairs: Vec<_> = pairs.collect();
        row(&format!("{COLUMN_MEGABYTES} MB, `hash`, {what}, peak {} MiB", peak >> 20), pairs.into_iter());
        fs::remove_file(file).unwrap();
    }
}

/// `cp` of a folder and `sync` of its files.
fn copy(from: &Path, to: &Path) -> Usage {
    remove(to);
    let script = "cp -r \"$0\" \"$1\" && sync \"$1\"/*";
    measure(Command::new("sh").args(["-c", script]).arg(from).arg(to))
}

pub(crate) fn mask() {
    let (goldfish, scratch) = goldfish();
    let threads = std::thread::available_parallelism().unwrap();
    let [input, output, copied] = ["input.npy", "output", "copied"].map(|name| scratch.join(name));
    title(
        &format!(
            "`goldfish mask` on 32-bit ids in a memmap or in columns (documents of {DOCUMENT} tokens), {threads} threads, and `cp` and `sync` of its output on the same disk; ratio = time of mask / time of cp"
        ),
        "MB/s in",
    );
    for (megabytes, runs) in [(100u64, RUNS), (4000, 5)] {
        write_memmap(&input, megabytes * 1_000_000, DOCUMENT);
        for rule in ["hash", "hash-table"] {
            let mut peak = 0;
            let pairs = (0..runs).map(|_| {
                let masked = mask_memmap(&goldfish, rule, &input, &output, &[]);
                peak = peak.max(masked.peak_bytes);
                (masked.seconds / copy(&output, &copied).seconds, megabytes as f64 / masked.seconds)
            });
            let pairs: Vec<_> = pairs.collect();
            row(&format!("{megabytes} MB, `{rule}`, peak {} MiB", peak >> 20), pairs.into_iter());
        }
    }
    mask_columns(&goldfish, &scratch);
    remove(&scratch);
}

/// Options of `goldfish mask` that could affect peak memory.
const OPTIONS: [&[&str]; 8] = [
    &["--threads", "1"],
    &["--threads", "16"],
    &["--output-format", "arrow-file"],
    &["--output-format", "parquet"],
    &["--columns", "labels,attention_mask,assistant_masks"],
    &["--shard-size", "8GiB"],
    &["--scope", "sequence", "--sequence-length", "2048"],
    &["--masks-only"],
];

pub(crate) fn threads() {
    let (goldfish, scratch) = goldfish();
    let [ids, text, output] = ["ids.npy", "text.jsonl", "output"].map(|name| scratch.join(name));
    title(
        "`goldfish mask` with one thread and with two; ratio = time with one / time with two",
        "MB/s with two",
    );
    let twice = |megabytes: f64, run: &dyn Fn(&'static str) -> Usage| {
        let (one, two) = (run("1"), run("2"));
        (one.seconds / two.seconds, megabytes / two.seconds)
    };
    write_memmap(&ids, 1_000_000_000, DOCUMENT);
    for rule in ["hash", "hash-table"] {
        let run = |threads| mask_memmap(&goldfish, rule, &ids, &output, &["--threads", threads]);
        row(&format!("1000 MB of 32-bit ids, `{rule}`"), (0..RUNS).map(|_| twice(1000.0, &run)));
    }
    write_documents(&text, &documents(200_000_000));
    for rule in ["hash", "text"] {
        let run =
            |threads| mask_text(&goldfish, &fixture("neox"), rule, &text, &output, &["--threads", threads]);
        row(&format!("200 MB of raw text, `{rule}`"), (0..RUNS).map(|_| twice(200.0, &run)));
    }
    remove(&scratch);
}

pub(crate) fn memory() {
    let (goldfish, scratch) = goldfish();
    let (input, output) = (scratch.join("input.npy"), scratch.join("output"));
    println!("\nPeak memory of `goldfish mask --rule hash` on a memmap of 32-bit ids\n");
    println!("| input | peak MiB | MB/s in |\n|---|---|---|");
    let row = |name: &str, megabytes: u64, usage: &Usage| {
        let speed = megabytes as f64 / usage.seconds;
        println!("| {name} | {} | {speed:.0} |", usage.peak_bytes >> 20);
    };
    for (megabytes, tokens) in [(100u64, DOCUMENT), (1000, 250_000_000), (4000, DOCUMENT), (1000, DOCUMENT)] {
        write_memmap(&input, megabytes * 1_000_000, tokens);
        let usage = mask_memmap(&goldfish, "hash", &input, &output, &["--max-document", "1GiB"]);
        row(&format!("{megabytes} MB in documents of {tokens} tokens"), megabytes, &usage);
    }
    for options in OPTIONS {
        let usage = mask_memmap(&goldfish, "hash", &input, &output, options);
        row(&format!("1000 MB, `{}`", options.join(" ")), 1000, &usage);
    }
    println!("\nThe same on JSONL of raw text, in documents of 4 KiB\n");
    println!("| input | peak MiB | MB/s in |\n|---|---|---|");
    let (input, tokenizer) = (scratch.join("input.jsonl"), fixture("neox"));
    for megabytes in [10, 100, 1000] {
        write_documents(&input, &documents(megabytes * 1_000_000));
        for rule in ["hash", "text"] {
            let usage = mask_text(&goldfish, &tokenizer, rule, &input, &output, &[]);
            row(&format!("{megabytes} MB, `--rule {rule}`"), megabytes as u64, &usage);
        }
    }
    remove(&scratch);
}

/// Hashes files with the C library, in blocks of 1 MiB.
const XXHASH: &str = "\
import sys, xxhash
buffer = bytearray(1 << 20)
view = memoryview(buffer)
for path in sys.argv[1:]:
    state = xxhash.xxh3_128()
    with open(path, 'rb', buffering=0) as file:
        while size := file.readinto(buffer):
            state.update(view[:size])
    print(state.hexdigest(), path)
";

pub(crate) fn verify() {
    let python = python(false);
    let (goldfish, scratch) = goldfish();
    let (input, output) = (scratch.join("input.npy"), scratch.join("output"));
    write_memmap(&input, 1_000_000_000, DOCUMENT);
    mask_memmap(&goldfish, "hash", &input, &output, &[]);
    let files = fs::read_dir(&output).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> = files.collect();
    let bytes: u64 = files.iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    title(
        &format!(
            "`goldfish verify` of {} MB of shards, and hashing of the same files; ratio = time of verify / time of hashing",
            bytes / 1_000_000
        ),
        "MB/s",
    );
    let peers: [(&str, Command); 2] = [
        ("XXH3-128 by Python's `xxhash`, one thread", {
            let mut command = Command::new(&python);
            command.args(["-c", XXHASH]).args(&files);
            command
        }),
        ("`sha256sum`, one thread", {
            let mut command = Command::new("sha256sum");
            command.args(&files);
            command
        }),
    ];
    for (name, mut peer) in peers {
        let pairs = (0..RUNS).map(|_| {
            let verified = measure(Command::new(&goldfish).arg("verify").arg(&output));
            (verified.seconds / measure(&mut peer).seconds, bytes as f64 / verified.seconds / 1e6)
        });
        row(&format!("`verify`; {name}"), pairs);
    }
    remove(&scratch);
}

/// Tokens of the inspected shards.
const INSPECTED: u64 = 64_000_000;

pub(crate) fn inspect() {
    let (goldfish, scratch) = goldfish();
    let (input, output) = (scratch.join("input.npy"), scratch.join("output"));
    write_memmap(&input, 4 * INSPECTED, DOCUMENT);
    title(
        &format!(
            "`goldfish inspect` of {} million tokens, and `goldfish mask` of them; ratio = time of mask / time of inspect",
            INSPECTED / 1_000_000
        ),
        "MB/s of shards",
    );
    for rule in ["hash", "anchor"] {
        let pairs = (0..RUNS).map(|_| {
            let masked = mask_memmap(&goldfish, rule, &input, &output, &[]);
            let inspected = measure(Command::new(&goldfish).arg("inspect").arg(&output));
            (masked.seconds / inspected.seconds, 5e-6 * INSPECTED as f64 / inspected.seconds)
        });
        row(&format!("`inspect`, rule `{rule}`"), pairs);
    }
    remove(&scratch);
}
