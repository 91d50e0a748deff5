//! `config.json` and `origin.json`: what a run measures, and where it came from.

use goldfish_digest::FileDigest;
use goldfish_shard::ToolEntry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backend::ModelDescription;
use crate::canary::{CanaryConfig, CanarySource};
use crate::control::{Contamination, ControlCounts};
use crate::in_context::InContextConfig;
use crate::options::AuditOptions;
use crate::probe::{Grid, ProbeCounts, ProbeTable, Sample};
use crate::rows::ProbeRow;
use crate::tokens::TokenCheck;

/// Version of the files of a run.
pub const RUN_VERSION: u32 = 3;

/// What a run measures: everything that can change its results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Version of the files.
    pub run_version: u32,
    /// The program.
    pub tool: ToolEntry,
    /// The model.
    pub model: ModelDescription,
    /// Where probes are cut.
    pub grid: Grid,
    /// How they are sampled.
    pub sample: Sample,
    /// What is measured.
    pub options: AuditOptions,
    /// Whether the token ids are the model's own.
    pub tokens: TokenCheck,
    /// How the audited probes came about.
    pub audited: ProbeCounts,
    /// The control, if there is one.
    pub control: Option<ControlConfig>,
    /// The positive control, if there is one.
    pub canary: Option<CanaryConfig>,
    /// The control of copying, if it is asked for.
    pub in_context: Option<InContextConfig>,
    /// `xxh3_128:` and 32 hex digits over one line a probe of the audited and the control set, in order and without those with the passage in the prompt, which follow from them: its name, which covers its tokens, its set and the other
    /// columns that no result changes.
    pub probes: String,
    /// `xxh3_128:` and 32 hex digits over this file's values with this one left empty: runs with the same key have the
    /// same results.
    pub key: String,
}

/// A run's control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlConfig {
    /// How its probes came about.
    pub probes: ProbeCounts,
    /// How they were matched, and what was removed.
    pub matching: ControlCounts,
    /// When a document counted as contaminated.
    pub contamination: Contamination,
}

impl RunConfig {
    /// The configuration of a run over these tables, with its key.
    #[must_use]
    pub fn new(
        tool: ToolEntry,
        model: ModelDescription,
        grid: Grid,
        sample: Sample,
        options: AuditOptions,
        audited: &ProbeTable,
        control: Option<(&ProbeTable, ControlCounts, Contamination)>,
    ) -> Self {
        let tables = std::iter::once(audited).chain(control.as_ref().map(|(table, _, _)| *table));
        let rows: Vec<ProbeRow> = tables.flat_map(|table| table.rows(true)).collect();
        let mut config = Self {
            run_version: RUN_VERSION,
            tool,
            model,
            grid,
            sample,
            options,
            tokens: TokenCheck::default(),
            audited: audited.counts,
            control: control.map(|(table, matching, contamination)| ControlConfig {
                probes: table.counts,
                matching,
                contamination,
            }),
            canary: None,
            in_context: None,
            probes: probes_hash(&rows),
            key: String::new(),
        };
        config.key = config.computed_key();
        config
    }

    /// The configuration with what was found about the tokenizers.
    #[must_use]
    pub fn with_tokens(mut self, tokens: TokenCheck) -> Self {
        self.tokens = tokens;
        self.key = self.computed_key();
        self
    }

    /// The configuration with a positive control.
    #[must_use]
    pub fn with_canary(mut self, source: CanarySource, table: &ProbeTable) -> Self {
        let rows = table.rows(true);
        self.canary = Some(CanaryConfig { source, probes: rows.len() as u64, hash: probes_hash(&rows) });
        self.key = self.computed_key();
        self
    }

    /// The configuration with the probes asked again with the whole passage in the prompt.
    #[must_use]
    pub fn with_in_context(mut self, separator: Vec<u32>) -> Self {
        self.in_context = Some(InContextConfig { separator });
        self.key = self.computed_key();
        self
    }

    /// Token ids between a passage in the prompt and the prefix; none where no passage is.
    #[must_use]
    pub fn separator(&self) -> &[u32] {
        self.in_context.as_ref().map_or(&[], |in_context| &in_context.separator)
    }

    /// The key of these values.
    #[must_use]
    pub fn computed_key(&self) -> String {
        let keyless = Self { key: String::new(), ..self.clone() };
        // Strings, numbers and lists only: serialization has nothing to fail at.
        FileDigest::of(&serde_json::to_vec(&keyless).unwrap_or_default()).hash
    }
}

/// The hash of [`RunConfig::probes`]; the same with and without tokens in the rows.
pub(crate) fn probes_hash(rows: &[ProbeRow]) -> String {
    let line = |row: &ProbeRow| {
        let ProbeRow {
            probe_id,
            set,
            doc_id,
            cluster,
            stratum,
            document_tokens,
            offset,
            copies,
            dropped,
            ..
        } = row;
        let (prefix, suffix) = (row.prefix_tokens, row.suffix_tokens);
        format!(
            "{probe_id} {set} {offset} {prefix} {suffix} {document_tokens} {copies} {dropped:?} {doc_id:?} {cluster:?} {stratum:?}\n"
        )
    };
    FileDigest::of(rows.iter().map(line).collect::<String>().as_bytes()).hash
}

/// Where a run came from: what a reader wants to know, and no result hangs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The command line that started the run, as a shell reads it.
    pub command: String,
    /// The audited documents, in the order in which they were read.
    pub corpus: Vec<DocumentsOrigin>,
    /// The control's documents.
    pub control: Vec<DocumentsOrigin>,
    /// SHA-256 of the tokenizer file that gave the text.
    pub tokenizer: Option<String>,
}

/// Where documents came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentsOrigin {
    /// The file or folder, as it was named.
    pub path: String,
    /// Checksum of its manifest, if it has one.
    pub manifest: Option<String>,
    /// The mask rule of its manifest.
    pub rule: Option<String>,
    /// SHA-256 of the tokenizer file that its raw text was tokenized with; absent if it holds token ids alone.
    pub tokenized_by: Option<String>,
}
