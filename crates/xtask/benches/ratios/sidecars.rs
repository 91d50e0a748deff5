//! Masks of memmaps, and shards in other layouts.

use std::path::Path;
use std::process::Command;

use crate::inputs::{DOCUMENT, write_memmap};
use crate::measure::{RUNS, Usage, goldfish, measure, remove, row, title};

/// `cp` of files and `sync`.
fn copy(from: &Path, to: &Path) -> Usage {
    let script = "rm -rf \"$1\" && cp -r \"$0\" \"$1\" && sync -f \"$1\"";
    measure(Command::new("sh").args(["-c", script]).arg(from).arg(to))
}

pub(crate) fn masks_only() {
    let (goldfish, scratch) = goldfish();
    let [input, masks, copied] = ["input.npy", "masks", "copied"].map(|name| scratch.join(name));
    title(
        &format!(
            "`goldfish mask --masks-only` on a memmap of 32-bit ids (documents of {DOCUMENT} tokens), two threads, and `cp` and `sync` of the memmap on the same disk; ratio = time of mask / time of cp"
        ),
        "MB/s in",
    );
    for (megabytes, runs) in [(100u64, RUNS), (1000, 5)] {
        write_memmap(&input, megabytes * 1_000_000, DOCUMENT);
        for rule in ["hash", "hash-table"] {
            let mut peak = 0;
            let pairs = (0..runs).map(|_| {
                remove(&masks);
                let mut command = Command::new(&goldfish);
                command.arg("mask").arg(&input).args(["--masks-only", "--threads", "2", "--rule", rule]);
                command.args(["--ids-dtype", "uint32", "--eos-id", "0"]);
                let masked = measure(command.arg("--output").arg(&masks));
                peak = peak.max(masked.peak_bytes);
                (masked.seconds / copy(&input, &copied).seconds, megabytes as f64 / masked.seconds)
            });
            let pairs: Vec<_> = pairs.collect();
            row(&format!("{megabytes} MB, `{rule}`, peak {} MiB", peak >> 20), pairs.into_iter());
        }
    }
    remove(&scratch);
}

pub(crate) fn export() {
    let (goldfish, scratch) = goldfish();
    let [input, shards, exported, copied] =
        ["input.npy", "shards", "exported", "copied"].map(|name| scratch.join(name));
    write_memmap(&input, 400_000_000, DOCUMENT);
    let mut mask = Command::new(&goldfish);
    mask.arg("mask").arg(&input).args(["--ids-dtype", "uint32", "--eos-id", "0"]);
    measure(mask.arg("--output").arg(&shards));
    title(
        "`goldfish export` of 500 MB of shards, and `cp` and `sync` of its output; ratio = time of export / time of cp",
        "Mtok/s",
    );
    for layout in ["megatron", "olmo", "datatrove", "hf", "bridge", "levanter", "torchtune"] {
        let mut peak = 0;
        let pairs = (0..3).map(|_| {
            remove(&exported);
            let mut command = Command::new(&goldfish);
            command.arg("export").arg(&shards).args(["--to", layout]).arg("--output").arg(&exported);
            command.args(matches!(layout, "bridge" | "levanter").then_some("--sequence-length=4096"));
            let usage = measure(&mut command);
            peak = peak.max(usage.peak_bytes);
            (usage.seconds / copy(&exported, &copied).seconds, 100.0 / usage.seconds)
        });
        let pairs: Vec<_> = pairs.collect();
        row(&format!("`{layout}`, peak {} MiB", peak >> 20), pairs.into_iter());
    }
    remove(&scratch);
}
