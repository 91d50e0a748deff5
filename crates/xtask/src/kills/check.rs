//! What must hold after a disturbed run, and after the runs that follow it.

use std::path::{Path, PathBuf};

use crate::kills::cases::Case;
use crate::kills::process::{Ended, Start, What};
use crate::kills::tree::{self, Tree};

/// The files that say that a set is complete: of shards, of exports and masks, of trainings, of audits.
const MANIFESTS: [&str; 4] = ["manifest.json", "goldfish.json", "training.json", "summary.json"];

/// The manifests that `goldfish verify` reads.
const VERIFIED: [&str; 2] = ["manifest.json", "goldfish.json"];

/// Folders of unfinished work that have no hidden name.
pub(crate) const WORKING: [&str; 2] = ["training", "segments"];

/// The states of a case's folder that everything is compared with.
pub(crate) struct States {
    /// Before the command.
    pub(crate) start: Tree,
    /// After a run that was not disturbed.
    pub(crate) end: Tree,
}

impl States {
    /// Whether everything that a reader sees of the output is that of the end.
    fn is_complete(&self, case: &Case, found: &Tree) -> bool {
        let folder = case.place.folder();
        visible(found, folder) == visible(&self.end, folder)
    }

    /// What is wrong with the folder as a disturbed run left it.
    pub(crate) fn left(&self, case: &Case, found: &Tree) -> Vec<String> {
        let mut faults = Vec::new();
        let differ = self.start.differences(found);
        let is_source = |path: &str| {
            case.sources.iter().any(|source| path == *source || path.starts_with(&format!("{source}/")))
        };
        let (sources, others): (Vec<_>, Vec<_>) =
            differ.into_iter().filter(|path| !case.place.holds(path)).partition(|path| is_source(path));
        if !others.is_empty() {
            faults.push(format!("changed outside of the output: {}", list(&others)));
        }
        let removed_too_early = sources.iter().any(|path| found.has(path)) || !self.is_complete(case, found);
        if !sources.is_empty() && removed_too_early {
            faults.push(format!("changed before the output was complete: {}", list(&sources)));
        }
        for (folder, manifest) in found.folders_with(&MANIFESTS) {
            let seen = visible(found, &folder);
            let states = [&self.start, &self.end].map(|state| visible(state, &folder));
            if !states.contains(&seen) {
                let [start, end] = states.map(|state| state.differences(&seen));
                let nearest = if start.len() < end.len() { start } else { end };
                faults.push(format!(
                    "{folder}/{manifest} is there, and these are not as it says: {}",
                    list(&nearest)
                ));
            }
        }
        faults
    }

    /// What is wrong with how a disturbed run ended.
    pub(crate) fn ended(&self, what: What, ended: &Ended, found: &Tree, reached: bool) -> Vec<String> {
        let mut faults = Vec::new();
        if ended.timed_out {
            faults.push("took too long".into());
        } else if !(what == What::Kill && reached) && ended.code.is_none_or(|code| code > 2) {
            faults.push(format!("{}: {}", ended.describe(), last_line(&ended.stderr)));
        }
        if ended.code == Some(0) && *found != self.end {
            faults.push(format!("exit code 0, but these differ: {}", list(&self.end.differences(found))));
        }
        faults
    }
}

/// A run after a disturbed one.
struct Rerun {
    option: &'static str,
    /// Its folder.
    folder: PathBuf,
    ended: Ended,
    found: Tree,
}

impl Rerun {
    fn name(&self) -> &'static str {
        if self.option.is_empty() { "the plain run" } else { self.option }
    }

    fn succeeds(&self, states: &States) -> bool {
        self.ended.code == Some(0) && self.found == states.end
    }
}

/// Runs a case's command again.
pub(crate) struct Again<'a> {
    pub(crate) program: &'a Path,
    pub(crate) case: &'a Case,
    pub(crate) states: &'a States,
    /// How many calls a run has that is not disturbed.
    pub(crate) points: usize,
    /// A folder for copies.
    pub(crate) scratch: &'a Path,
}

impl Again<'_> {
    /// Runs the command on copies of a folder, plainly and with each of its options; says what is wrong.
    pub(crate) fn check(&self, left: &Path, found: &Tree) -> anyhow::Result<Vec<String>> {
        let mut faults = self.verify(left, found)?;
        // What a run that is complete has removed need not be there for another one.
        if *found == self.states.end {
            return Ok(faults);
        }
        let options = std::iter::once("").chain(self.case.options.iter().copied());
        let reruns = options
            .map(|option| self.rerun(left, option, &format!("again{option}")))
            .collect::<anyhow::Result<Vec<_>>>()?;
        for rerun in &reruns {
            let fault = self.fault(rerun, &reruns, found)?;
            faults.extend(fault.map(|fault| format!("{}: {fault}", rerun.name())));
        }
        if self.case.sample.is_some() {
            return Ok(faults);
        }
        // What a first disturbance left must not be worse for a second one: a kill of a run that resumes, where there is
        // one, and a full disk for a run that replaces.
        if let ([.., last], Some(first)) = (reruns.as_slice(), reruns.get(1).or(reruns.first())) {
            for (rerun, what) in [(first, What::Kill), (last, What::Enospc)] {
                if rerun.succeeds(self.states) {
                    faults.extend(self.disturb_again(left, found, rerun, what)?);
                }
            }
        }
        Ok(faults)
    }

    /// What is wrong with a run, given all the runs from the same state.
    fn fault(&self, rerun: &Rerun, reruns: &[Rerun], before: &Tree) -> anyhow::Result<Option<String>> {
        Ok(match rerun.ended.code {
            Some(0) if rerun.found == self.states.end => None,
            Some(0) => {
                let differ = list(&self.states.end.differences(&rerun.found));
                Some(format!("exit code 0, but these differ: {differ}"))
            }
            Some(1 | 2) => self.refused(rerun, reruns, before)?,
            _ => Some(format!("{}: {}", rerun.ended.describe(), last_line(&rerun.ended.stderr))),
        })
    }

    /// Disturbs a run that would succeed, at a call that depends on the state alone, and repeats it.
    fn disturb_again(
        &self,
        left: &Path,
        found: &Tree,
        rerun: &Rerun,
        what: What,
    ) -> anyhow::Result<Vec<String>> {
        let folder = self.scratch.join("disturbed-again");
        tree::remove(&folder)?;
        tree::copy(left, &folder)?;
        let point = 1 + (found.shape() % self.points as u64) as usize;
        let ended = self.start(&folder, &self.case.with(rerun.option)).trace(Some((point, what)))?;
        let Some(call) = ended.calls.get(point - 1) else { return Ok(Vec::new()) };
        let left = Tree::read(&folder)?;
        if left == self.states.end {
            return Ok(Vec::new());
        }
        let mut faults = self.states.left(self.case, &left);
        let repeated = self.rerun(&folder, rerun.option, "repeated")?;
        // Where all is in place there is nothing left to do.
        let is_done = self.states.is_complete(self.case, &repeated.found)
            && last_line(&repeated.ended.stderr).contains("choose another --output");
        if !is_done && !repeated.succeeds(self.states) {
            let message = last_line(&repeated.ended.stderr);
            let named = self.case.options.iter().find(|option| message.contains(**option));
            let followed = named.map(|option| self.rerun(&folder, option, "followed")).transpose()?;
            if !followed.is_some_and(|followed| followed.succeeds(self.states)) {
                let fault = match repeated.ended.code {
                    Some(0) => {
                        format!("these differ: {}", list(&self.states.end.differences(&repeated.found)))
                    }
                    _ => format!("{}: {message}", repeated.ended.describe()),
                };
                faults.push(format!("then once more {}, {fault}", rerun.name()));
            }
        }
        let (name, what) = (rerun.name(), what.name());
        Ok(faults.into_iter().map(|fault| format!("{name}, with {what} at {call}: {fault}")).collect())
    }

    /// What is wrong with a run that refused, given all the runs from the same state.
    fn refused(&self, rerun: &Rerun, reruns: &[Rerun], before: &Tree) -> anyhow::Result<Option<String>> {
        let message = rerun.ended.stderr.trim();
        if let Some(fault) = self.states.left(self.case, &rerun.found).first() {
            return Ok(Some(format!("refuses ({}), and {fault}", last_line(message))));
        }
        // It may tidy up hidden files, put back the set that was there at the start, or complete the new one.
        let seen = |tree: &Tree| visible(tree, "");
        let States { start, end } = self.states;
        if seen(&rerun.found) != seen(before) && ![start, end].contains(&&rerun.found) {
            let differ = list(&seen(before).differences(&seen(&rerun.found)));
            return Ok(Some(format!("refuses, and changed {differ}: {}", last_line(message))));
        }
        // Where all is in place there is nothing left to do.
        if self.states.is_complete(self.case, &rerun.found) && message.contains("choose another --output") {
            return Ok(None);
        }
        let named = reruns.iter().filter(|other| {
            !other.option.is_empty() && other.option != rerun.option && message.contains(other.option)
        });
        let mut names_any = false;
        for other in named {
            names_any = true;
            let works = if rerun.found == *before {
                other.succeeds(self.states)
            } else {
                self.rerun(&rerun.folder, other.option, "followed")?.succeeds(self.states)
            };
            if works {
                return Ok(None);
            }
        }
        let why =
            if names_any { "what it names does not work" } else { "it names no option to continue with" };
        Ok(Some(format!("refuses, and {why}: {}", last_line(message))))
    }

    fn rerun(&self, left: &Path, option: &'static str, name: &str) -> anyhow::Result<Rerun> {
        let folder = self.scratch.join(name);
        tree::remove(&folder)?;
        tree::copy(left, &folder)?;
        let ended = self.run(&folder, &self.case.with(option))?;
        let found = Tree::read(&folder)?;
        Ok(Rerun { option, folder, ended, found })
    }

    /// `goldfish verify` must pass where there is a manifest.
    fn verify(&self, left: &Path, found: &Tree) -> anyhow::Result<Vec<String>> {
        let mut faults = Vec::new();
        for (folder, _) in found.folders_with(&VERIFIED) {
            if folder.starts_with("outside") {
                continue;
            }
            let ended = self.run(left, &["verify".to_owned(), folder.clone()])?;
            if ended.code != Some(0) {
                faults.push(format!("verify {folder}: {}: {}", ended.describe(), last_line(&ended.stderr)));
            }
        }
        Ok(faults)
    }

    fn run(&self, folder: &Path, arguments: &[String]) -> anyhow::Result<Ended> {
        self.start(folder, arguments).run()
    }

    fn start<'b>(&'b self, folder: &'b Path, arguments: &'b [String]) -> Start<'b> {
        let (program, prints) = (self.program, self.scratch);
        Start { program, arguments, folder, prints, limit: self.case.limit() }
    }
}

fn visible(tree: &Tree, folder: &str) -> Tree {
    tree.visible(folder, &WORKING)
}

fn list(paths: &[String]) -> String {
    const SHOWN: usize = 4;
    let more = paths.len().saturating_sub(SHOWN);
    let shown = paths.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

fn last_line(text: &str) -> &str {
    text.trim().lines().last().unwrap_or("no message")
}
