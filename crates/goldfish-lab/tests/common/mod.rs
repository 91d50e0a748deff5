//! Shards of made-up documents.

use std::path::Path;

use arrow::array::StringArray;
use arrow::buffer::OffsetBuffer;
use goldfish_mask::rules::Static;
use goldfish_mask::{RuleSpec, Scope};
use goldfish_shard::{
    InputEntry, Manifest, OutputEntry, OutputFormat, OutputMode, ShardSchema, ShardWriter, SourceEntry,
    ToolEntry, Totals, WriterOptions, prepare_folder,
};
use serde_json::value::RawValue;

/// A document: token ids, and what its mask says of them.
pub(crate) type Document = (Vec<i32>, Vec<u8>);

/// Documents of `lengths` tokens below `vocabulary`, whose mask drops every fourth token.
pub(crate) fn documents(lengths: &[usize], vocabulary: i32) -> Vec<Document> {
    let mut state = 1u64;
    let mut draw = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as i32 % vocabulary
    };
    let document = |length: &usize| {
        let ids = (0..*length).map(|_| draw()).collect();
        (ids, (0..*length).map(|index| u8::from(index % 4 != 2)).collect())
    };
    lengths.iter().map(document).collect()
}

/// Writes a folder as `goldfish mask` does.
pub(crate) fn write(path: &Path, documents: &[Document]) {
    let schema = ShardSchema::new(&[], &[]);
    let options = WriterOptions { format: OutputFormat::ArrowStream, shard_size: 1 << 20 };
    let manifest = manifest(documents.len() as u64, &options);
    let folder = prepare_folder(path, OutputMode::New).unwrap().folder().unwrap();
    let job = || RawValue::from_string("{}".into()).unwrap();
    let mut writer = ShardWriter::new(folder, schema.clone(), options, job());
    let names: StringArray = (0..documents.len()).map(|row| Some(format!("a:{row}"))).collect();
    let offsets = OffsetBuffer::from_lengths(documents.iter().map(|(ids, _)| ids.len()));
    let ids: Vec<i32> = documents.iter().flat_map(|(ids, _)| ids.clone()).collect();
    let mask: Vec<u8> = documents.iter().flat_map(|(_, mask)| mask.clone()).collect();
    let batch = schema.batch(names, offsets, ids.into(), mask.into(), Vec::new()).unwrap();
    writer.write(&batch, 0, goldfish_shard::ListLengths::default(), job).unwrap();
    writer.finish(manifest, job()).map_err(|(error, _)| error).unwrap();
}

fn manifest(documents: u64, options: &WriterOptions) -> Manifest {
    let input = InputEntry {
        name: "a.jsonl".into(),
        format: "jsonl".into(),
        size: 1,
        hash: "xxh3_128:0".into(),
        companions: Vec::new(),
        documents,
        rejected: 0,
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
        columns: Vec::new(),
        carry: Vec::new(),
        shard_size: options.shard_size,
    };
    Manifest {
        tool: ToolEntry { name: "goldfish".into(), version: "0".into() },
        inputs: vec![input],
        totals: Totals { documents_in: documents, ..Totals::default() },
        ..Manifest::new(RuleSpec::new(Static::new(4)), Scope::Document, source, output)
    }
}
