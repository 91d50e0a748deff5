//! A folder to attack, the commands that read or write it, and the names in it that are replaced.

use std::path::{Path, PathBuf};

use crate::program;
use crate::replacement::Replacement;

/// A folder as it is before the attack, with what is done in it.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// Where it is, as the program made it.
    pub(crate) template: PathBuf,
    /// The same of another run.
    pub(crate) other: PathBuf,
    pub(crate) commands: Vec<Call>,
    pub(crate) places: Vec<Place>,
    /// Whether its commands take long, so that fewer cases are taken.
    pub(crate) is_slow: bool,
}

/// A command line.
#[derive(Clone)]
pub(crate) struct Call {
    /// What the report calls it.
    pub(crate) name: &'static str,
    pub(crate) arguments: Vec<String>,
    /// Exit code where nothing is replaced.
    pub(crate) code: i32,
    /// What it may write: paths below the folder that start so. All else is the user's.
    pub(crate) writes: Vec<String>,
}

/// A name that is replaced.
#[derive(Clone)]
pub(crate) struct Place {
    /// Its path below the folder.
    pub(crate) path: String,
    /// What sound thing is at this name in another scene, where this scene has none.
    pub(crate) like: Option<String>,
    /// Whether the command line names it: then what it links to is what the user means.
    pub(crate) is_argument: bool,
    /// What it is not replaced by.
    pub(crate) never: Option<Replacement>,
}

impl Place {
    pub(crate) fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), like: None, is_argument: false, never: None }
    }

    /// A name that isn't there yet; `like` is where a sound one is, as the scene's name and the path below it.
    pub(crate) fn absent(path: impl Into<String>, like: impl Into<String>) -> Self {
        Self { like: Some(like.into()), ..Self::new(path) }
    }

    pub(crate) fn argument(path: impl Into<String>) -> Self {
        Self { is_argument: true, ..Self::new(path) }
    }
}

impl Call {
    pub(crate) fn new(name: &'static str, code: i32, line: &str, writes: &[&str]) -> Self {
        let arguments = line.split_whitespace().map(str::to_owned).collect();
        Self { name, arguments, code, writes: writes.iter().map(|path| (*path).to_owned()).collect() }
    }

    /// The same with another option.
    pub(crate) fn with(&self, name: &'static str, code: i32, option: &str) -> Self {
        let mut call = Self { name, code, ..self.clone() };
        call.arguments.extend(option.split_whitespace().map(str::to_owned));
        call
    }

    /// Runs it to make a template.
    pub(crate) fn make(&self, folder: &Path) {
        let ended = program::run(folder, &self.arguments, program::LONG_TIME_LIMIT);
        assert_eq!(ended.code(), Ok(self.code), "{:?}: {}", self.arguments, ended.stderr);
    }
}
