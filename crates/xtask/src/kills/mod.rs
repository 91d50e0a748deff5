//! Kills goldfish at every system call that changes the file system, lets each of these calls fail, and looks whether the
//! next run makes the best of what is left.

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
use cases::{CASES, Case, Numbers, write_inputs};
use check::{Again, States};
use process::{Ended, Start, What};
use tree::Tree;

/// Chooses the calls at which a case is disturbed that takes too long for all of them.
const SEED: u64 = 1;

/// How many kills, and errors of each kind, the short form tries in a case.
const SHORT: [(What, usize); 3] = [(What::Kill, 5), (What::Eio, 2), (What::Enospc, 1)];

/// A folder in memory, where flushing costs no time.
const MEMORY: &str = "/dev/shm";

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only this case.
    case: Option<String>,
    /// Every call, and a sample of those of the demo, instead of a few of each case that are always the same.
    #[arg(long)]
    all: bool,
    /// Only the call with this number, from 1; says what happens, and keeps the folder.
    #[arg(long, requires = "case")]
    point: Option<usize>,
    /// What happens at that call.
    #[arg(long, requires = "point", default_value = "kill")]
    what: What,
    /// The program, instead of a debug build of this repository.
    #[arg(long)]
    program: Option<PathBuf>,
}

/// One run that is disturbed: at the call with this number, from 1.
type Disturbance = (usize, What);

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let chosen = |case: &&Case| match &options.case {
        Some(name) => *name == case.name,
        // What needs a sample takes too long for the short form.
        None => options.all || case.sample.is_none(),
    };
    let cases: Vec<&Case> = CASES.iter().filter(chosen).collect();
    if cases.is_empty() {
        bail!("there is no such case; they are {}", CASES.each_ref().map(|case| case.name).join(", "));
    }
    let program = match &options.program {
        Some(program) => program.clone(),
        None => test::build_program()?,
    };
    let program = program.canonicalize().with_context(|| program.display().to_string())?;
    let scratch = Scratch::new()?;
    let mut faults = 0;
    for case in cases {
        let bench = Bench::new(case, &program, scratch.0.join(case.name))?;
        if let Some(point) = options.point {
            std::mem::forget(scratch);
            return bench.show((point, options.what));
        }
        faults += bench.disturb_all(&bench.choose(options.all))?;
        tree::remove(&bench.folder)?;
    }
    ensure!(faults == 0, "{faults} disturbed runs with faults");
    Ok(())
}

/// A folder of this process, which goes with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let above = Some(PathBuf::from(MEMORY)).filter(|folder| folder.is_dir()).unwrap_or_else(target);
        let folder = above.join(format!("goldfish-kills-{}", std::process::id()));
        tree::remove(&folder)?;
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        // Calls are told by paths without links.
        Ok(Self(folder.canonicalize()?))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Best effort: the fault that ended the process is the one to report.
        let _ = tree::remove(&self.0);
    }
}

/// A case with all that its runs need.
struct Bench<'a> {
    case: &'a Case,
    program: &'a Path,
    /// What the case starts from is in its folder `start`.
    folder: PathBuf,
    states: States,
    /// The calls of a run that is not disturbed.
    calls: Vec<Call>,
    /// The faults of the runs that follow, by the state that they start from: many calls leave the same one.
    known: Mutex<HashMap<u64, Vec<String>>>,
}

impl<'a> Bench<'a> {
    fn new(case: &'a Case, program: &'a Path, folder: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&folder)?;
        let start = folder.join("start");
        write_inputs(&start)?;
        let of = |arguments: &[String], at: &Path, traced: bool| -> anyhow::Result<Ended> {
            let start = Start { program, arguments, folder: at, prints: &folder, limit: case.limit() };
            let ended = if traced { start.trace(None)? } else { start.run()? };
            ensure!(
                ended.code == Some(0),
                "{}: {}: {}",
                arguments.join(" "),
                ended.describe(),
                ended.stderr.trim()
            );
            Ok(ended)
        };
        for command in case.preparation() {
            of(&command, &start, false)?;
        }
        let [end, again] = ["end", "again"].map(|name| folder.join(name));
        tree::copy(&start, &end)?;
        tree::copy(&start, &again)?;
        let calls = of(&case.disturbed(), &end, true)?.calls;
        of(&case.disturbed(), &again, false)?;
        let states = States { start: Tree::read(&start)?, end: Tree::read(&end)? };
        let differ = states.end.differences(&Tree::read(&again)?);
        ensure!(differ.is_empty(), "{}: two runs differ in {}", case.name, differ.join(", "));
        Ok(Self { case, program, folder, states, calls, known: Mutex::default() })
    }

    /// The runs to disturb.
    fn choose(&self, all: bool) -> Vec<Disturbance> {
        let points = self.calls.len();
        if !all {
            // The last of some equal stretches each, so that the last call is always among them.
            let spread = |count: usize| (1..=count.min(points)).map(move |i| i * points / count.min(points));
            let counts =
                SHORT.map(|(what, count)| (what, if self.case.sample.is_some() { 1 } else { count }));
            return counts.iter().flat_map(|(what, count)| spread(*count).map(|at| (at, *what))).collect();
        }
        let mut every: Vec<Disturbance> =
            What::ALL.iter().flat_map(|what| (1..=points).map(|point| (point, *what))).collect();
        if let Some(sample) = self.case.sample {
            let mut numbers = Numbers(SEED);
            while every.len() > sample {
                every.swap_remove(numbers.below(every.len() as u64) as usize);
            }
        }
        every
    }

    /// Disturbs runs, prints what is wrong, and returns in how many of them.
    fn disturb_all(&self, chosen: &[Disturbance]) -> anyhow::Result<usize> {
        let started = Instant::now();
        let next = AtomicUsize::new(0);
        let found = Mutex::new(BTreeMap::<String, Vec<(Disturbance, Call)>>::new());
        let faulty = AtomicUsize::new(0);
        let work = |worker: usize| -> anyhow::Result<()> {
            let scratch = self.folder.join(format!("worker-{worker}"));
            while let Some(&disturbance) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                let (faults, call) = self.disturb(disturbance, &scratch, |_| {})?;
                if !faults.is_empty() {
                    faulty.fetch_add(1, Ordering::Relaxed);
                }
                let mut found = lock(&found);
                for fault in faults {
                    found.entry(without_random(&fault)).or_default().push((disturbance, call.clone()));
                }
            }
            Ok(())
        };
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..workers).map(|worker| scope.spawn(move || work(worker))).collect();
            let ended = workers.into_iter().map(|worker| match worker.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            ended.collect::<anyhow::Result<Vec<()>>>()
        })?;
        let kills = chosen.iter().filter(|(_, what)| *what == What::Kill).count();
        let faulty = faulty.into_inner();
        println!(
            "{}: {} points{}, {kills} kills, {} errors, {} states, {faulty} with faults ({:.0} s)",
            self.case.name,
            self.calls.len(),
            if chosen.len() < 3 * self.calls.len() { " (a sample of them)" } else { "" },
            chosen.len() - kills,
            lock(&self.known).len(),
            started.elapsed().as_secs_f64(),
        );
        for (fault, mut places) in found.into_inner().unwrap_or_default() {
            places.sort_by_key(|((point, what), _)| (*what != What::Kill, *point));
            let ((point, what), call) = &places[0];
            let (case, what) = (self.case.name, what.name());
            let more =
                if places.len() > 1 { format!(", and {} more", places.len() - 1) } else { String::new() };
            println!(
                "  {fault}\n    after {what} at {call}{more}: cargo xtask kills {case} --point {point} --what {what}"
            );
        }
        Ok(faulty)
    }

    /// Disturbs one run; returns what is wrong, and the call. The folder `left` in `scratch` is as the run left it.
    fn disturb(
        &self,
        (point, what): Disturbance,
        scratch: &Path,
        tell: impl Fn(&Ended),
    ) -> anyhow::Result<(Vec<String>, Call)> {
        tree::remove(scratch)?;
        fs::create_dir_all(scratch)?;
        let (start, left) = (self.folder.join("start"), scratch.join("left"));
        tree::copy(&start, &left)?;
        let (program, case, states) = (self.program, self.case, &self.states);
        let arguments = &case.disturbed();
        let run = Start { program, arguments, folder: &left, prints: scratch, limit: case.limit() };
        let ended = run.trace(Some((point, what)))?;
        tell(&ended);
        let found = Tree::read(&left)?;
        let call = ended.calls.get(point - 1);
        let mut faults = states.ended(what, &ended, &found, call.is_some());
        faults.extend(states.left(case, &found));
        let state = found.shape();
        let again = Again { program, case, states, points: self.calls.len(), scratch };
        let known = lock(&self.known).get(&state).cloned();
        let after = match known {
            Some(after) => after,
            None => {
                let after = again.check(&left, &found)?;
                lock(&self.known).insert(state, after.clone());
                after
            }
        };
        faults.extend(after);
        Ok((faults, call.cloned().unwrap_or_else(|| "its end".into())))
    }

    /// Disturbs one run and says all about it.
    fn show(&self, disturbance: Disturbance) -> anyhow::Result<()> {
        let points = self.calls.len();
        ensure!((1..=points).contains(&disturbance.0), "{} has the points 1 to {points}", self.case.name);
        let scratch = self.folder.join("shown");
        println!("goldfish {}", self.case.disturbed().join(" "));
        let (faults, _) = self.disturb(disturbance, &scratch, |ended| {
            for (number, call) in ended.calls.iter().enumerate() {
                let mark = if number + 1 == disturbance.0 { disturbance.1.name() } else { "" };
                println!("{:5} {mark:6} {call}", number + 1);
            }
            println!("{}\n{}", ended.describe(), ended.stderr.trim());
        })?;
        println!("it left {}", scratch.join("left").display());
        faults.iter().for_each(|fault| println!("  {fault}"));
        ensure!(faults.is_empty(), "{} faults", faults.len());
        println!("no faults");
        Ok(())
    }
}

/// What other threads left behind a panic is as good as before: it is added to only.
fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A text with one name for all files with random names, so that equal faults are told once.
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

    /// The first fault of a program that is a script, of those with a text in them, when it is disturbed at every call.
    fn fault(name: &'static str, body: &str, with: &str) -> Option<String> {
        let scratch =
            Scratch(std::env::temp_dir().join(format!("goldfish-kills-{name}-{}", std::process::id())));
        tree::remove(&scratch.0).unwrap();
        fs::create_dir_all(&scratch.0).unwrap();
        let above = scratch.0.canonicalize().unwrap();
        let program = above.join("program");
        fs::write(&program, format!("#!/bin/sh\n[ $1 = verify ] && exit 0\n{body}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let case = Case { name, command: "make", options: &["--overwrite"], ..cases::NEW };
        let bench = Bench::new(&case, &program, above.join("case")).unwrap();
        let chosen = bench.choose(true);
        assert!(chosen.len() >= 3 * 5, "{:?}", bench.calls);
        let work = above.join("work");
        let mut found = chosen.iter().flat_map(|one| bench.disturb(*one, &work, |_| {}).unwrap().0);
        found.find(|fault| fault.contains(with))
    }

    /// Refuses to replace a set without the option.
    const REFUSE: &str =
        "[ -e out/manifest.json ] && [ -z $2 ] && echo holds a set, give --overwrite >&2 && exit 2";

    #[test]
    fn a_careful_program_has_no_faults() {
        let body = "mkdir -p out/.new && echo data > out/.new/data && echo all > out/.new/manifest.json &&
            mv out/.new/data out/data && mv out/.new/manifest.json out/manifest.json && rmdir out/.new";
        assert_eq!(fault("careful", &format!("{REFUSE}\n{body}"), ""), None);
    }

    #[test]
    fn faulty_programs_are_found() {
        let careless =
            "mkdir -p out && echo all > out/manifest.json && echo data > out/data && touch out/more";
        let brick =
            "mkdir out && echo data > out/data && echo more > out/more && echo all > out/manifest.json";
        let orphans = "mkdir -p out && echo $$ > out/.new$$ && mv out/.new$$ out/.old && echo data > out/data && rm out/.old &&
            echo all > out/manifest.json";
        let outside =
            "mkdir -p out && echo data > out/data && echo all > out/manifest.json && echo x > outside/x &&
            rm outside/x";
        let deaf =
            "mkdir -p out && echo data > out/data && echo all > out/manifest.json; touch out/more; exit 0";
        for (name, body, expected) in [
            ("careless", careless, "out/manifest.json is there, and these are not as it says: data"),
            ("brick", brick, "refuses, and it names no option to continue with"),
            ("orphans", orphans, "the plain run: exit code 0, but these differ: out/.new"),
            ("outside", outside, "changed outside of the output: outside/x"),
            ("deaf", deaf, "exit code 0, but these differ: out"),
        ] {
            let body = if name == "brick" { body.to_owned() } else { format!("{REFUSE}\n{body}") };
            assert!(fault(name, &body, expected).is_some(), "{name}");
        }
    }

    #[test]
    fn random_names_are_one_name() {
        assert_eq!(without_random("a/.tmpAb12Cd: b/.tmp and .tmpabcdef"), "a/.tmp*: b/.tmp and .tmp*");
    }
}
