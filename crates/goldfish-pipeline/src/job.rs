use std::path::PathBuf;
use std::sync::Arc;

use goldfish_corpus::{Content, IdType, Input, ReadOptions};
use goldfish_mask::{RuleSpec, Scope, UniformTable};
use goldfish_shard::{
    ExtraColumn, Manifest, OutputEntry, SourceEntry, TokenizerEntry, ToolEntry, Totals, WriterOptions,
};
use goldfish_tokenize::Tokenizer;

/// What to do with a row that can't become a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// Stop the run; nothing is written.
    #[default]
    Fail,
    /// Leave the row out, list it in `rejects.jsonl` and count it. Where a file breaks off, go on with the
    /// next one.
    Skip,
}

/// How text becomes tokens.
#[derive(Clone)]
pub struct TokenizeOptions {
    /// The tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// An id to put before each document.
    pub prepend_bos: Option<u32>,
    /// An id to put behind each document.
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
    /// The rule.
    pub rule: RuleSpec,
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
    /// Whether a finished output may be replaced.
    pub overwrite: bool,
    /// What to do with bad rows.
    pub on_error: OnError,
    /// Worker threads, 1 at least.
    pub threads: usize,
}

impl MaskJob {
    /// The manifest as far as the options tell it.
    pub(crate) fn manifest(&self) -> Manifest {
        let mut exempt_ids = self.exempt_ids.clone();
        exempt_ids.sort_unstable();
        exempt_ids.dedup();
        Manifest {
            format_version: goldfish_shard::FORMAT_VERSION,
            tool: ToolEntry { name: "goldfish".into(), version: env!("CARGO_PKG_VERSION").into() },
            rule: self.rule.clone(),
            scope: self.scope,
            exempt_ids,
            tokenizer: self.tokenize.as_ref().map(|options| TokenizerEntry {
                sha256: options.tokenizer.sha256().to_owned(),
                vocab_size: options.tokenizer.vocab_size(),
                prepended_bos: options.prepend_bos,
                appended_eos: options.append_eos,
            }),
            source: SourceEntry {
                content: match self.read.content {
                    Content::Text { .. } => "text".into(),
                    Content::Ids { .. } => "ids".into(),
                },
                column: self.read.content.column().to_owned(),
                id_column: self.read.id_column.clone(),
                ids_dtype: self.read.id_type.map(|t: IdType| t.name().to_owned()),
                eos_id: self.read.eos_id,
            },
            output: OutputEntry {
                format: self.writer.format,
                columns: self.columns.clone(),
                carry: self.read.carry.clone(),
                shard_size: self.writer.shard_size,
            },
            inputs: Vec::new(),
            shards: Vec::new(),
            rejects: None,
            totals: Totals::default(),
            checksum: String::new(),
        }
    }
}
