use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use goldfish_corpus::{Content, ExistingMask, IdType, Input, ReadOptions, Reject};
use goldfish_mask::{RuleSpec, Scope, UniformTable};
use goldfish_shard::{
    ExistingMaskEntry, ExistingMaskKind, ExtraColumn, MAX_STORE_SHARD_BYTES, Manifest, OutputEntry,
    OutputMode, POLICY_COLUMN, ProtectedEntry, SourceEntry, TokenizerEntry, WriterOptions,
};
use goldfish_storage::{canonicalize, is_remote};
use goldfish_tokenize::{SpecialInText, Tokenizer};

use crate::job_error::JobError;
use crate::plan::{Partition, Plan};
use crate::policy::{Policy, PolicyEntry};
use crate::protect::Protection;

/// What to do with a row that can't become a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum OnError {
    /// Stop the run; nothing is written.
    #[default]
    Fail,
    /// Leave the row out, list it in `rejects.jsonl` and count it. Where a file breaks off, continue with the
    /// next one.
    Skip,
}

/// What to do with a row whose text, or list of token ids, is null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum OnNull {
    /// The same as with any other row that can't become a document.
    #[default]
    Reject,
    /// Leave it out and list it in `rejects.jsonl`, as something that was expected.
    Skip,
}

/// How text becomes tokens.
#[derive(Clone)]
pub struct TokenizeOptions {
    /// The tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// An id to put before each document.
    pub prepend_bos: Option<u32>,
    /// An id to put after each document.
    pub append_eos: Option<u32>,
}

/// A masking run with every option resolved.
#[derive(Clone)]
pub struct MaskJob {
    /// The inputs in order.
    pub inputs: Vec<Input>,
    /// What to read from them.
    pub read: ReadOptions,
    /// The tokenizer; needed for text, and with ids it is only noted in the manifest.
    pub tokenize: Option<TokenizeOptions>,
    /// The rule; under a policy that of its default.
    pub rule: RuleSpec,
    /// Which rule decides which documents, if it isn't the same for all.
    pub policy: Option<Policy>,
    /// Works whose copies get the works' own masks.
    pub protect: Option<Arc<Protection>>,
    /// Whether the copies are only looked for: documents are written without tokens, and text needs no tokenizer.
    pub protect_only: bool,
    /// The table from a file that the rule names, if it names one.
    pub table: Option<UniformTable>,
    /// What windows may cross.
    pub scope: Scope,
    /// Ids that are never dropped.
    pub exempt_ids: Vec<u32>,
    /// The folder to write.
    pub output: PathBuf,
    /// How shards are written.
    pub writer: WriterOptions,
    /// Columns on request.
    pub columns: Vec<ExtraColumn>,
    /// What to do with what an earlier run left in that folder.
    pub output_mode: OutputMode,
    /// Which part of the inputs to read; `None` for all.
    pub partition: Option<Partition>,
    /// What to do with bad rows.
    pub on_error: OnError,
    /// What to do with rows that are null.
    pub on_null: OnNull,
    /// Read only so many rows, the first ones of the inputs.
    pub limit: Option<u64>,
    /// Worker threads, 1 at least.
    pub threads: usize,
}

impl MaskJob {
    /// Whether a row was expected to become no document.
    pub(crate) fn expects(&self, reject: &Reject) -> bool {
        reject.is_null && self.on_null == OnNull::Skip
    }

    /// Whether rows may be left out.
    pub(crate) fn skips_rejects(&self) -> bool {
        self.on_error == OnError::Skip || self.on_null == OnNull::Skip
    }

    /// The carried columns of the shards: those of the source, and the entries of the policy.
    pub(crate) fn carried(&self, source: &[FieldRef]) -> Vec<FieldRef> {
        let policy = self.policy.as_ref().map(|_| Arc::new(Field::new(POLICY_COLUMN, DataType::Utf8, true)));
        source.iter().cloned().chain(policy).collect()
    }

    /// The manifest as far as it follows from the options.
    pub(crate) fn manifest(&self, plan: &Plan) -> Manifest {
        let mut exempt_ids = self.exempt_ids.clone();
        exempt_ids.sort_unstable();
        exempt_ids.dedup();
        let source = SourceEntry { limit: self.limit, ..source_entry(&self.read) };
        let output = OutputEntry {
            format: self.writer.format,
            columns: self.columns.clone(),
            carry: self.read.carry.clone(),
            shard_size: self.writer.shard_size,
        };
        Manifest {
            exempt_ids,
            tokenizer: self.tokenize.as_ref().map(|options| TokenizerEntry {
                sha256: options.tokenizer.sha256().to_owned(),
                vocab_size: options.tokenizer.vocab_size(),
                prepended_bos: options.prepend_bos,
                appended_eos: options.append_eos,
                special_in_text: match options.tokenizer.special_in_text() {
                    SpecialInText::Token => None,
                    other => Some(other.name().to_owned()),
                },
            }),
            part: plan.part.clone(),
            existing_mask: existing_words(&self.read.existing),
            protected: self
                .protect
                .as_ref()
                .map(|protection| ProtectedEntry { only: self.protect_only, ..protection.entry() }),
            policy: self.policy.iter().flat_map(Policy::entries).map(PolicyEntry::uncounted).collect(),
            ..Manifest::new(self.rule.clone(), self.scope, source, output)
        }
    }
}

/// What is read, for manifests.
pub(crate) fn source_entry(read: &ReadOptions) -> SourceEntry {
    SourceEntry {
        content: match read.content {
            Content::Text { .. } => "text".into(),
            Content::Ids { .. } => "ids".into(),
        },
        column: read.content.column().to_owned(),
        existing_mask: existing_entry(&read.existing),
        id_column: read.id_column.clone(),
        ids_dtype: read.id_type.map(|t: IdType| t.name().to_owned()),
        eos_id: read.eos_id,
        max_document: read.max_document as u64,
        limit: None,
    }
}

fn existing_entry(existing: &ExistingMask) -> Option<ExistingMaskEntry> {
    let kind = match existing {
        ExistingMask::None => return None,
        ExistingMask::Mask { weights: false, .. } => ExistingMaskKind::Mask,
        ExistingMask::Mask { weights: true, .. } => ExistingMaskKind::Weights,
        ExistingMask::Labels { .. } => ExistingMaskKind::Labels,
    };
    existing.column().map(|column| ExistingMaskEntry { column: column.to_owned(), kind })
}

fn existing_words(existing: &ExistingMask) -> Option<String> {
    existing.column().map(|column| format!("the column {column} of the inputs"))
}

/// Every column of the output has one name and one source.
pub(crate) fn check_columns(job: &MaskJob) -> Result<(), JobError> {
    let (read, columns) = (&job.read, &job.columns);
    if matches!(read.content, Content::Text { .. }) && read.existing.column().is_some() {
        return Err(JobError::MaskOfText);
    }
    let content = read.content.column();
    if read.id_column.as_deref() == Some(content) {
        return Err(JobError::IdColumnIsContent { column: content.to_owned() });
    }
    if matches!(read.content, Content::Ids { .. }) && read.carry.iter().any(|name| name == content) {
        return Err(JobError::CarriesContent { column: content.to_owned() });
    }
    let mut seen = vec!["doc_id", "input_ids", "loss_mask"];
    seen.extend(job.policy.as_ref().map(|_| POLICY_COLUMN));
    for name in columns.iter().map(|column| column.name()).chain(read.carry.iter().map(String::as_str)) {
        if seen.contains(&name) {
            return Err(JobError::ColumnTwice { column: name.to_owned() });
        }
        seen.push(name);
    }
    Ok(())
}

/// No input may be in the output folder, where it would be read again or replaced; and shards must be of a size that
/// the output takes.
pub(crate) fn check_paths(job: &MaskJob) -> Result<(), JobError> {
    if is_remote(&job.output) && job.writer.shard_size > MAX_STORE_SHARD_BYTES {
        return Err(JobError::ShardsTooLargeForStore { output: job.output.clone() });
    }
    let Ok(output) = canonicalize(&job.output) else { return Ok(()) };
    let inside = |input: &&Input| canonicalize(&input.path).is_ok_and(|path| path.starts_with(&output));
    match job.inputs.iter().find(inside) {
        None => Ok(()),
        Some(input) => {
            let (input, output) = (input.path.to_path_buf(), job.output.clone());
            Err(JobError::InputInOutput { input, output })
        }
    }
}
