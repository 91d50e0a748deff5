//! The job of most tests, and what is in a folder after it.

use std::collections::BTreeMap;
use std::path::Path;

use goldfish_corpus::{Content, Input, ReadOptions, resolve};
use goldfish_mask::rules::Hash;
use goldfish_mask::{RuleSpec, Scope};
use goldfish_pipeline::{MaskJob, OnError, OnNull};
use goldfish_shard::{OutputFormat, OutputMode, WriterOptions};

pub(crate) fn inputs(path: &Path) -> Vec<Input> {
    resolve(&[path.to_str().unwrap().to_owned()], None).unwrap().inputs
}

/// Masks columns of ids with the rule `hash` and this `k`, into small shards.
pub(crate) fn job(inputs: Vec<Input>, output: &Path, output_mode: OutputMode, k: u32) -> MaskJob {
    let rule = Hash::new(k).context(5).seed(3);
    MaskJob {
        policy: None,
        protect: None,
        protect_only: false,
        inputs,
        read: ReadOptions::new(Content::Ids { column: "input_ids".into() }),
        tokenize: None,
        rule: RuleSpec::new(rule),
        table: None,
        scope: Scope::Document,
        exempt_ids: Vec::new(),
        output: output.to_owned(),
        writer: WriterOptions { format: OutputFormat::ArrowStream, shard_size: 24 << 10 },
        columns: Vec::new(),
        output_mode,
        partition: None,
        on_error: OnError::Fail,
        on_null: OnNull::Reject,
        limit: None,
        threads: 2,
    }
}

/// The files in a folder, not those below it.
pub(crate) fn visible(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = goldfish_storage::entries(folder) else { return BTreeMap::new() };
    let files = entries.into_iter().filter(|entry| !entry.is_folder()).map(|entry| entry.path);
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    files.map(|path| (name(&path), goldfish_storage::read(&path, u64::MAX).unwrap())).collect()
}
