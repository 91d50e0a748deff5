//! Finds the files that the arguments of a run name.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, RandomState};
use std::io::{ErrorKind, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use goldfish_storage::is_remote;
use serde::Deserialize;

use crate::error::CorpusError;
use crate::file::{is_stdin, open_regular};
use crate::formats;
use crate::input::{Format, FormatTable, Input, Naming};

/// Any of these makes an argument a glob, unless a file has that name.
const GLOB_CHARACTERS: [char; 3] = ['*', '?', '['];

/// Name of the manifest of what goldfish wrote in the layout of a training loop.
const SET_NAME: &str = "goldfish.json";

/// The tables beside that manifest.
const SET_TABLES: [&str; 2] = ["goldfish.inputs.pq", "goldfish.files.pq"];

/// Most bytes of such a manifest that are read; a longer one hides nothing.
const MAX_SET_BYTES: u64 = 256 << 20;

/// Files and folders of exports that hold masks or labels, though they are named like tokens.
const MASKS_OF_EXPORTS: [&str; 5] = ["label_mask", "mask.bin", "mask.idx", "labels.bin", "labels.idx"];

/// The inputs of a run, in the order in which they are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The files.
    pub inputs: Vec<Input>,
    /// Files in the given folders whose names don't show a format: they are not read.
    pub ignored: Vec<PathBuf>,
    /// Files and folders in the given folders that goldfish wrote, and that hold masks rather than tokens: they are not read.
    pub written: Vec<PathBuf>,
}

/// Finds the files that the arguments name.
///
/// An argument is a file, a folder (every file below it whose name shows a format) or a glob, on a disk or, as a URL, in
/// an object store; HTTP servers have files only. Arguments
/// are taken in the order given; the files of one folder or glob are sorted by the bytes of their paths,
/// component by component. Hidden files and folders (a leading dot or underscore) are skipped, and so are masks
/// and exports that goldfish wrote below a folder, as the manifest `goldfish.json` there lists them, unless they are named
/// explicitly.
/// `format` overrides what the names show; then every file of a folder is taken.
///
/// # Errors
///
/// If an argument names nothing, a file's name doesn't show its format, a file is named twice, or two files would have the same name in
/// the output.
pub fn resolve(arguments: &[String], format: Option<Format>) -> Result<Resolved, CorpusError> {
    find(arguments, Finder { forced: format, ..Finder::default() })
}

/// As [`resolve`]; `-` is standard input, which is read once, as JSONL if no format is given. Its name is `stdin`.
///
/// # Errors
///
/// As [`resolve`]; and if the format can't be read from standard input.
pub fn resolve_with_stdin(arguments: &[String], format: Option<Format>) -> Result<Resolved, CorpusError> {
    find(arguments, Finder { forced: format, stdin: true, ..Finder::default() })
}

fn find(arguments: &[String], mut finder: Finder) -> Result<Resolved, CorpusError> {
    for argument in arguments {
        finder.add_argument(argument)?;
    }
    let mut named = NamedFiles::default();
    let mut inputs = Vec::with_capacity(finder.files.len());
    for (given, format) in finder.files {
        let ending = given.extension().map(ToOwned::to_owned);
        let path: Arc<Path> = main_file(given, format).into();
        if let Some(before) = named.insert(NamedFile { path: path.clone(), ending: ending.clone() }) {
            // A `.bin/.idx` pair that is listed by both names is one input.
            if format.0.main_extension.is_some() && before.ending != ending {
                continue;
            }
            return Err(CorpusError::GivenTwice { path: path.to_path_buf() });
        }
        inputs.push(Input { name: "".into(), path, format });
    }
    name_inputs(&mut inputs)?;
    Ok(Resolved { inputs, ignored: finder.ignored, written: finder.written })
}

/// A file, and the ending of the name by which it was given.
struct NamedFile {
    path: Arc<Path>,
    ending: Option<OsString>,
}

/// The files that were given so far. Of their resolved paths only hashes are kept; where those are the same, the paths are
/// compared.
#[derive(Default)]
struct NamedFiles {
    files: HashMap<u64, Vec<NamedFile>>,
    hasher: RandomState,
}

impl NamedFiles {
    /// Adds a file; returns how it was given before.
    fn insert(&mut self, given: NamedFile) -> Option<NamedFile> {
        let resolved = |path: &Path| goldfish_storage::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let same = resolved(&given.path);
        let candidates = self.files.entry(self.hasher.hash_one(&same)).or_default();
        match candidates.iter_mut().find(|before| resolved(&before.path) == same) {
            Some(before) => Some(std::mem::replace(before, given)),
            None => {
                candidates.push(given);
                None
            }
        }
    }
}

#[derive(Default)]
struct Finder {
    files: Vec<(PathBuf, Format)>,
    ignored: Vec<PathBuf>,
    written: Vec<PathBuf>,
    forced: Option<Format>,
    /// Whether `-` is standard input.
    stdin: bool,
    /// What goldfish wrote in the current folder and in those above it.
    sets: Vec<WrittenSet>,
}

impl Finder {
    fn add_argument(&mut self, argument: &str) -> Result<(), CorpusError> {
        let (before, written) = (self.files.len(), self.written.len());
        let path = Path::new(argument);
        if self.stdin && is_stdin(path) {
            let format = self.forced.unwrap_or(Format(&formats::JSONL));
            if !format.0.from_stdin {
                return Err(CorpusError::NotFromStdin { format: format.name() });
            }
            self.files.push((path.to_owned(), format));
        } else if is_remote(path) {
            self.add_remote(argument)?;
        } else if path.is_dir() {
            self.add_folder(path, &mut Vec::new())?;
        } else if path.exists() || std::fs::symlink_metadata(path).is_ok() {
            self.add_file(path.to_owned())?;
        } else if argument.contains(GLOB_CHARACTERS) {
            let bad = |reason: String| CorpusError::BadGlob { pattern: argument.to_owned(), reason };
            let mut matches = Vec::new();
            for entry in glob::glob(argument).map_err(|e| bad(e.to_string()))? {
                matches.push(entry.map_err(|e| bad(e.to_string()))?);
            }
            matches.sort();
            for path in matches {
                if is_hidden(&path) || is_companion(&path) {
                    continue;
                } else if path.is_dir() {
                    self.add_folder(&path, &mut Vec::new())?;
                } else {
                    self.add_file(path)?;
                }
            }
        } else {
            return Err(CorpusError::NoSuchInput { argument: argument.to_owned() });
        }
        if self.files.len() == before && self.written.len() > written {
            return Err(CorpusError::NothingButOutput { argument: argument.to_owned() });
        }
        if self.files.len() == before {
            return Err(CorpusError::NothingFound { argument: argument.to_owned(), known: known_names() });
        }
        Ok(())
    }

    fn add_remote(&mut self, argument: &str) -> Result<(), CorpusError> {
        let path = Path::new(argument);
        match goldfish_storage::metadata(path) {
            Ok(metadata) if metadata.is_folder() => self.add_folder(path, &mut Vec::new()),
            Ok(_) => self.add_file(path.to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound && argument.contains(GLOB_CHARACTERS) => {
                let matches = goldfish_storage::glob(argument);
                for entry in matches.map_err(CorpusError::io(path, "looking for matches"))? {
                    if is_hidden(&entry.path) || is_companion(&entry.path) {
                        continue;
                    } else if entry.is_folder() {
                        self.add_folder(&entry.path, &mut Vec::new())?;
                    } else {
                        self.add_file(entry.path)?;
                    }
                }
                Ok(())
            }
            Err(error) => Err(CorpusError::io(
                Path::new(&goldfish_storage::without_secrets(argument)),
                "looking for it",
            )(error)),
        }
    }

    fn add_file(&mut self, path: PathBuf) -> Result<(), CorpusError> {
        let format = self.forced.or_else(|| format_of(&path));
        let format =
            format.ok_or_else(|| CorpusError::UnknownFormat { path: path.clone(), known: known_names() })?;
        self.files.push((path, format));
        Ok(())
    }

    /// `above` holds the folders that led here, so that a link to one of them ends there.
    fn add_folder(&mut self, folder: &Path, above: &mut Vec<PathBuf>) -> Result<(), CorpusError> {
        let real =
            goldfish_storage::canonicalize(folder).map_err(CorpusError::io(folder, "resolving the path"))?;
        if above.contains(&real) {
            return Ok(());
        }
        let set = WrittenSet::of(folder, above.is_empty());
        let sets = self.sets.len();
        self.sets.extend(set);
        let read = self.files.len() + self.ignored.len();
        let written = self.written.len();
        above.push(real);
        let entries = goldfish_storage::entries(folder);
        for entry in entries.map_err(CorpusError::io(folder, "listing the folder"))? {
            if is_hidden(&entry.path) {
                continue;
            } else if is_input_table(&entry.path) || is_passage_table(&entry.path) {
                self.written.push(entry.path);
            } else if entry.is_folder() {
                self.add_folder(&entry.path, above)?;
            } else if is_companion(&entry.path) {
                continue;
            } else if self.sets.iter().any(|set| set.hides(&entry.path)) {
                self.written.push(entry.path);
            } else if let Some(format) =
                self.forced.or_else(|| format_of(&entry.path).filter(|format| format.0.in_folders))
            {
                self.files.push((entry.path, format));
            } else {
                self.ignored.push(entry.path);
            }
        }
        above.pop();
        self.sets.truncate(sets);
        // One note for a folder of which nothing is read.
        if self.written.len() > written && self.files.len() + self.ignored.len() == read {
            self.written.truncate(written);
            self.written.push(folder.to_owned());
        }
        Ok(())
    }
}

/// What goldfish wrote into a folder, according to the manifest `goldfish.json` there. The manifest can't be trusted: it hides only
/// files that it lists, of the size that it says, in formats that goldfish writes.
struct WrittenSet {
    folder: PathBuf,
    /// The size of each file, in bytes, by its path below the folder, with `/`.
    sizes: HashMap<String, u64>,
    /// Whether tokens beside the masks are read: those of an export that is named explicitly.
    tokens_are_read: bool,
}

impl WrittenSet {
    /// `None` if there is no such manifest, or it is one of masks beside others' tokens, which the names of the masks
    /// distinguish.
    fn of(folder: &Path, is_argument: bool) -> Option<Self> {
        #[derive(Deserialize)]
        struct Set {
            layout: String,
            #[serde(default)]
            beside_inputs: bool,
            files: Vec<SetFile>,
        }
        #[derive(Deserialize)]
        struct SetFile {
            name: String,
            size: u64,
        }
        let (file, _) = open_regular(&folder.join(SET_NAME)).ok()?;
        let file = std::io::BufReader::new(file.take(MAX_SET_BYTES));
        let set: Set = serde_json::from_reader(file).ok().filter(|set: &Set| !set.beside_inputs)?;
        let tokens_are_read = is_argument && set.layout != "masks";
        let sizes = set.files.into_iter().map(|file| (file.name, file.size)).collect();
        Some(Self { folder: folder.to_owned(), sizes, tokens_are_read })
    }

    /// Whether this file of the folder is not read.
    fn hides(&self, path: &Path) -> bool {
        let Ok(below) = path.strip_prefix(&self.folder) else { return false };
        let names: Vec<_> = below.iter().map(|name| name.to_string_lossy()).collect();
        let Some(size) = self.sizes.get(&names.join("/")) else { return false };
        format_of(path).is_none_or(|format| format.0.is_written)
            && (!self.tokens_are_read || names.iter().any(|name| MASKS_OF_EXPORTS.contains(&&**name)))
            && goldfish_storage::metadata(path).is_ok_and(|found| found.is_file() && found.size == *size)
    }
}

/// Whether a file is the table of passages of protected works beside shards.
fn is_passage_table(path: &Path) -> bool {
    path.file_name() == Some(OsStr::new("protected.parquet"))
        && path.with_file_name("manifest.json").is_file()
}

/// Whether a file is the list of inputs of shards, according to the manifest beside it.
fn is_input_table(path: &Path) -> bool {
    #[derive(Deserialize)]
    struct Manifest {
        input_table: Table,
    }
    #[derive(Deserialize)]
    struct Table {
        name: String,
    }
    let manifest = || -> Option<Manifest> {
        let (file, _) = open_regular(&path.with_file_name("manifest.json")).ok()?;
        serde_json::from_reader(std::io::BufReader::new(file)).ok()
    };
    let name = path.file_name().unwrap_or_default();
    name == "inputs.pq" && manifest().is_some_and(|manifest| *manifest.input_table.name == *name)
}

/// The file that names the input, whichever of a pair was given.
fn main_file(path: PathBuf, format: Format) -> PathBuf {
    match format.0.main_extension {
        Some(extension) => path.with_extension(extension),
        None => path,
    }
}

/// Whether the name starts with a dot or an underscore.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(['.', '_']))
}

/// The format that a file's name shows.
fn format_of(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    let compressed = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst"));
    Format::all().iter().copied().find(|format| {
        let FormatTable { endings, compressed_endings, .. } = format.0;
        match compressed {
            Some(plain) => compressed_endings.iter().any(|ending| plain.ends_with(ending)),
            None => endings.iter().any(|ending| name.ends_with(ending)),
        }
    })
}

/// The endings of the names of all formats, for messages.
fn known_names() -> String {
    let endings: Vec<String> = Format::all().iter().map(|format| format.endings()).collect();
    endings.join(", ")
}

/// Whether the file belongs to another input, or to what goldfish wrote.
fn is_companion(path: &Path) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    Format::all().iter().any(|format| belongs_to(format.0, path, &name))
        || name == SET_NAME
        || (SET_TABLES.contains(&&*name) && goldfish_storage::is_file(&path.with_file_name(SET_NAME)))
}

/// Whether the file belongs to an input of a format: is read with it, holds its mask, or is left alone.
fn belongs_to(format: &FormatTable, path: &Path, name: &str) -> bool {
    let masks = format.masks.iter().flat_map(|masks| masks.beside);
    let mut namings = format.companions.iter().chain(format.unread).chain(masks);
    namings.any(|naming| match naming {
        // A companion that may be given instead of the main file is an input.
        Naming::Replace(ending) if format.endings.contains(ending) => false,
        // Other files may have such names, too.
        Naming::Replace(ending) => name.strip_suffix(ending).is_some_and(|stem| {
            let main = |main: &&str| goldfish_storage::exists(&path.with_file_name(format!("{stem}{main}")));
            format.endings.iter().take(1).any(main)
        }),
        Naming::Append(ending) => {
            let stem = name.strip_suffix(ending);
            stem.is_some_and(|stem| format.endings.iter().any(|ending| stem.ends_with(ending)))
        }
    })
}

/// Names each input by its path below the deepest folder that holds them all.
fn name_inputs(inputs: &mut [Input]) -> Result<(), CorpusError> {
    let (stdin, mut files): (Vec<_>, Vec<_>) = inputs.iter_mut().partition(|input| input.is_stdin());
    stdin.into_iter().for_each(|input| input.name = "stdin".into());
    if let Some(first) = files.first() {
        let first = normal_components(&first.path)?;
        name_files(first, &mut files)?;
    }
    let mut seen: HashMap<&str, &Path> = HashMap::with_capacity(inputs.len());
    for Input { name, path, .. } in inputs.iter() {
        if let Some(first) = seen.insert(name, path) {
            let (name, first) = (name.to_string(), first.to_owned());
            return Err(CorpusError::SameName { name, first, second: path.to_path_buf() });
        }
    }
    Ok(())
}

fn name_files(first: Vec<String>, inputs: &mut [&mut Input]) -> Result<(), CorpusError> {
    let mut shared = first.len() - 1;
    for input in inputs.iter() {
        let path = normal_components(&input.path)?;
        let same = first.iter().zip(&path[..path.len() - 1]).take_while(|(a, b)| a == b).count();
        shared = shared.min(same);
    }
    for input in inputs.iter_mut() {
        input.name = normal_components(&input.path)?[shared..].join("/").into();
    }
    Ok(())
}

/// A file's name with `%FF` for each byte that is not part of UTF-8, so that two names stay two.
fn escaped(name: &OsStr) -> String {
    let mut escaped = String::new();
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        escaped.push_str(chunk.valid());
        escaped.extend(chunk.invalid().iter().map(|byte| format!("%{byte:02X}")));
    }
    escaped
}

/// The components of the absolute path, with `.` and `..` resolved by name (links are not followed). The first one of a
/// URL is everything before the key.
fn normal_components(path: &Path) -> Result<Vec<String>, CorpusError> {
    if is_remote(path) {
        return Ok(goldfish_storage::components(&path.to_string_lossy()));
    }
    let absolute = std::path::absolute(path).map_err(CorpusError::io(path, "resolving the path"))?;
    let mut components = Vec::new();
    for component in absolute.components() {
        match component {
            Component::ParentDir => {
                components.pop();
            }
            Component::Normal(name) => components.push(escaped(name)),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Ok(components)
}
