//! The manifest of files in another program's layout: `goldfish.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;
use std::path::{Component, Path, PathBuf};

use goldfish_digest::{FileDigest, HashingReader};
use goldfish_mask::{RuleSpec, Scope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kept::KeptRuns;
use crate::manifest::{
    MAX_MANIFEST_BYTES, PolicyRule, SourceEntry, TokenizerEntry, ToolEntry, Totals, read_known,
};
use crate::table::{self, MAX_LISTED_INPUTS, TableEntry, TableReader};
use crate::verify::{NOT_LISTED, unlisted};
use crate::{InputEntry, Problem, ShardError};

/// Name of the manifest of a set of files.
pub const FILE_SET_NAME: &str = "goldfish.json";

/// Names of the tables beside it, of inputs and of files.
pub const FILE_SET_TABLES: [&str; 2] = ["goldfish.inputs.pq", "goldfish.files.pq"];

/// What such a table holds, in words.
pub(crate) const HOLDS_A_LIST: &str = "a list that is too long for goldfish.json";

/// Version of that manifest that this build writes and reads.
pub const FILE_SET_VERSION: u32 = 1;

/// Files with masks, or with tokens and masks, in the layout of a training loop.
///
/// Nothing in it depends on time, host or number of threads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSet {
    /// Version of this manifest.
    pub file_set_version: u32,
    /// The program that wrote the files.
    pub tool: ToolEntry,
    /// Where `goldfish export` brought shards to; `masks` where `goldfish mask --masks-only` wrote masks of memmaps.
    pub layout: String,
    /// The mask rule with every parameter.
    pub rule: RuleSpec,
    /// Under a policy: its entries, the default last; `rule` is the default's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy: Vec<PolicyRule>,
    /// Whether windows end at documents or at packed sequences.
    pub scope: Scope,
    /// Ids that the rule never drops, ascending.
    pub exempt_ids: Vec<u32>,
    /// What excluded tokens from the loss besides the rule, in words, if anything did: masks that the documents came with, or
    /// were made with. A token is kept where both keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing_mask: Option<String>,
    /// The tokenizer, where one was given.
    pub tokenizer: Option<TokenizerEntry>,
    /// What was read from the inputs.
    pub source: SourceEntry,
    /// Tokens in a packed sequence, where the layout packs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence_length: Option<u32>,
    /// Checksum of the manifest of the exported shards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<String>,
    /// Whether the files are next to the inputs, whose names then start at this folder.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub beside_inputs: bool,
    /// The memmaps whose masks these are, in order. In the file, this list and the next are empty where they are in
    /// tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<InputEntry>,
    /// The table of the inputs, `goldfish.inputs.pq`, where there are more than 4,096.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_table: Option<TableEntry>,
    /// The files, in the order in which they were written.
    pub files: Vec<SetFile>,
    /// The table of the files, `goldfish.files.pq`, where there is one of the inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_table: Option<TableEntry>,
    /// Sums over everything.
    pub totals: Totals,
    /// The longest runs of tokens that are all kept, for an export those of the shards; missing in sets of earlier
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_kept_run: Option<KeptRuns>,
    /// `xxh3_128:` and 32 hex digits over this file's bytes with this value left empty.
    pub checksum: String,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetFile {
    /// Its path below the folder, with `/`.
    pub name: String,
    /// What it holds, in words.
    pub holds: String,
    /// Bytes in the file.
    pub size: u64,
    /// `xxh3_128:` and 32 hex digits over the file.
    pub hash: String,
}

impl FileSet {
    /// Fills in the checksum and returns the file's bytes, without the lists that are in tables.
    #[must_use]
    pub fn seal(mut self) -> (Self, Vec<u8>) {
        let in_tables = self.input_table.is_some().then(|| (take(&mut self.inputs), take(&mut self.files)));
        self.checksum = String::new();
        self.checksum = FileDigest::of(&self.to_bytes()).hash;
        let bytes = self.to_bytes();
        if let Some((inputs, files)) = in_tables {
            (self.inputs, self.files) = (inputs, files);
        }
        (self, bytes)
    }

    /// Puts long lists into tables; returns their names and contents.
    pub(crate) fn divide(&mut self) -> Result<Vec<(&'static str, Vec<u8>)>, ShardError> {
        if self.inputs.len() <= MAX_LISTED_INPUTS {
            return Ok(Vec::new());
        }
        let [inputs, files] = FILE_SET_TABLES;
        let (input_table, input_bytes) = table::encode(inputs, &self.inputs)?;
        let (file_table, file_bytes) = table::encode(files, &self.files)?;
        (self.input_table, self.file_table) = (Some(input_table), Some(file_table));
        Ok(vec![(inputs, input_bytes), (files, file_bytes)])
    }

    /// The files that a manifest lists, wherever it and its table are now: `find` gives the path of a file of the set.
    pub(crate) fn listed(find: &dyn Fn(&str) -> PathBuf) -> Result<BTreeMap<String, FileDigest>, ShardError> {
        let mut set: Self = read_known(&find(FILE_SET_NAME), FILE_SET_VERSION)?;
        let [_, files] = FILE_SET_TABLES;
        if let Some(table) = &set.file_table {
            set.files = TableReader::open_at(find(files), table, files)?.collect::<Result<_, _>>()?;
        }
        let tables = set.input_table.into_iter().chain(set.file_table);
        let tables = tables.map(|TableEntry { name, size, hash, .. }| (name, FileDigest { size, hash }));
        let files =
            set.files.into_iter().map(|SetFile { name, size, hash, .. }| (name, FileDigest { size, hash }));
        Ok(files.chain(tables).collect())
    }

    /// Reads the lists that are in tables; these are files of the set themselves.
    fn join(&mut self, folder: &Path) -> Result<(), ShardError> {
        let [inputs, files] = FILE_SET_TABLES;
        if let Some(table) = &self.input_table {
            self.inputs = TableReader::open(folder, table, inputs)?.collect::<Result<_, _>>()?;
        }
        if let Some(table) = &self.file_table {
            self.files = TableReader::open(folder, table, files)?.collect::<Result<_, _>>()?;
        }
        for TableEntry { name, size, hash, .. } in self.input_table.iter().chain(&self.file_table) {
            let (name, hash) = (name.clone(), hash.clone());
            self.files.push(SetFile { name, holds: HOLDS_A_LIST.into(), size: *size, hash });
        }
        Ok(())
    }

    /// Refuses names that lead out of the folder, to which they are joined later on.
    fn check_names(&self, path: &Path) -> Result<(), ShardError> {
        let names = self.files.iter().map(|file| &file.name);
        let mut names = names.chain(self.inputs.iter().map(|input| &input.name));
        match names.find(|name| !is_inside(name)) {
            Some(name) => {
                let reason = format!("the name {name:?} leads out of the folder");
                Err(ShardError::BadManifest { path: path.to_owned(), reason })
            }
            None => Ok(()),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        // Strings, numbers and lists only: serialization can't fail.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Whether a folder has such a manifest.
    #[must_use]
    pub fn is_in(folder: &Path) -> bool {
        goldfish_storage::is_file(&folder.join(FILE_SET_NAME))
    }

    /// Reads the manifest of a folder, with what is in tables beside it.
    ///
    /// # Errors
    ///
    /// If there is none, it isn't one, a later version wrote it, or a table is missing or changed.
    pub fn read(folder: &Path) -> Result<Self, ShardError> {
        let path = folder.join(FILE_SET_NAME);
        let mut set: Self = read_known(&path, FILE_SET_VERSION)?;
        set.join(folder)?;
        set.check_names(&path)?;
        Ok(set)
    }
}

/// Whether a path with `/` stays below the folder that it is joined to.
pub(crate) fn is_inside(name: &str) -> bool {
    let mut components = Path::new(name).components().peekable();
    components.peek().is_some()
        && components.all(|component| matches!(component, Component::Normal(_)))
        && !name.contains('\\')
}

/// Compares the files of a set with its manifest, and the inputs next to them.
///
/// # Errors
///
/// If the manifest can't be read, or the system refuses to read a file that is there. What is merely wrong is a
/// [`Problem`].
pub fn verify_file_set(folder: &Path) -> Result<(FileSet, Vec<Problem>), ShardError> {
    let path = folder.join(FILE_SET_NAME);
    let mut set: FileSet = read_known(&path, FILE_SET_VERSION)?;
    let mut problems = Vec::new();
    let bytes =
        goldfish_storage::read(&path, MAX_MANIFEST_BYTES).map_err(ShardError::io(&path, "reading"))?;
    let (sealed, expected) = set.clone().seal();
    if bytes != expected || sealed.checksum != set.checksum {
        let problem = "edited: its checksum is not that of its contents";
        problems.push(Problem { file: FILE_SET_NAME.into(), description: problem.into() });
    }
    match set.join(folder) {
        Err(ShardError::BadManifest { path, reason }) => {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            problems.push(Problem { file, description: reason });
        }
        joined => joined?,
    }
    set.check_names(&path)?;
    let mut names = BTreeSet::new();
    for SetFile { name, size, hash, .. } in &set.files {
        if !names.insert(name) {
            problems
                .push(Problem { file: FILE_SET_NAME.into(), description: format!("names {name:?} twice") });
        }
        compare(folder, name, (*size, hash), "write it again, or restore it from a copy", &mut problems)?;
    }
    if set.beside_inputs {
        let help = "its mask is of what it held before; mask it again";
        for input in &set.inputs {
            compare(folder, &input.name, (input.size, &input.hash), help, &mut problems)?;
            for companion in &input.companions {
                let name = companion_name(&input.name, &companion.suffix);
                let FileDigest { size, hash } = &companion.digest;
                compare(folder, &name, (*size, hash), help, &mut problems)?;
            }
        }
    }
    // Beside inputs there are other files, and no loop takes masks there by a glob.
    if !set.beside_inputs {
        let known = set.files.iter().map(|file| file.name.as_str()).collect();
        let unlisted = unlisted(folder, &LAYOUT_ENDINGS, true, &known)?;
        problems.extend(unlisted.into_iter().map(|file| Problem { file, description: NOT_LISTED.into() }));
    }
    Ok((set, problems))
}

/// How names of files in a layout end.
pub(crate) const LAYOUT_ENDINGS: [&str; 9] =
    [".arrow", ".parquet", ".bin", ".idx", ".npy", ".csv.gz", ".ds", ".ds.index", ".ds.loss"];

/// The name of a file that belongs to an input: its ending follows the whole name, or replaces the input's ending.
fn companion_name(input: &str, suffix: &str) -> String {
    if suffix == ".index" {
        return format!("{input}{suffix}");
    }
    let stem = input.rsplit_once('.').map_or(input, |(stem, _)| stem);
    format!("{stem}{suffix}")
}

fn compare(
    folder: &Path,
    name: &str,
    (size, hash): (u64, &str),
    help: &str,
    problems: &mut Vec<Problem>,
) -> Result<(), ShardError> {
    let path = folder.join(name.split('/').collect::<PathBuf>());
    let problem = match goldfish_storage::metadata(&path) {
        Ok(metadata) if metadata.is_file() && metadata.size != size => {
            Some(format!("{} bytes, but {size} expected; {help}", metadata.size))
        }
        Ok(metadata) if metadata.is_file() => {
            let file = goldfish_storage::File::open(&path).map_err(ShardError::io(&path, "opening"))?;
            let (digest, _) = HashingReader::new(file).finish().map_err(ShardError::io(&path, "reading"))?;
            (digest.hash != hash || digest.size != size)
                .then(|| format!("hash {}, but {hash} expected; {help}", digest.hash))
        }
        _ => Some("missing".to_owned()),
    };
    problems.extend(problem.map(|description| Problem { file: name.to_owned(), description }));
    Ok(())
}
