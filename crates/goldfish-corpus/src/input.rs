//! What a source format is, and a file that is read in one.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use goldfish_remedy::Setting;

use crate::error::CorpusError;
use crate::file::is_stdin;
use crate::head::Head;
use crate::options::ReadOptions;
use crate::reject::RowError;
use crate::source::{Part, Source};
use crate::warning::Warning;

/// Opens an input, to read a part of it.
pub(crate) type Open = fn(&Input, &ReadOptions, Part) -> Result<Box<dyn Source>, CorpusError>;

/// Looks at the first rows of an input for columns, which may be paths.
pub(crate) type ReadHead = fn(&Input, &[&str]) -> Result<Head, CorpusError>;

/// What a format is: each file of `formats` has one such table.
#[derive(Debug)]
pub(crate) struct FormatTable {
    /// The name in messages, manifests and on the command line.
    pub(crate) name: &'static str,
    /// What it is, in one line of help.
    pub(crate) about: &'static str,
    /// How file names end, in lower case.
    pub(crate) endings: &'static [&'static str],
    /// How names of compressed files end before `.gz` or `.zst`.
    pub(crate) compressed_endings: &'static [&'static str],
    /// Where an input may be given by any of its files: the extension of the main one.
    pub(crate) main_extension: Option<&'static str>,
    /// Other files of an input that are read with it, in the order of [`Source::finish`].
    pub(crate) companions: &'static [Naming],
    /// Other files of an input that are not read, apart from masks.
    pub(crate) unread: &'static [Naming],
    /// How files of masks are called, for formats that hold token ids and nothing else.
    pub(crate) masks: Option<MaskNames>,
    /// Whether files of a folder are read whose names end so; else they have to be named.
    pub(crate) in_folders: bool,
    /// Whether it can be read from standard input.
    pub(crate) from_stdin: bool,
    /// Whether goldfish writes files with such names when it exports shards.
    pub(crate) is_written: bool,
    /// Whether documents have columns beside their text.
    pub(crate) has_columns: bool,
    /// Whether [`ReadOptions::eos_id`] may separate documents.
    pub(crate) uses_eos_id: bool,
    /// What is suspicious about a file that could be read with other options.
    pub(crate) warning: Option<fn(&Input, &ReadOptions) -> Option<Warning>>,
    /// For files without a schema: what their first rows have.
    pub(crate) head: Option<ReadHead>,
    /// Whether a part of a file can be read without what comes before it, apart from counting rows.
    pub(crate) is_divisible: fn(&Path) -> Result<bool, CorpusError>,
    /// Opens an input to read a part of it.
    pub(crate) open: Open,
}

impl FormatTable {
    /// A format of single, uncompressed, divisible files.
    pub(crate) const fn new(
        name: &'static str,
        about: &'static str,
        endings: &'static [&'static str],
        open: Open,
    ) -> Self {
        Self {
            name,
            about,
            endings,
            compressed_endings: &[],
            main_extension: None,
            companions: &[],
            unread: &[],
            masks: None,
            in_folders: true,
            from_stdin: false,
            is_written: false,
            has_columns: true,
            uses_eos_id: false,
            warning: None,
            head: None,
            is_divisible: |_| Ok(true),
            open,
        }
    }
}

/// How a file is called that belongs to an input.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Naming {
    /// This instead of the input's extension.
    Replace(&'static str),
    /// The input's name, then this.
    Append(&'static str),
}

impl Naming {
    /// What such names end in, besides the input's name.
    pub(crate) fn ending(self) -> &'static str {
        match self {
            Self::Replace(ending) | Self::Append(ending) => ending,
        }
    }

    /// The file that belongs to an input.
    pub(crate) fn of(self, path: &Path) -> PathBuf {
        match self {
            Self::Replace(ending) => path.with_extension(ending.trim_start_matches('.')),
            Self::Append(ending) => {
                let mut name = path.as_os_str().to_owned();
                name.push(ending);
                name.into()
            }
        }
    }
}

/// How the files with an input's mask are called.
#[derive(Debug)]
pub(crate) struct MaskNames {
    /// In a folder of their own.
    pub(crate) own_folder: &'static [Naming],
    /// Beside the input.
    pub(crate) beside: &'static [Naming],
}

/// How documents are stored in a file.
///
/// Two are equal if their names are.
#[derive(Clone, Copy)]
pub struct Format(pub(crate) &'static FormatTable);

impl Format {
    /// The name in messages, in manifests and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// What it is, in one line.
    #[must_use]
    pub fn about(self) -> &'static str {
        self.0.about
    }

    /// Whether the format holds token ids and nothing else.
    #[must_use]
    pub fn is_memmap(self) -> bool {
        self.0.masks.is_some()
    }

    /// Whether documents have columns beside their text.
    #[must_use]
    pub fn has_columns(self) -> bool {
        self.0.has_columns
    }

    /// Whether [`ReadOptions::eos_id`] may separate its documents.
    #[must_use]
    pub fn uses_eos_id(self) -> bool {
        self.0.uses_eos_id
    }

    /// The endings of its file names, as `.txt .md (also .gz .zst)`.
    #[must_use]
    pub fn endings(self) -> String {
        let FormatTable { endings, compressed_endings, .. } = self.0;
        let mut names: Vec<String> = endings.iter().map(|&ending| ending.into()).collect();
        let only_compressed = compressed_endings.iter().filter(|ending| !endings.contains(ending));
        names.extend(only_compressed.map(|ending| format!("{ending}.gz")));
        if !compressed_endings.is_empty() {
            names.push("(also .gz .zst)".into());
        }
        names.join(" ")
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Format {}

impl Hash for Format {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Format").field(&self.name()).finish()
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Inputs that [`warnings`] looks at, at most: those of a corpus are of one kind, and a store takes its time for each.
const WARNING_INPUTS: usize = 64;

/// What is suspicious about the first 64 inputs whose formats look for such things, as how ids of no known type are read.
/// Files that can't be read are left to the run.
#[must_use]
pub fn warnings(inputs: &[Input], options: &ReadOptions) -> Vec<Warning> {
    let checked = inputs.iter().filter_map(|input| Some((input, input.format.0.warning?)));
    checked.take(WARNING_INPUTS).filter_map(|(input, warning)| warning(input, options)).collect()
}

/// Checks that each carried column and each condition is in some input: in the schemas of up to 32 of them, or of files without
/// one in the first rows.
///
/// # Errors
///
/// If a column is in none of those rows.
pub fn check_columns_exist(inputs: &[Input], options: &ReadOptions) -> Result<(), CorpusError> {
    let paths: Vec<&str> = options.columns().map(String::as_str).collect();
    // Standard input can be read once.
    let files = inputs.iter().filter(|input| !is_stdin(&input.path));
    let checked: Vec<_> = files.filter_map(|input| Some((input, input.format.0.head?))).collect();
    if paths.is_empty() || checked.is_empty() {
        return Ok(());
    }
    let (mut all, mut files) = (Head { has: vec![false; paths.len()], ..Head::default() }, 0);
    for (input, head) in checked.iter().step_by(checked.len().div_ceil(HEAD_INPUTS)) {
        // What can't be read is reported when it is its turn.
        let Ok(head) = head(input, &paths) else { continue };
        files += 1;
        all.rows += head.rows;
        all.columns.extend(head.columns);
        all.has.iter_mut().zip(head.has).for_each(|(all, has)| *all |= has);
    }
    match all.has.iter().position(|has| !has).filter(|_| all.rows > 0) {
        None => Ok(()),
        Some(index) => Err(CorpusError::NoColumnAnywhere {
            column: paths[index].to_owned(),
            rows: all.rows,
            files,
            found: all.columns.iter().take(LISTED_COLUMNS).map(|name| format!("{name:?}")).collect(),
            setting: if index < options.carry.len() { Setting::Carry } else { Setting::Policy },
        }),
    }
}

/// Files whose first rows are looked at, spread over all.
const HEAD_INPUTS: usize = 32;

/// Columns that a message lists.
const LISTED_COLUMNS: usize = 20;

/// One file to read, with its companions where the format has some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Where it is. Runs have inputs by the hundred thousand, so that copies of an input share its names.
    pub path: Arc<Path>,
    /// What documents and manifests call it: the path below the folder that all inputs share, with `/`, and `%FF` for a byte
    /// that is not part of UTF-8.
    pub name: Arc<str>,
    /// How it is read.
    pub format: Format,
}

impl Input {
    /// Opens it, to read a part. An input that can't be [divided](Input::is_divisible) is read whole if the part includes
    /// its start, else not at all.
    ///
    /// # Errors
    ///
    /// If the file (or a companion) can't be opened, does not start as the format asks for, a column is missing or of the
    /// wrong type, or the options don't fit the format.
    pub fn open(&self, options: &ReadOptions, part: Part) -> Result<Box<dyn Source>, CorpusError> {
        (self.format.0.open)(self, options, part)
    }

    /// Whether a part of it can be read without what comes before it, apart from counting rows.
    ///
    /// # Errors
    ///
    /// If this depends on the file's contents, and they can't be read.
    pub fn is_divisible(&self) -> Result<bool, CorpusError> {
        (self.format.0.is_divisible)(&self.path)
    }

    /// The other files that are read with it and exist, each with the ending of its name, in the order of
    /// [`Source::finish`].
    #[must_use]
    pub fn companions(&self) -> Vec<(&'static str, PathBuf)> {
        let companions = self.format.0.companions.iter();
        let named = companions.map(|naming| (naming.ending(), naming.of(&self.path)));
        named.filter(|(_, path)| goldfish_storage::exists(path)).collect()
    }

    /// The names of the files with its mask, beside it or in a folder of their own; `None` if the format has no such
    /// files.
    #[must_use]
    pub fn mask_names(&self, beside: bool) -> Option<Vec<String>> {
        let masks = self.format.0.masks.as_ref()?;
        let namings = if beside { masks.beside } else { masks.own_folder };
        let name = |naming: &Naming| naming.of(Path::new(&*self.name)).to_string_lossy().into_owned();
        Some(namings.iter().map(name).collect())
    }

    /// Whether it is standard input.
    #[must_use]
    pub fn is_stdin(&self) -> bool {
        is_stdin(&self.path)
    }

    /// That its contents are not well-formed.
    pub fn malformed(&self, reason: impl ToString) -> CorpusError {
        CorpusError::malformed(&self.path, self.format.name(), reason)
    }

    /// Refuses columns that the format doesn't have; `known` are those it has.
    pub(crate) fn check_columns(
        &self,
        options: &ReadOptions,
        known: &'static [&'static str],
    ) -> Result<(), CorpusError> {
        match options.other_columns().find(|name| !known.contains(name)) {
            None => Ok(()),
            Some(column) => Err(CorpusError::FormatHasNoColumn {
                path: self.path.to_path_buf(),
                format: self.format.name(),
                column: column.to_owned(),
                known,
            }),
        }
    }

    /// That a document of it, which is the whole file or too long to be passed over, can't be read.
    pub(crate) fn unreadable_document(&self, error: RowError) -> CorpusError {
        self.malformed(error.reason).or_options(error.remedies)
    }

    /// An error's message with the input's name in place of its path, where output must not depend on where a corpus is.
    #[must_use]
    pub fn message(&self, error: &CorpusError) -> String {
        let CorpusError::Malformed { path, format, reason, .. } = error else { return error.to_string() };
        let mut name = PathBuf::from(&*self.name);
        if **path != *self.path
            && let Some(companion) = path.file_name()
        {
            name.set_file_name(companion);
        }
        CorpusError::malformed(&name, format, reason).to_string()
    }
}
