//! What must hold after a run with a failure, and after the runs that follow it.

use std::path::{Path, PathBuf};

use crate::kills::cases::Case;
use crate::kills::process::{Failure, Invocation, Outcome};
use crate::kills::tree::{self, Tree};

/// Files that mark an output as complete: of shards, exports and masks, trainings, audits.
const MANIFESTS: [&str; 4] = ["manifest.json", "goldfish.json", "training.json", "SHA256SUMS"];

/// The manifests that `goldfish verify` reads.
const VERIFIED: [&str; 3] = ["manifest.json", "goldfish.json", "SHA256SUMS"];

/// Folders of unfinished work without hidden names.
pub(crate) const WORKING: [&str; 2] = ["training", "segments"];

/// The states of a case's folder that results are compared with.
pub(crate) struct States {
    /// Before the command.
    pub(crate) start: Tree,
    /// After a run without a failure.
    pub(crate) end: Tree,
}

impl States {
    /// Whether readers see the complete output.
    fn is_complete(&self, case: &Case, found: &Tree) -> bool {
        let folder = case.output.folder();
        visible(found, folder) == visible(&self.end, folder)
    }

    /// Violations in the folder after a run with a failure.
    pub(crate) fn check_folder(&self, case: &Case, found: &Tree) -> Vec<String> {
        let mut violations = Vec::new();
        let differ = self.start.differences(found);
        let is_source = |path: &str| {
            case.sources.iter().any(|source| path == *source || path.starts_with(&format!("{source}/")))
        };
        let (sources, others): (Vec<_>, Vec<_>) =
            differ.into_iter().filter(|path| !case.output.contains(path)).partition(|path| is_source(path));
        if !others.is_empty() {
            violations.push(format!("changed outside of the output: {}", list(&others)));
        }
        let removed_too_early = sources.iter().any(|path| found.has(path)) || !self.is_complete(case, found);
        if !sources.is_empty() && removed_too_early {
            violations.push(format!("changed before the output was complete: {}", list(&sources)));
        }
        for (folder, manifest) in found.folders_with(&MANIFESTS) {
            let seen = visible(found, &folder);
            let states = [&self.start, &self.end].map(|state| visible(state, &folder));
            if !states.contains(&seen) {
                let [start, end] = states.map(|state| state.differences(&seen));
                let nearest = if start.len() < end.len() { start } else { end };
                violations.push(format!(
                    "{folder}/{manifest} exists, but these files do not match it: {}",
                    list(&nearest)
                ));
            }
        }
        violations
    }

    /// Violations in the outcome of a run with a failure.
    pub(crate) fn check_outcome(
        &self,
        failure: Failure,
        outcome: &Outcome,
        found: &Tree,
        reached: bool,
    ) -> Vec<String> {
        let mut violations = Vec::new();
        if outcome.timed_out {
            violations.push("took too long".into());
        } else if !(failure == Failure::Kill && reached) && outcome.code.is_none_or(|code| code > 2) {
            violations.push(format!("{}: {}", outcome.describe(), last_line(&outcome.stderr)));
        }
        if outcome.code == Some(0) && *found != self.end {
            violations.push(format!("exit code 0, but these differ: {}", list(&self.end.differences(found))));
        }
        violations
    }
}

/// A run after one with a failure.
struct Rerun {
    option: &'static str,
    folder: PathBuf,
    outcome: Outcome,
    found: Tree,
}

impl Rerun {
    fn name(&self) -> &'static str {
        if self.option.is_empty() { "the plain run" } else { self.option }
    }

    fn succeeds(&self, states: &States) -> bool {
        self.outcome.code == Some(0) && self.found == states.end
    }
}

/// Runs the command of a case again.
pub(crate) struct Recovery<'a> {
    pub(crate) program: &'a Path,
    pub(crate) case: &'a Case,
    pub(crate) states: &'a States,
    /// The number of calls of a run without a failure.
    pub(crate) points: usize,
    /// A folder for copies.
    pub(crate) scratch: &'a Path,
}

impl Recovery<'_> {
    /// Runs the command on copies of a folder without and with each of its options; returns violations.
    pub(crate) fn check(&self, remains: &Path, found: &Tree) -> anyhow::Result<Vec<String>> {
        let mut violations = self.verify(remains, found)?;
        // A complete run may have removed the inputs of another one.
        if *found == self.states.end {
            return Ok(violations);
        }
        let options = std::iter::once("").chain(self.case.options.iter().copied());
        let reruns = options
            .map(|option| self.rerun(remains, option, &format!("again{option}")))
            .collect::<anyhow::Result<Vec<_>>>()?;
        for rerun in &reruns {
            let violation = self.check_rerun(rerun, &reruns, found)?;
            violations.extend(violation.map(|violation| format!("{}: {violation}", rerun.name())));
        }
        if self.case.sample.is_some() {
            return Ok(violations);
        }
        // A second failure must be recoverable as well: a kill of the run that resumes, and a full disk for the run that
        // replaces the output.
        if let ([.., last], Some(first)) = (reruns.as_slice(), reruns.get(1).or(reruns.first())) {
            for (rerun, failure) in [(first, Failure::Kill), (last, Failure::Enospc)] {
                if rerun.succeeds(self.states) {
                    violations.extend(self.inject_again(remains, found, rerun, failure)?);
                }
            }
        }
        Ok(violations)
    }

    /// The violation of a run, given all runs from the same state.
    fn check_rerun(&self, rerun: &Rerun, reruns: &[Rerun], before: &Tree) -> anyhow::Result<Option<String>> {
        Ok(match rerun.outcome.code {
            Some(0) if rerun.found == self.states.end => None,
            Some(0) => {
                let differ = list(&self.states.end.differences(&rerun.found));
                Some(format!("exit code 0, but these differ: {differ}"))
            }
            Some(1 | 2) => self.check_refusal(rerun, reruns, before)?,
            _ => Some(format!("{}: {}", rerun.outcome.describe(), last_line(&rerun.outcome.stderr))),
        })
    }

    /// Injects a failure into a run that would succeed, at a call chosen by the state alone, and repeats the run.
    fn inject_again(
        &self,
        remains: &Path,
        found: &Tree,
        rerun: &Rerun,
        failure: Failure,
    ) -> anyhow::Result<Vec<String>> {
        let folder = self.scratch.join("failed-again");
        tree::remove(&folder)?;
        tree::copy(remains, &folder)?;
        let point = 1 + (found.shape() % self.points as u64) as usize;
        let outcome = self.start(&folder, &self.case.with(rerun.option)).trace(Some((point, failure)))?;
        let Some(call) = outcome.calls.get(point - 1) else { return Ok(Vec::new()) };
        let remains = Tree::read(&folder)?;
        if remains == self.states.end {
            return Ok(Vec::new());
        }
        let mut violations = self.states.check_folder(self.case, &remains);
        let repeated = self.rerun(&folder, rerun.option, "repeated")?;
        // A complete output may be refused.
        let is_done = self.states.is_complete(self.case, &repeated.found)
            && last_line(&repeated.outcome.stderr).contains("choose another --output");
        if !is_done && !repeated.succeeds(self.states) {
            let message = last_line(&repeated.outcome.stderr);
            let named = self.case.options.iter().find(|option| message.contains(**option));
            let followed = named.map(|option| self.rerun(&folder, option, "followed")).transpose()?;
            if !followed.is_some_and(|followed| followed.succeeds(self.states)) {
                let violation = match repeated.outcome.code {
                    Some(0) => {
                        format!("these differ: {}", list(&self.states.end.differences(&repeated.found)))
                    }
                    _ => format!("{}: {message}", repeated.outcome.describe()),
                };
                violations.push(format!("then again {}, {violation}", rerun.name()));
            }
        }
        let (name, failure) = (rerun.name(), failure.name());
        Ok(violations
            .into_iter()
            .map(|violation| format!("{name}, with {failure} at {call}: {violation}"))
            .collect())
    }

    /// The violation of a run that refused, given all runs from the same state.
    fn check_refusal(
        &self,
        rerun: &Rerun,
        reruns: &[Rerun],
        before: &Tree,
    ) -> anyhow::Result<Option<String>> {
        let message = rerun.outcome.stderr.trim();
        if let Some(violation) = self.states.check_folder(self.case, &rerun.found).first() {
            return Ok(Some(format!("refuses ({}), and {violation}", last_line(message))));
        }
        // It may remove hidden files, restore the earlier output, or complete the new one.
        let seen = |tree: &Tree| visible(tree, "");
        let States { start, end } = self.states;
        if seen(&rerun.found) != seen(before) && ![start, end].contains(&&rerun.found) {
            let differ = list(&seen(before).differences(&seen(&rerun.found)));
            return Ok(Some(format!("refuses, and changed {differ}: {}", last_line(message))));
        }
        // A complete output may be refused.
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
            if names_any { "the option that it names fails" } else { "it names no option to continue with" };
        Ok(Some(format!("refuses, and {why}: {}", last_line(message))))
    }

    fn rerun(&self, remains: &Path, option: &'static str, name: &str) -> anyhow::Result<Rerun> {
        let folder = self.scratch.join(name);
        tree::remove(&folder)?;
        tree::copy(remains, &folder)?;
        let outcome = self.run(&folder, &self.case.with(option))?;
        let found = Tree::read(&folder)?;
        Ok(Rerun { option, folder, outcome, found })
    }

    /// Runs `goldfish verify` on all folders with a manifest.
    fn verify(&self, remains: &Path, found: &Tree) -> anyhow::Result<Vec<String>> {
        let mut violations = Vec::new();
        for (folder, _) in found.folders_with(&VERIFIED) {
            if folder.starts_with("outside") {
                continue;
            }
            let outcome = self.run(remains, &["verify".to_owned(), folder.clone()])?;
            if outcome.code != Some(0) {
                violations.push(format!(
                    "verify {folder}: {}: {}",
                    outcome.describe(),
                    last_line(&outcome.stderr)
                ));
            }
        }
        Ok(violations)
    }

    fn run(&self, folder: &Path, arguments: &[String]) -> anyhow::Result<Outcome> {
        self.start(folder, arguments).run()
    }

    fn start<'b>(&'b self, folder: &'b Path, arguments: &'b [String]) -> Invocation<'b> {
        let (program, log_folder) = (self.program, self.scratch);
        Invocation { program, arguments, folder, log_folder, limit: self.case.limit() }
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
