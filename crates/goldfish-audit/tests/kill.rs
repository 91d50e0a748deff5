//! kill -9 in the middle of a run, again and again: the results are those of a run that was left alone.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{contents, numbers};
use tempfile::tempdir;

/// The example program, which cargo builds beside the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples/audit_run")
}

fn run(folder: &Path, pause: &str) -> Command {
    let mut command = Command::new(program());
    command.arg(folder).arg(pause).stdin(Stdio::null());
    command
}

#[test]
fn killed_twenty_times() {
    let folder = tempdir().unwrap();
    let whole = folder.path().join("whole");
    assert!(run(&whole, "0").status().unwrap().success());
    let killed = folder.path().join("killed");
    let mut cut_short = 0;
    for pause in numbers(5, 20, 60) {
        let mut child = run(&killed, "4").spawn().unwrap();
        std::thread::sleep(Duration::from_millis(15 + u64::from(pause)));
        // An error here means that it was done already.
        cut_short += u32::from(child.kill().is_ok() && !child.wait().unwrap().success());
    }
    assert!(cut_short >= 5, "only {cut_short} of 20 were killed in the middle");
    assert!(run(&killed, "0").status().unwrap().success());
    let (whole, killed) = (contents(&whole), contents(&killed));
    assert_eq!(whole.keys().collect::<Vec<_>>(), killed.keys().collect::<Vec<_>>());
    assert!(whole == killed, "other bytes after {cut_short} kills");
}
