//! Fault injection: kills goldfish at system calls that change the file system, or makes these calls fail, and checks that
//! the next run recovers.

mod calls;
mod cases;
mod check;
mod process;
mod tree;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, bail, ensure};

use crate::test;
use crate::tools::target;
use calls::Call;
use cases::{CASES, Case, Random, write_inputs};
use check::{Recovery, States};
use process::{Failure, Invocation, Outcome};
use tree::Tree;

/// Samples the calls of cases that take too long to try all of them.
const SEED: u64 = 1;

/// How many failures of each kind the short form injects into a case.
const SHORT: [(Failure, usize); 3] = [(Failure::Kill, 5), (Failure::Eio, 2), (Failure::Enospc, 1)];

/// A folder in memory, where flushing is fast.
const MEMORY: &str = "/dev/shm";

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Run only this case.
    case: Option<String>,
    /// Try every call, and a sample of those of the demo, instead of a fixed selection.
    #[arg(long)]
    all: bool,
    /// Try only the call with this number, counted from 1; print all calls and keep the folder.
    #[arg(long, requires = "case")]
    point: Option<usize>,
    /// What to do at that call.
    #[arg(long = "what", requires = "point", default_value = "kill")]
    failure: Failure,
    /// Test this program instead of a debug build of this repository.
    #[arg(long)]
    program: Option<PathBuf>,
}

/// A failure at the call with this number, counted from 1.
type Injection = (usize, Failure);

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let chosen = |case: &&Case| match &options.case {
        Some(name) => *name == case.name,
        // Cases that are sampled take too long for the short form.
        None => options.all || case.sample.is_none(),
    };
    let cases: Vec<&Case> = CASES.iter().filter(chosen).collect();
    if cases.is_empty() {
        bail!("no such case; there are {}", CASES.each_ref().map(|case| case.name).join(", "));
    }
    let program = match &options.program {
        Some(program) => program.clone(),
        None => test::build_program()?,
    };
    let program = program.canonicalize().with_context(|| program.display().to_string())?;
    let scratch = Scratch::new()?;
    let mut violations = 0;
    for case in cases {
        let harness = Harness::new(case, &program, scratch.0.join(case.name))?;
        if let Some(point) = options.point {
            std::mem::forget(scratch);
            return harness.show((point, options.failure));
        }
        violations += harness.inject_all(&harness.choose(options.all))?;
        tree::remove(&harness.folder)?;
    }
    ensure!(violations == 0, "{violations} runs with violations");
    Ok(())
}

/// A folder of this process, removed on drop.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let above = Some(PathBuf::from(MEMORY)).filter(|folder| folder.is_dir()).unwrap_or_else(target);
        let folder = above.join(format!("goldfish-kills-{}", std::process::id()));
        tree::remove(&folder)?;
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        // The tracer compares canonical paths.
        Ok(Self(folder.canonicalize()?))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Best effort: an earlier error is the one to report.
        let _ = tree::remove(&self.0);
    }
}

/// A case and everything that its runs need.
struct Harness<'a> {
    case: &'a Case,
    program: &'a Path,
    /// Contains the prepared folder `start`.
    folder: PathBuf,
    states: States,
    /// The calls of a run without a failure.
    calls: Vec<Call>,
    /// Violations of the runs that follow, by the state that they start from: many calls leave the same one.
    known: Mutex<HashMap<u64, Vec<String>>>,
}

impl<'a> Harness<'a> {
    fn new(case: &'a Case, program: &'a Path, folder: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&folder)?;
        let start = folder.join("start");
        write_inputs(&start)?;
        let of = |arguments: &[String], at: &Path, traced: bool| -> anyhow::Result<Outcome> {
            let start =
                Invocation { program, arguments, folder: at, log_folder: &folder, limit: case.limit() };
            let outcome = if traced { start.trace(None)? } else { start.run()? };
            ensure!(
                outcome.code == Some(0),
                "{}: {}: {}",
                arguments.join(" "),
                outcome.describe(),
                outcome.stderr.trim()
            );
            Ok(outcome)
        };
        for command in case.preparation() {
            of(&command, &start, false)?;
        }
        let [end, again] = ["end", "again"].map(|name| folder.join(name));
        tree::copy(&start, &end)?;
        tree::copy(&start, &again)?;
        let calls = of(&case.injected(), &end, true)?.calls;
        of(&case.injected(), &again, false)?;
        let states = States { start: Tree::read(&start)?, end: Tree::read(&end)? };
        let differ = states.end.differences(&Tree::read(&again)?);
        ensure!(differ.is_empty(), "{}: two runs differ in {}", case.name, differ.join(", "));
        Ok(Self { case, program, folder, states, calls, known: Mutex::default() })
    }

    /// Chooses the failures to inject.
    fn choose(&self, all: bool) -> Vec<Injection> {
        let points = self.calls.len();
        if !all {
            // The ends of equal ranges, so that the last call is included.
            let spread = |count: usize| (1..=count.min(points)).map(move |i| i * points / count.min(points));
            let counts =
                SHORT.map(|(failure, count)| (failure, if self.case.sample.is_some() { 1 } else { count }));
            return counts
                .iter()
                .flat_map(|(failure, count)| spread(*count).map(|at| (at, *failure)))
                .collect();
        }
        let mut every: Vec<Injection> =
            Failure::ALL.iter().flat_map(|failure| (1..=points).map(|point| (point, *failure))).collect();
        if let Some(sample) = self.case.sample {
            let mut random = Random(SEED);
            while every.len() > sample {
                every.swap_remove(random.below(every.len() as u64) as usize);
            }
        }
        every
    }

    /// Injects failures, prints violations, and returns the number of runs with any.
    fn inject_all(&self, chosen: &[Injection]) -> anyhow::Result<usize> {
        let started = Instant::now();
        let next = AtomicUsize::new(0);
        let found = Mutex::new(BTreeMap::<String, Vec<(Injection, Call)>>::new());
        let with_violations = AtomicUsize::new(0);
        let work = |worker: usize| -> anyhow::Result<()> {
            let scratch = self.folder.join(format!("worker-{worker}"));
            while let Some(&injection) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                let (violations, call) = self.inject(injection, &scratch, |_| {})?;
                if !violations.is_empty() {
                    with_violations.fetch_add(1, Ordering::Relaxed);
                }
                let mut found = lock(&found);
                for violation in violations {
                    found.entry(without_random(&violation)).or_default().push((injection, call.clone()));
                }
            }
            Ok(())
        };
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..workers).map(|worker| scope.spawn(move || work(worker))).collect();
            let results = workers.into_iter().map(|worker| match worker.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            results.collect::<anyhow::Result<Vec<()>>>()
        })?;
        let kills = chosen.iter().filter(|(_, failure)| *failure == Failure::Kill).count();
        let with_violations = with_violations.into_inner();
        println!(
            "{}: {} points{}, {kills} kills, {} errors, {} states, {with_violations} with violations ({:.0} s)",
            self.case.name,
            self.calls.len(),
            if chosen.len() < 3 * self.calls.len() { " (a sample of them)" } else { "" },
            chosen.len() - kills,
            lock(&self.known).len(),
            started.elapsed().as_secs_f64(),
        );
        for (violation, mut found_at) in found.into_inner().unwrap_or_default() {
            found_at.sort_by_key(|((point, failure), _)| (*failure != Failure::Kill, *point));
            let ((point, failure), call) = &found_at[0];
            let (case, failure) = (self.case.name, failure.name());
            let more =
                if found_at.len() > 1 { format!(", and {} more", found_at.len() - 1) } else { String::new() };
            println!(
                "  {violation}\n    after {failure} at {call}{more}: cargo xtask kills {case} --point {point} --what {failure}"
            );
        }
        Ok(with_violations)
    }

    /// Injects one failure; returns the violations and the call. The folder `left` in `scratch` is as the run left it.
    fn inject(
        &self,
        (point, failure): Injection,
        scratch: &Path,
        observe: impl Fn(&Outcome),
    ) -> anyhow::Result<(Vec<String>, Call)> {
        tree::remove(scratch)?;
        fs::create_dir_all(scratch)?;
        let (start, left) = (self.folder.join("start"), scratch.join("left"));
        tree::copy(&start, &left)?;
        let (program, case, states) = (self.program, self.case, &self.states);
        let arguments = &case.injected();
        let run = Invocation { program, arguments, folder: &left, log_folder: scratch, limit: case.limit() };
        let outcome = run.trace(Some((point, failure)))?;
        observe(&outcome);
        let found = Tree::read(&left)?;
        let call = outcome.calls.get(point - 1);
        let mut violations = states.check_outcome(failure, &outcome, &found, call.is_some());
        violations.extend(states.check_folder(case, &found));
        let state = found.shape();
        let recovery = Recovery { program, case, states, points: self.calls.len(), scratch };
        let known = lock(&self.known).get(&state).cloned();
        let after = match known {
            Some(after) => after,
            None => {
                let after = recovery.check(&left, &found)?;
                lock(&self.known).insert(state, after.clone());
                after
            }
        };
        violations.extend(after);
        Ok((violations, call.cloned().unwrap_or_else(|| "the end".into())))
    }

    /// Injects one failure and prints the details.
    fn show(&self, injection: Injection) -> anyhow::Result<()> {
        let points = self.calls.len();
        ensure!((1..=points).contains(&injection.0), "{} has points 1 to {points}", self.case.name);
        let scratch = self.folder.join("shown");
        println!("goldfish {}", self.case.injected().join(" "));
        let (violations, _) = self.inject(injection, &scratch, |outcome| {
            for (number, call) in outcome.calls.iter().enumerate() {
                let mark = if number + 1 == injection.0 { injection.1.name() } else { "" };
                println!("{:5} {mark:6} {call}", number + 1);
            }
            println!("{}\n{}", outcome.describe(), outcome.stderr.trim());
        })?;
        println!("it left {}", scratch.join("left").display());
        violations.iter().for_each(|violation| println!("  {violation}"));
        ensure!(violations.is_empty(), "{} violations", violations.len());
        println!("no violations");
        Ok(())
    }
}

/// Ignores poisoning: values are only added, so they stay valid after a panic.
fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Replaces random file names, so that equal violations are printed once.
fn without_random(text: &str) -> String {
    const START: &str = ".tmp";
    const RANDOM: usize = 6;
    let mut parts = text.split(START);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let is_random =
            part.len() >= RANDOM && part.bytes().take(RANDOM).all(|byte| byte.is_ascii_alphanumeric());
        text + START + if is_random { "*" } else { "" } + if is_random { &part[RANDOM..] } else { part }
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Injects every failure into a script and returns the first violation that contains a text.
    fn find_violation(name: &'static str, body: &str, with: &str) -> Option<String> {
        let scratch =
            Scratch(std::env::temp_dir().join(format!("goldfish-kills-{name}-{}", std::process::id())));
        tree::remove(&scratch.0).unwrap();
        fs::create_dir_all(&scratch.0).unwrap();
        let above = scratch.0.canonicalize().unwrap();
        let program = above.join("program");
        fs::write(&program, format!("#!/bin/sh\n[ $1 = verify ] && exit 0\n{body}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let case = Case { name, command: "make", options: &["--overwrite"], ..cases::NEW };
        let harness = Harness::new(&case, &program, above.join("case")).unwrap();
        let chosen = harness.choose(true);
        assert!(chosen.len() >= 3 * 5, "{:?}", harness.calls);
        let work = above.join("work");
        let mut found = chosen.iter().flat_map(|one| harness.inject(*one, &work, |_| {}).unwrap().0);
        found.find(|violation| violation.contains(with))
    }

    /// Refuses to replace a set without the option.
    const REFUSE: &str =
        "[ -e out/manifest.json ] && [ -z $2 ] && echo holds a set, give --overwrite >&2 && exit 2";

    #[test]
    fn a_careful_program_has_no_violations() {
        let body = "mkdir -p out/.new && echo data > out/.new/data && echo all > out/.new/manifest.json &&
            mv out/.new/data out/data && mv out/.new/manifest.json out/manifest.json && rmdir out/.new";
        assert_eq!(find_violation("careful", &format!("{REFUSE}\n{body}"), ""), None);
    }

    #[test]
    fn violations_are_found() {
        let careless =
            "mkdir -p out && echo all > out/manifest.json && echo data > out/data && touch out/more";
        let stuck =
            "mkdir out && echo data > out/data && echo more > out/more && echo all > out/manifest.json";
        let orphans = "mkdir -p out && echo $$ > out/.new$$ && mv out/.new$$ out/.old && echo data > out/data && rm out/.old &&
            echo all > out/manifest.json";
        let outside =
            "mkdir -p out && echo data > out/data && echo all > out/manifest.json && echo x > outside/x &&
            rm outside/x";
        let ignores_errors =
            "mkdir -p out && echo data > out/data && echo all > out/manifest.json; touch out/more; exit 0";
        for (name, body, expected) in [
            ("careless", careless, "out/manifest.json exists, but these files do not match it: data"),
            ("stuck", stuck, "refuses, and it names no option to continue with"),
            ("orphans", orphans, "the plain run: exit code 0, but these differ: out/.new"),
            ("outside", outside, "changed outside of the output: outside/x"),
            ("ignores-errors", ignores_errors, "exit code 0, but these differ: out"),
        ] {
            let body = if name == "stuck" { body.to_owned() } else { format!("{REFUSE}\n{body}") };
            assert!(find_violation(name, &body, expected).is_some(), "{name}");
        }
    }

    #[test]
    fn random_names_are_replaced() {
        assert_eq!(without_random("a/.tmpAb12Cd: b/.tmp and .tmpabcdef"), "a/.tmp*: b/.tmp and .tmp*");
    }
}
