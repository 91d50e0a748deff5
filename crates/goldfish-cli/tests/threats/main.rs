//! A threat test of folders: every name that the program reads from a disk or takes from a folder is replaced in turn by a
//! link, a FIFO, a device, a folder, an empty or a huge file, or the file of another run, and each command is run there.
//!
//! What must hold each time: nothing outside the folder changes, nor a file of the user in it; the program ends soon, with
//! little memory, on its own; and if it refuses, it says why, with a path. Inputs may be read through links
//! (`docs/limits.md`); nothing is ever written or removed through one, but where the command line names the link itself.
//!
//! `GOLDFISH_BIN` names another program than the one built here. The table is taken in part, so that it takes a minute;
//! `GOLDFISH_THREATS=TEXT` runs all of its cases that have the text in their names, and with an empty text all there are.

// A limit of address space is kept by few systems, and the devices are Linux's.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod attacks;
mod case;
mod data;
mod program;
mod replacement;
mod scene;
mod scenes;
mod tree;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// At least so many combinations of a place, what replaces it, and a command.
const LEAST_CASES: usize = 300;

#[test]
fn nothing_outside_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let scenes = scenes::all(&folder.path().join("scenes"));
    let part = std::env::var("GOLDFISH_THREATS").ok();
    let cases = case::select(&scenes, part.as_deref());
    eprintln!("{} scenes in {:.1} s, {} cases", scenes.len(), started.elapsed().as_secs_f64(), cases.len());
    assert!(part.is_some() || cases.len() >= LEAST_CASES, "{} cases", cases.len());

    let (next, failed, times) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()), Mutex::new(Vec::new()));
    let work = |worker: usize| {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (faults, time) = case.run(&folder.path().join(format!("worker-{worker}")));
            times.lock().unwrap().push((time, case.scene(), case.name()));
            if !faults.is_empty() {
                failed.lock().unwrap().insert(case.name(), faults);
            }
        }
    };
    std::thread::scope(|scope| {
        for worker in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(move || work(worker));
        }
    });
    let failed = failed.into_inner().unwrap();
    report(&failed, times.into_inner().unwrap());
    eprintln!("{} cases in {:.1} s", cases.len(), started.elapsed().as_secs_f64());
    assert!(failed.is_empty(), "{} of {} cases failed", failed.len(), cases.len());
}

/// Prints what failed, and what took longest.
fn report(failed: &BTreeMap<String, Vec<String>>, mut times: Vec<(Duration, &str, String)>) {
    for (name, faults) in failed {
        eprintln!("{name}\n    {}", faults.join("\n    "));
    }
    let mut by_scene: BTreeMap<&str, (usize, Duration)> = BTreeMap::new();
    for (time, scene, _) in &times {
        let (cases, total) = by_scene.entry(scene).or_default();
        (*cases, *total) = (*cases + 1, *total + *time);
    }
    for (scene, (cases, total)) in by_scene {
        eprintln!("{scene}: {cases} cases, {:.1} s of the program", total.as_secs_f64());
    }
    times.sort();
    for (time, _, name) in times.iter().rev().take(5) {
        eprintln!("{:.2} s {name}", time.as_secs_f64());
    }
}
