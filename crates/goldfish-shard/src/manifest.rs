use std::io::ErrorKind;
use std::path::Path;

use goldfish_digest::FileDigest;
use goldfish_mask::{RuleSpec, Scope};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ShardError;
use crate::error::MAX_FOLDER_SHARDS;
use crate::kept::{DecidedRun, KeptRuns, join_runs};
use crate::protected::ProtectedEntry;
use crate::schema::{ExtraColumn, OutputFormat};
use crate::table::TableEntry;

/// Name of the manifest in its folder.
pub const MANIFEST_NAME: &str = "manifest.json";

/// Name of the list of rejected rows.
pub const REJECTS_NAME: &str = "rejects.jsonl";

/// The column of the shards that says which entry of a policy decided a document.
pub const POLICY_COLUMN: &str = "policy";

/// Version of the shard format that this build writes and reads.
pub const FORMAT_VERSION: u32 = 1;

/// Largest manifest that is read or written, in bytes.
pub const MAX_MANIFEST_BYTES: u64 = 1 << 28;

/// What a folder of shards holds and how it was made.
///
/// Nothing in it depends on time, host or number of threads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the shard format.
    pub format_version: u32,
    /// The program that wrote the shards.
    pub tool: ToolEntry,
    /// The mask rule with every parameter; under a policy that of its default.
    pub rule: RuleSpec,
    /// Under a policy: its entries in the order in which they were tried, the default last. The column `policy` of the shards
    /// says which of them decided a document.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy: Vec<PolicyRule>,
    /// Where works are protected: passages of documents that copy one of them have its mask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protected: Option<ProtectedEntry>,
    /// Whether windows end at documents or at packed sequences.
    pub scope: Scope,
    /// Ids that the rule never drops, ascending.
    pub exempt_ids: Vec<u32>,
    /// What excluded tokens from the loss besides the rule, in words, if anything did: masks that the documents came with, or
    /// were made with. A token is kept where both keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing_mask: Option<String>,
    /// The tokenizer, where raw text was tokenized or ids were checked against a vocabulary.
    pub tokenizer: Option<TokenizerEntry>,
    /// What was read from the inputs.
    pub source: SourceEntry,
    /// How the shards are written.
    pub output: OutputEntry,
    /// Which part of the inputs this is, where the work was divided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<PartEntry>,
    /// The inputs in the order in which they were read; empty where they are in a table.
    pub inputs: Vec<InputEntry>,
    /// The table `inputs.pq`, where there are more than 4,096 inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_table: Option<TableEntry>,
    /// The shards in order.
    pub shards: Vec<ShardEntry>,
    /// Rows that became no documents, where there are any.
    pub rejects: Option<RejectsEntry>,
    /// Sums over everything.
    pub totals: Totals,
    /// The longest runs of tokens that are all kept; missing in folders of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_kept_run: Option<KeptRuns>,
    /// `xxh3_128:` and 32 hex digits over this file's bytes with this value left empty.
    pub checksum: String,
}

/// An entry of a policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyRule {
    /// Its name, as in the column `policy`.
    pub name: String,
    /// What a document must meet, as the policy file has it; nothing for the default.
    #[serde(rename = "where")]
    pub when: serde_json::Map<String, serde_json::Value>,
    /// Its rule with every parameter.
    pub rule: RuleSpec,
    /// Ids that the rule never drops, ascending.
    pub exempt_ids: Vec<u32>,
    /// What it decided.
    pub counts: PolicyCounts,
}

impl PolicyRule {
    /// The entry as it is before anything is masked.
    #[must_use]
    pub fn uncounted(&self) -> Self {
        Self { counts: PolicyCounts::default(), ..self.clone() }
    }
}

/// Documents that an entry of a policy decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyCounts {
    /// Documents.
    pub documents: u64,
    /// Their tokens.
    pub tokens: u64,
    /// Tokens with a `loss_mask` of 0.
    pub dropped: u64,
    /// Those of them that an existing mask excluded.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub excluded_before: u64,
    /// The longest run of decided words or tokens that are all kept, where the rule counts that, in documents without passages of
    /// protected works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_decided_run: Option<DecidedRun>,
}

impl PolicyCounts {
    /// Adds the counts of further documents, apart from their longest run.
    pub fn add(&mut self, later: &Self) {
        // A manifest or journal may have been edited.
        self.documents = self.documents.saturating_add(later.documents);
        self.tokens = self.tokens.saturating_add(later.tokens);
        self.dropped = self.dropped.saturating_add(later.dropped);
        self.excluded_before = self.excluded_before.saturating_add(later.excluded_before);
    }

    /// Adds the counts of further documents, after `documents` others of all entries.
    pub(crate) fn join(&mut self, later: Self, documents: u64) {
        self.add(&later);
        join_runs(&mut self.longest_decided_run, later.longest_decided_run, documents);
    }
}

/// One part of a divided run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartEntry {
    /// Which part, from 0.
    pub rank: u32,
    /// How many parts there are.
    pub world: u32,
    /// `xxh3_128:` and 32 hex digits over the names, formats and sizes of all inputs, which say what each part holds.
    pub plan: String,
}

/// A program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolEntry {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl Manifest {
    /// A manifest of this program for shards that are yet to be written: without inputs, shards and totals, which
    /// [`ShardWriter::finish`](crate::ShardWriter::finish) and its caller fill in.
    #[must_use]
    pub fn new(rule: RuleSpec, scope: Scope, source: SourceEntry, output: OutputEntry) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            tool: ToolEntry::goldfish(),
            rule,
            policy: Vec::new(),
            protected: None,
            scope,
            exempt_ids: Vec::new(),
            existing_mask: None,
            tokenizer: None,
            source,
            output,
            part: None,
            inputs: Vec::new(),
            input_table: None,
            shards: Vec::new(),
            rejects: None,
            totals: Totals::default(),
            longest_kept_run: None,
            checksum: String::new(),
        }
    }
}

impl ToolEntry {
    /// This program.
    #[must_use]
    pub fn goldfish() -> Self {
        Self { name: "goldfish".into(), version: env!("CARGO_PKG_VERSION").into() }
    }
}

/// A tokenizer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenizerEntry {
    /// SHA-256 of its `tokenizer.json`, in hex.
    pub sha256: String,
    /// Number of ids, added tokens included.
    pub vocab_size: u32,
    /// The id put before each document, if any.
    pub prepended_bos: Option<u32>,
    /// The id put after each document, if any.
    pub appended_eos: Option<u32>,
    /// What special tokens are that a text spells: `text` like any other, or a reason to `reject` the text; the token if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub special_in_text: Option<String>,
}

/// What was read from the inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceEntry {
    /// `text` or `ids`.
    pub content: String,
    /// The column that held it.
    pub column: String,
    /// What was done with masks that the documents came with, where they were looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing_mask: Option<ExistingMaskEntry>,
    /// The column that held the documents' ids; without one a document is called `name:row`.
    pub id_column: Option<String>,
    /// Id type of headerless memmaps, where it was given.
    pub ids_dtype: Option<String>,
    /// The id that ends documents of headerless memmaps, where it was needed.
    pub eos_id: Option<u32>,
    /// Largest document that was taken, in bytes (four a token).
    pub max_document: u64,
    /// How many rows were read, if not all. The hash of the last input is then that of what was read of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// Masks that documents came with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExistingMaskEntry {
    /// The column that held them.
    pub column: String,
    /// What it held.
    pub kind: ExistingMaskKind,
}

/// What a column of masks holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExistingMaskKind {
    /// Booleans, or 0 and 1.
    Mask,
    /// Numbers from 0 on.
    Weights,
    /// Token ids, and -100 where a token is excluded.
    Labels,
}

/// How the shards are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputEntry {
    /// File format.
    pub format: OutputFormat,
    /// Columns beyond `doc_id`, `input_ids` and `loss_mask`.
    pub columns: Vec<ExtraColumn>,
    /// Source columns brought along.
    pub carry: Vec<String>,
    /// A shard is closed before it exceeds this, in bytes.
    pub shard_size: u64,
}

/// One input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputEntry {
    /// Its path below the folder that all inputs share.
    pub name: String,
    /// Its format.
    pub format: String,
    /// Bytes in the file.
    pub size: u64,
    /// `xxh3_128:` and 32 hex digits over the file.
    pub hash: String,
    /// Files that belong to it: an index or a sidecar.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub companions: Vec<CompanionEntry>,
    /// Documents taken from it.
    pub documents: u64,
    /// Rows of it that were rejected.
    pub rejected: u64,
    /// Rows of it that this part of a divided run read: from the first, up to but without the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<(u64, u64)>,
    /// Whether reading broke off at an error, so that it is unknown how many rows follow. The break
    /// itself counts as one rejected row.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub broken: bool,
}

/// A file that belongs to an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CompanionEntry {
    /// The ending of its name, which is otherwise the input's.
    pub suffix: String,
    /// Size and content hash.
    #[serde(flatten)]
    pub digest: FileDigest,
}

/// One shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShardEntry {
    /// File name in the folder.
    pub name: String,
    /// Bytes in the file.
    pub size: u64,
    /// `xxh3_128:` and 32 hex digits over the file.
    pub hash: String,
    /// Rows.
    pub documents: u64,
    /// Tokens in `input_ids`.
    pub tokens: u64,
    /// Tokens whose `loss_mask` is 0.
    pub dropped: u64,
}

/// The list of rejected rows, `rejects.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RejectsEntry {
    /// Lines.
    pub rows: u64,
    /// Bytes in the file.
    pub size: u64,
    /// `xxh3_128:` and 32 hex digits over the file.
    pub hash: String,
}

/// Sums over all inputs and shards.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Rows read; equals `documents_out + documents_rejected`.
    pub documents_in: u64,
    /// Rows in the shards.
    pub documents_out: u64,
    /// Rows in `rejects.jsonl`.
    pub documents_rejected: u64,
    /// Those of them that were null, where such rows were to be skipped.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub documents_null: u64,
    /// Tokens in the shards.
    pub tokens: u64,
    /// Tokens with a `loss_mask` of 0.
    pub dropped: u64,
    /// Those of them that an existing mask excluded, whether or not the rule drops them too.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub excluded_before: u64,
    /// Tokens whose `loss_weights` is neither 0 nor 1.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fractional: u64,
    /// Special tokens that texts spell.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub special_in_text: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Totals {
    /// Tokens that were in the loss before the rule.
    #[must_use]
    pub fn targets(&self) -> u64 {
        self.tokens.saturating_sub(self.excluded_before)
    }

    /// Tokens that the rule took out of the loss.
    #[must_use]
    pub fn dropped_by_rule(&self) -> u64 {
        self.dropped.saturating_sub(self.excluded_before)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.documents_in += other.documents_in;
        self.documents_out += other.documents_out;
        self.documents_rejected += other.documents_rejected;
        self.documents_null = self.documents_null.saturating_add(other.documents_null);
        self.special_in_text = self.special_in_text.saturating_add(other.special_in_text);
        self.tokens += other.tokens;
        self.dropped += other.dropped;
        self.excluded_before = self.excluded_before.saturating_add(other.excluded_before);
        self.fractional = self.fractional.saturating_add(other.fractional);
    }
}

impl Manifest {
    /// Fills in the checksum and returns the file's bytes.
    #[must_use]
    pub fn seal(mut self) -> (Self, Vec<u8>) {
        self.checksum = String::new();
        self.checksum = FileDigest::of(&self.to_bytes()).hash;
        let bytes = self.to_bytes();
        (self, bytes)
    }

    /// Fills in the checksum and returns the file's bytes, if they can be read again.
    ///
    /// # Errors
    ///
    /// If they are too many.
    pub(crate) fn seal_for(self, folder: &Path) -> Result<(Self, Vec<u8>), ShardError> {
        let (manifest, bytes) = self.seal();
        check_size(&folder.join(MANIFEST_NAME), bytes.len() as u64)?;
        Ok((manifest, bytes))
    }

    /// Whether its checksum is that of its contents; else it was edited.
    pub(crate) fn is_sealed(&self) -> bool {
        self.clone().seal().0.checksum == self.checksum
    }

    /// Reads the manifest of a folder.
    ///
    /// # Errors
    ///
    /// If there is none, it isn't one, or a later version wrote it. Whether it was edited is for
    /// [`verify`](crate::verify) to say.
    pub fn read(folder: &Path) -> Result<Self, ShardError> {
        let path = folder.join(MANIFEST_NAME);
        let manifest: Self = read_known(&path, FORMAT_VERSION).map_err(|error| match error {
            ShardError::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
                ShardError::NoManifest { path: folder.to_owned() }
            }
            error => error,
        })?;
        // A name is joined to the folder later on: it must not lead out of it.
        match manifest.shards.iter().find(|shard| !is_plain_name(&shard.name)) {
            Some(shard) => {
                let reason = format!("the shard name {:?} is not a plain file name", shard.name);
                Err(ShardError::BadManifest { path, reason })
            }
            None => Ok(manifest),
        }
    }

    /// The file's bytes as this build writes them.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings, numbers and lists only: serialization can't fail.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Bytes of all shards.
    #[must_use]
    pub fn shard_bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.size).sum()
    }

    /// Each rule with the ids that it never drops: those of the policy's entries, or the only one.
    #[must_use]
    pub fn rules(&self) -> Vec<(&RuleSpec, &[u32])> {
        match self.policy.as_slice() {
            [] => vec![(&self.rule, &self.exempt_ids)],
            policy => policy.iter().map(|entry| (&entry.rule, &*entry.exempt_ids)).collect(),
        }
    }

    /// The one in how many tokens that are dropped, if it is the same in all documents.
    #[must_use]
    pub fn k(&self) -> Option<u32> {
        if self.policy.is_empty() { self.rule.k() } else { None }
    }

    /// Names of all columns of the shards, in order.
    #[must_use]
    pub fn columns(&self) -> Vec<&str> {
        let extra = self.output.columns.iter().map(|column| column.name());
        let carried = self.output.carry.iter().map(String::as_str);
        let policy = Some(POLICY_COLUMN).filter(|_| !self.policy.is_empty());
        ["doc_id", "input_ids", "loss_mask"].into_iter().chain(extra).chain(carried).chain(policy).collect()
    }

    /// The share of the tokens in the loss that the rule dropped; 0 where there are none.
    #[must_use]
    pub fn drop_rate(&self) -> f64 {
        let (dropped, targets) = (self.totals.dropped_by_rule(), self.totals.targets());
        if targets == 0 { 0.0 } else { dropped as f64 / targets as f64 }
    }
}

/// Ends a run as soon as it is known that its manifest could not be read again.
pub(crate) fn check_count(folder: &Path, shards: usize) -> Result<(), ShardError> {
    if shards <= MAX_FOLDER_SHARDS {
        return Ok(());
    }
    Err(ShardError::TooManyShards { path: folder.to_owned() })
}

/// Refuses to write what [`read_known`] would refuse to read.
pub(crate) fn check_size(path: &Path, size: u64) -> Result<(), ShardError> {
    if size <= MAX_MANIFEST_BYTES {
        return Ok(());
    }
    let reason = format!(
        "would have {size} bytes, and with more than {MAX_MANIFEST_BYTES} it could not be read again; write larger shards, or \
         mask the inputs in several runs"
    );
    Err(ShardError::BadManifest { path: path.to_owned(), reason })
}

/// Reads a manifest whose version this build knows, and which is no larger than one may be.
pub(crate) fn read_known<T: DeserializeOwned>(path: &Path, known: u32) -> Result<T, ShardError> {
    #[derive(Deserialize)]
    struct Version {
        #[serde(alias = "file_set_version")]
        format_version: u32,
    }
    let bad = |reason: String| ShardError::BadManifest { path: path.to_owned(), reason };
    let bytes = goldfish_storage::read(path, MAX_MANIFEST_BYTES).map_err(|error| match error.kind() {
        ErrorKind::InvalidInput | ErrorKind::FileTooLarge => {
            bad(format!("not a file of at most {MAX_MANIFEST_BYTES} bytes"))
        }
        _ => ShardError::io(path, "opening")(error),
    })?;
    let not_one = |error: serde_json::Error| bad(format!("not a manifest: {error}"));
    let Version { format_version: version } = serde_json::from_slice(&bytes).map_err(not_one)?;
    if version != known {
        return Err(bad(format!("version {version} is not known, only {known} is; use a newer goldfish")));
    }
    serde_json::from_slice(&bytes).map_err(not_one)
}

fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!((components.next(), components.next()), (Some(std::path::Component::Normal(_)), None))
        && !name.contains(['/', '\\'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_read_again_is_not_written() {
        let path = Path::new("manifest.json");
        assert!(check_size(path, MAX_MANIFEST_BYTES).is_ok());
        let error = check_size(path, MAX_MANIFEST_BYTES + 1).unwrap_err();
        assert!(error.to_string().contains("could not be read again"), "{error}");
    }

    #[test]
    fn a_manifest_of_the_most_shards_can_be_read() {
        let most = u64::MAX;
        let shard = ShardEntry {
            name: crate::names::shard_name(crate::MAX_FOLDER_SHARDS, crate::MAX_FOLDER_SHARDS, "parquet"),
            size: most,
            hash: FileDigest::of(&[]).hash,
            documents: most,
            tokens: most,
            dropped: most,
        };
        let lines = |count: usize| serde_json::to_vec_pretty(&[vec![&shard; count]]).unwrap().len();
        let each = (lines(2) - lines(1)) as u64;
        assert!(each * (crate::MAX_FOLDER_SHARDS as u64) < MAX_MANIFEST_BYTES, "{each}");
        assert!(check_count(Path::new("out"), crate::MAX_FOLDER_SHARDS).is_ok());
        assert!(check_count(Path::new("out"), crate::MAX_FOLDER_SHARDS + 1).is_err());
    }
}
