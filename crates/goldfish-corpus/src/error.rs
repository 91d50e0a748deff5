//! What can go wrong with a corpus.

use std::io;
use std::path::{Path, PathBuf};

use goldfish_remedy::{Remedies, Remedy, Setting};

use crate::options::IdType;

/// Why a corpus could not be read. Messages name the file and the position in it.
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
    #[error("{argument}: no corpus file found there (known names: {known})")]
    NothingFound {
        /// The argument as given.
        argument: String,
        /// The endings of the names of all formats.
        known: String,
    },
    /// A glob or folder holds nothing but what goldfish wrote: masks, or exports in folders below it.
    #[error("{argument}: holds only masks and exports of goldfish; name the folder of the tokens itself")]
    NothingButOutput {
        /// The argument as given.
        argument: String,
    },
    /// The format needs more of a file than its bytes in order.
    #[error("-: {format} can't be read from standard input; name the file")]
    NotFromStdin {
        /// Name of the format.
        format: &'static str,
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
    #[error("{}: given twice; every document would be in the output twice. Name each file once", path.display())]
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
    /// The name doesn't show the format.
    #[error("{}: the name doesn't show the format (known names: {known})", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The endings of the names of all formats.
        known: String,
    },
    /// The file is not of the format that its name or the options say, or it is cut off.
    #[error("{}: not a readable {format} file: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Name of the format it was read as.
        format: &'static str,
        /// What is wrong, with the position.
        reason: String,
        /// The options that may be wrong instead.
        remedies: Vec<Remedy>,
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
        /// The file that should be beside it.
        companion: PathBuf,
        /// What it is for.
        help: &'static str,
        /// How to do without it.
        remedies: Vec<Remedy>,
    },
    /// A column that was asked for does not exist.
    #[error("{}: no column {column:?}; the file has {}", path.display(), found.join(", "))]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The column asked for.
        column: String,
        /// The columns that exist.
        found: Vec<String>,
        /// The option that asked for it.
        setting: Setting,
    },
    /// A column that was asked for is in no input.
    #[error(
        "no input has a column {column:?}: it is in none of the first {rows} rows of {}, whose columns are {}",
        if *files == 1 { "its file".into() } else { format!("{files} files") },
        found.join(", ")
    )]
    NoColumnAnywhere {
        /// The column asked for.
        column: String,
        /// Rows that were looked at.
        rows: u64,
        /// Files that they are from.
        files: usize,
        /// The columns that exist.
        found: Vec<String>,
        /// The option that named the column.
        setting: Setting,
    },
    /// Documents seem to come with a mask, and no option says what to do with it.
    #[error("{}: the column {column:?} seems to say which tokens are in the loss; a mask without it would put others back", path.display())]
    UnnamedMask {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
    },
    /// Several columns have the name that was asked for.
    #[error("{}: several columns are called {column:?}; rename them", path.display())]
    ColumnTwice {
        /// The file.
        path: PathBuf,
        /// The name.
        column: String,
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
        /// The option that named the column.
        setting: Setting,
    },
    /// Token ids were asked for, but the format holds raw text.
    #[error("{}: a {format} file holds no token ids", path.display())]
    NoIds {
        /// The file.
        path: PathBuf,
        /// Name of the format.
        format: &'static str,
    },
    /// The format doesn't have a column that was asked for.
    #[error(
        "{}: a {format} file has {}, so there is no {column:?}",
        path.display(),
        if known.is_empty() { "no columns".into() } else { format!("only {}", known.join(", ")) }
    )]
    FormatHasNoColumn {
        /// The file.
        path: PathBuf,
        /// Name of the format.
        format: &'static str,
        /// The column asked for.
        column: String,
        /// The columns that the format has.
        known: &'static [&'static str],
    },
    /// The file says that its ids have another type than the options.
    #[error("{}: the index says that ids are {}, not {}", path.display(), found.name(), given.name())]
    OtherIdType {
        /// The file.
        path: PathBuf,
        /// The type that the file names.
        found: IdType,
        /// The type that was given.
        given: IdType,
    },
    /// Nothing says where the documents of a memmap end.
    #[error("{}: nothing says where documents end: there is no {}", path.display(), sidecar.display())]
    NoDocumentEnds {
        /// The file.
        path: PathBuf,
        /// The file that would say it.
        sidecar: PathBuf,
    },
    /// The end-of-sequence id can't be among the ids.
    #[error("{}: the end-of-sequence id {id} doesn't fit ids of type {}", path.display(), id_type.name())]
    EosOutOfRange {
        /// The file.
        path: PathBuf,
        /// The id.
        id: u32,
        /// The type of the ids.
        id_type: IdType,
    },
    /// The file is sound, but this build can't read its compression.
    #[error("{}: {reason}; write it again with zstd, lz4, snappy or gzip", path.display())]
    Compression {
        /// The file.
        path: PathBuf,
        /// What the reader says, with the position.
        reason: String,
    },
    /// The file changed while it was read, or another replaced it.
    #[error("{}: changed while it was read, or was replaced ({before} bytes at first, {after} now); run again on a file that stays", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// Size when it was opened, in bytes.
        before: u64,
        /// Size at the end, in bytes.
        after: u64,
    },
    /// Reading can't resume at a row, since no chunk of the file ends there.
    #[error(
        "{}: no chunk of documents ends at row {row}, where the run stopped; the file changed, or another version of goldfish read it",
        path.display()
    )]
    NoChunkEnd {
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

    pub(crate) fn malformed(path: &Path, format: &'static str, reason: impl ToString) -> Self {
        let (path, reason) = (path.to_owned(), reason.to_string());
        Self::Malformed { path, format, reason, remedies: Vec::new() }
    }

    /// The same, if options may be wrong rather than the file.
    pub(crate) fn or_options(mut self, settings: impl IntoIterator<Item = Remedy>) -> Self {
        if let Self::Malformed { remedies, .. } = &mut self {
            remedies.extend(settings);
        }
        self
    }

    /// Whether the contents of one file are the cause, so that a run may leave out the file's rest and continue
    /// with the next; other errors concern the options or the machine.
    #[must_use]
    pub fn is_contents(&self) -> bool {
        matches!(self, Self::Malformed { .. })
    }
}

impl Remedies for CorpusError {
    fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::Malformed { remedies, .. } | Self::MissingCompanion { remedies, .. } => remedies.clone(),
            Self::NothingFound { .. } | Self::UnknownFormat { .. } => {
                vec![Remedy::give(Setting::Format).to("say what it is")]
            }
            Self::NoColumn { setting: Setting::TextColumn | Setting::IdsColumn, .. } => vec![
                Remedy::give(Setting::TextColumn).and(Setting::Tokenizer).to("read text"),
                Remedy::give(Setting::IdsColumn).to("read token ids"),
            ],
            Self::NoColumn { setting, .. } | Self::ColumnType { setting, .. } => {
                vec![Remedy::change(*setting)]
            }
            Self::NoColumnAnywhere { setting: Setting::Policy, .. } => Vec::new(),
            Self::NoColumnAnywhere { setting, .. } => vec![Remedy::change(*setting)],
            Self::UnnamedMask { column, .. } => {
                let read = match column.as_str() {
                    "labels" => Setting::LabelsColumn,
                    _ => Setting::MaskColumn,
                };
                vec![
                    Remedy::give(read).value(column.as_str()).to("keep it"),
                    Remedy::give(Setting::IgnoreMasks).to("leave it out"),
                ]
            }
            Self::NoIds { .. } => {
                vec![Remedy::give(Setting::Tokenizer).to("read its text"), Remedy::omit(Setting::IdsColumn)]
            }
            Self::FormatHasNoColumn { .. } => vec![Remedy::omit(Setting::IdColumn).and(Setting::Carry)],
            Self::OtherIdType { .. } => vec![Remedy::omit(Setting::IdsDtype)],
            Self::NoDocumentEnds { .. } => vec![Remedy::give(Setting::EosId)],
            Self::EosOutOfRange { .. } => {
                vec![Remedy::change(Setting::EosId), Remedy::change(Setting::IdsDtype)]
            }
            Self::NoChunkEnd { .. } => vec![Remedy::give(Setting::Overwrite).to("start again")],
            _ => Vec::new(),
        }
    }
}
