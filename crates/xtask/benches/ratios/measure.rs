//! Time, peak memory, and Markdown tables.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Paired runs for each figure.
pub(crate) const RUNS: usize = 7;

pub(crate) fn time(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// Median, smallest and largest.
fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

/// Prints the head of a table.
pub(crate) fn title(what: &str, speed: &str) {
    println!("\n{what}\n");
    println!("| work | ratio | min | max | {speed} |");
    println!("|---|---|---|---|---|");
}

/// Prints a row from the ratios and speeds of paired runs.
pub(crate) fn row(work: &str, pairs: impl Iterator<Item = (f64, f64)>) {
    let (ratios, speeds) = pairs.unzip();
    let ((ratio, low, high), (speed, ..)) = (spread(ratios), spread(speeds));
    let speed = if speed < 100.0 { format!("{speed:.1}") } else { format!("{speed:.0}") };
    println!("| {work} | {ratio:.3} | {low:.3} | {high:.3} | {speed} |");
}

/// Wall time and peak resident memory of a command.
pub(crate) struct Usage {
    pub(crate) seconds: f64,
    pub(crate) peak_bytes: u64,
}

/// Runs a command to its end; the peak is read from `/proc`, 0 without it.
pub(crate) fn measure(command: &mut Command) -> Usage {
    let start = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut peak_bytes = 0;
    loop {
        if let Ok(text) = fs::read_to_string(&status) {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
            peak_bytes = peak_bytes.max(kib.unwrap_or(0) * 1024);
        }
        if let Some(exit) = child.try_wait().unwrap() {
            assert!(exit.success(), "{command:?}: {exit}");
            return Usage { seconds: start.elapsed().as_secs_f64(), peak_bytes };
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").components().collect()
}

pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Makes a release build.
pub(crate) fn build(arguments: &[&str]) {
    let built =
        Command::new("cargo").args(["build", "--release"]).args(arguments).current_dir(root()).status();
    assert!(built.unwrap().success());
}

/// A release build of the program, and an empty scratch folder.
pub(crate) fn goldfish() -> (PathBuf, PathBuf) {
    build(&["-p", "goldfish-cli"]);
    let scratch = target().join("bench");
    remove(&scratch);
    fs::create_dir_all(&scratch).unwrap();
    (target().join("release/goldfish"), scratch)
}

/// The interpreter of an environment of the peer tests, which is created if needed.
pub(crate) fn python(models: bool) -> PathBuf {
    let mut xtask = Command::new("cargo");
    xtask.args(["run", "--quiet", "-p", "xtask", "--", "python"]).args(models.then_some("--models"));
    let output = xtask.current_dir(root()).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    PathBuf::from(text.lines().last().unwrap()).join("bin/python")
}

pub(crate) fn remove(folder: &Path) {
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap();
    }
}
