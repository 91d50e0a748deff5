//! What the tests of folders write.

use goldfish_mask::rules::Static;
use goldfish_mask::{RuleSpec, Scope};
use goldfish_shard::{
    ExtraColumn, InputEntry, Manifest, OutputEntry, ShardSchema, SourceEntry, ToolEntry, Totals,
    WriterOptions,
};

/// The schema of documents with labels.
pub(crate) fn schema() -> ShardSchema {
    ShardSchema::new(&[ExtraColumn::Labels], &[])
}

/// The manifest of a run over one input of so many good and bad rows, before its shards are known.
pub(crate) fn manifest(options: &WriterOptions, documents: u64, rejected: u64) -> Manifest {
    let input = InputEntry {
        name: "a.jsonl".into(),
        format: "jsonl".into(),
        size: 1,
        hash: "xxh3_128:0".into(),
        companions: Vec::new(),
        documents,
        rejected,
        rows: None,
        broken: false,
    };
    let source = SourceEntry {
        existing_mask: None,
        content: "ids".into(),
        column: "input_ids".into(),
        id_column: None,
        ids_dtype: None,
        eos_id: None,
        max_document: 1 << 20,
        limit: None,
    };
    let output = OutputEntry {
        format: options.format,
        columns: vec![ExtraColumn::Labels],
        carry: Vec::new(),
        shard_size: options.shard_size,
    };
    Manifest {
        tool: ToolEntry { name: "goldfish".into(), version: "0".into() },
        inputs: vec![input],
        totals: Totals {
            documents_in: documents + rejected,
            documents_rejected: rejected,
            ..Totals::default()
        },
        ..Manifest::new(RuleSpec::new(Static::new(4)), Scope::Document, source, output)
    }
}
