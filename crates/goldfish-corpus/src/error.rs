use std::io;
use std::path::{Path, PathBuf};

use goldfish_remedy::{Remedies, Remedy};

use crate::{Format, Input};

/// Why a corpus could not be read. Messages name the file and the place, and say what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CorpusError {
    /// The operating system refused.
    #[error("{}: {action} failed: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// An input argument names nothing.
    #[error(
        "{argument}: no such file or folder; check the path (globs such as 'corpus/*.jsonl' are expanded)"
    )]
    NoSuchInput {
        /// The argument as given.
        argument: String,
    },
    /// A glob or folder holds no file of a known format.
    #[error(
        "{argument}: no corpus file found there (known names: {}); use --format to force one",
        Format::KNOWN_NAMES
    )]
    NothingFound {
        /// The argument as given.
        argument: String,
    },
    /// A glob or folder holds nothing but what goldfish wrote: masks, or exports in folders below it.
    #[error("{argument}: holds only masks and exports of goldfish; name the folder of the tokens itself")]
    NothingButOutput {
        /// The argument as given.
        argument: String,
    },
    /// A glob can't be parsed.
    #[error("{pattern}: not a glob: {reason}")]
    BadGlob {
        /// The pattern as given.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The same file was named twice.
    #[error("{}: given twice; every document would stand in the output twice. Name each file once", path.display())]
    GivenTwice {
        /// The file.
        path: PathBuf,
    },
    /// Two inputs would have the same name.
    #[error(
        "{} and {} would both be called {name} in the output, and so would their documents; rename one of them",
        first.display(),
        second.display()
    )]
    SameName {
        /// The name.
        name: String,
        /// The input that comes first.
        first: PathBuf,
        /// The other one.
        second: PathBuf,
    },
    /// The format can't be told from the name.
    #[error(
        "{}: the name doesn't tell the format (known names: {}); use --format",
        path.display(),
        Format::KNOWN_NAMES
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// The file is not what its name or `--format` says, or it breaks off.
    #[error("{}: not a readable {format} file: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The format it was read as.
        format: Format,
        /// What is wrong, with the place.
        reason: String,
    },
    /// A table or a set of coefficients can't be read.
    #[error("{}: not a readable .npy array: {reason}", path.display())]
    NotAnArray {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file that belongs to the input is missing.
    #[error("{}: {} is missing; {help}", path.display(), companion.display())]
    MissingCompanion {
        /// The input.
        path: PathBuf,
        /// The file that should stand beside it.
        companion: PathBuf,
        /// What to do.
        help: &'static str,
    },
    /// A column that was asked for is not there.
    #[error(
        "{}: no column {column:?}; the file has {}; name one with --text-column (and --tokenizer) or --ids-column",
        path.display(),
        found.join(", ")
    )]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The column asked for.
        column: String,
        /// The columns that are there.
        found: Vec<String>,
    },
    /// A column has a type that can't be used.
    #[error("{}: column {column:?} is {found}, but {expected} is needed", path.display())]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its type.
        found: String,
        /// What would do.
        expected: &'static str,
    },
    /// The options don't fit the format.
    #[error("{}: {reason}", path.display())]
    Options {
        /// The file.
        path: PathBuf,
        /// What doesn't fit and what to do.
        reason: String,
    },
    /// The file changed while it was read, or another took its place.
    #[error("{}: changed while it was read, or another took its place ({before} bytes at first, {after} now); run again on a file that stays", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// Size when it was opened, in bytes.
        before: u64,
        /// Size at the end, in bytes.
        after: u64,
    },
    /// The file doesn't go on where it was left.
    #[error(
        "{}: no stretch of documents ends at row {row}, where the run stopped; the file changed, or another version of goldfish read it. Start again with --overwrite",
        path.display()
    )]
    NotAPlace {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
    },
}

impl CorpusError {
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, action, source }
    }

    pub(crate) fn malformed(path: &Path, format: Format, reason: impl ToString) -> Self {
        Self::Malformed { path: path.to_owned(), format, reason: reason.to_string() }
    }

    /// The message with the input's name in place of its path, for what must not depend on where a corpus is.
    #[must_use]
    pub fn by_name(&self, input: &Input) -> String {
        let Self::Malformed { path, format, reason } = self else { return self.to_string() };
        let mut name = PathBuf::from(&*input.name);
        if **path != *input.path
            && let Some(companion) = path.file_name()
        {
            name.set_file_name(companion);
        }
        Self::malformed(&name, *format, reason).to_string()
    }

    /// Whether the contents of one file are at fault, so that a run may leave the file's rest out and go
    /// on with the next; other errors concern the options or the machine.
    #[must_use]
    pub fn is_contents(&self) -> bool {
        matches!(self, Self::Malformed { .. })
    }
}

impl Remedies for CorpusError {
    fn remedies(&self) -> Vec<Remedy> {
        Vec::new()
    }
}
