//! One combination: a scene, a name in it, what replaces that, and a command.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::program::{self, Ended};
use crate::replacement::{Replacement, make_home};
use crate::scene::{Call, Place, Scene};
use crate::tree;

/// A command in a scene where at most one name is replaced.
pub(crate) struct Case<'a> {
    scene: &'a Scene,
    call: &'a Call,
    replaced: Option<(&'a Place, Replacement)>,
}

/// Of a slow scene one in so many replacements is taken for each place.
const SLOW: usize = 4;

/// The cases of all scenes. Each command also runs with nothing replaced, which shows that the scene is sound.
///
/// With `part`, all combinations whose names contain it; without it one command for each place and replacement: over the
/// places every command meets every replacement, and at every place every command something.
pub(crate) fn select<'a>(scenes: &'a [Scene], part: Option<&str>) -> Vec<Case<'a>> {
    let mut cases = Vec::new();
    for scene in scenes {
        cases.extend(scene.commands.iter().map(|call| Case { scene, call, replaced: None }));
        for (row, place) in scene.places.iter().enumerate() {
            for (column, replacement) in Replacement::ALL.into_iter().enumerate() {
                if place.never == Some(replacement) {
                    continue;
                }
                if part.is_none() && scene.is_slow && row % SLOW != column % SLOW {
                    continue;
                }
                let turn = (row + column) % scene.commands.len();
                let calls = scene.commands.iter().enumerate();
                let calls = calls.filter(|(number, _)| part.is_some() || *number == turn);
                cases.extend(calls.map(|(_, call)| Case {
                    scene,
                    call,
                    replaced: Some((place, replacement)),
                }));
            }
        }
    }
    cases.retain(|case| case.can_be_planted() && part.is_none_or(|part| case.name().contains(part)));
    cases
}

impl Case<'_> {
    pub(crate) fn name(&self) -> String {
        let replaced = self.replaced.map_or("nothing replaced".into(), |(place, replacement)| {
            format!("{} is {replacement:?}", place.path)
        });
        format!("{}, {}: {replaced}", self.scene.name, self.call.name)
    }

    pub(crate) fn scene(&self) -> &'static str {
        self.scene.name
    }

    /// Where sound things for a place are: of this run, and of another.
    fn sound(&self, place: &Place) -> (PathBuf, PathBuf) {
        match &place.like {
            None => (self.scene.template.join(&place.path), self.scene.other.join(&place.path)),
            Some(like) => {
                let above = |folder: &Path| folder.parent().unwrap().join(like);
                (above(&self.scene.template), above(&self.scene.other))
            }
        }
    }

    fn can_be_planted(&self) -> bool {
        let Some((place, replacement)) = self.replaced else { return true };
        let (original, other) = self.sound(place);
        replacement.has(&original, &other)
    }

    /// Runs it in a folder that is made for it; returns what went wrong, and how long the program took.
    pub(crate) fn run(&self, folder: &Path) -> (Vec<String>, Duration) {
        tree::remove(folder);
        let (here, home) = (folder.join("here"), folder.join("home"));
        tree::copy(&self.scene.template, &here);
        make_home(&home);
        if let Some((place, replacement)) = self.replaced {
            let (original, other) = self.sound(place);
            replacement.plant(&here.join(&place.path), &home, &original, &other);
        }
        let limit = if self.scene.is_slow { program::LONG_TIME_LIMIT } else { program::TIME_LIMIT };
        let (here_before, home_before) = (tree::read(&here), tree::read(&home));
        let ended = program::run(&here, &self.call.arguments, limit);
        let (here_after, home_after) = (tree::read(&here), tree::read(&home));

        let outside = |path: &Path| !self.is_meant(path) || is_mine(path);
        let outside = tree::differences(&home_before, &home_after, outside);
        let inside = |path: &Path| is_mine(path) || !self.may_write(path);
        let inside = tree::differences(&here_before, &here_after, inside);
        let mut faults: Vec<String> = outside.iter().map(|line| format!("OUTSIDE: {line}")).collect();
        faults.extend(inside.iter().map(|line| format!("inside: {line}")));
        if ended.code().is_ok_and(|code| code < 2) {
            let planted =
                here_after.iter().filter(|(path, entry)| entry.is_odd() && !here_before.contains_key(*path));
            faults
                .extend(planted.map(|(path, _)| format!("inside: {} was planted elsewhere", path.display())));
        }
        faults.extend(self.fault_of_end(&ended));
        if !faults.is_empty() {
            faults.push(format!("stderr: {}", ended.stderr.trim()));
        }
        (faults, ended.time)
    }

    /// Whether a path in the user's folder is one that the command may write, since its command line names a link that leads
    /// there.
    fn is_meant(&self, path: &Path) -> bool {
        let Some((place, Replacement::LinkToCopy)) = self.replaced else { return false };
        let below = path.strip_prefix("copy").ok().filter(|_| place.is_argument);
        below.is_some_and(|below| self.may_write(&Path::new(&place.path).join(below)))
    }

    /// Whether a path below the scene's folder is one that the command may write.
    fn may_write(&self, path: &Path) -> bool {
        let path = path.to_string_lossy();
        let starts = |written: &String| path.strip_prefix(written.as_str()).is_some();
        self.call.writes.iter().any(starts)
    }

    fn fault_of_end(&self, ended: &Ended) -> Option<String> {
        let code = match ended.code() {
            Err(fault) => return Some(fault),
            Ok(code) => code,
        };
        if ended.stderr.contains("panicked") || ended.stderr.contains("fault in goldfish") {
            return Some("a fault of the program".into());
        }
        let Some((place, replacement)) = self.replaced else {
            return (code != self.call.code).then(|| format!("exit code {code}, and not {}", self.call.code));
        };
        if !(0..=2).contains(&code) {
            return Some(format!("exit code {code}"));
        }
        let is_named = self.names(place, replacement).iter().any(|name| ended.stderr.contains(name.as_str()));
        (code == 2 && !is_named).then(|| format!("exit code {code}, and {} is not named", place.path))
    }

    /// How a message may name a place: by its path, by its path below the inputs' folder, as manifests do, or by that of a
    /// folder above, which may be refused as a whole. A huge input that is read from its start has to be named itself.
    fn names(&self, place: &Place, replacement: Replacement) -> Vec<String> {
        let path = Path::new(&place.path);
        let reads = self.call.code != 2 && !self.call.arguments.iter().any(|argument| argument == "--resume");
        let is_own = reads && replacement == Replacement::HugeFile && !self.may_write(path);
        let above =
            path.ancestors().filter(|above| !above.as_os_str().is_empty() && (!is_own || *above == path));
        let below: PathBuf = path.components().skip(1).collect();
        let below = Some(below).filter(|below| !below.as_os_str().is_empty());
        above.map(Path::to_path_buf).chain(below).map(|path| path.to_string_lossy().into_owned()).collect()
    }
}

/// Whether a file is the user's, wherever it is.
fn is_mine(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("mine."))
}
