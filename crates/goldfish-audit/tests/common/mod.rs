//! Corpora and runs that the tests share.

#![allow(dead_code, reason = "every test file uses some of it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use goldfish_audit::backend::Backend;
use goldfish_audit::config::RunConfig;
use goldfish_audit::documents::{DocumentOptions, Documents};
use goldfish_audit::engine::Engine;
use goldfish_audit::options::{AuditOptions, StatisticsOptions};
use goldfish_audit::probe::{Allocation, Grid, ProbeTable, Sample};
use goldfish_audit::selftest::{SelfTest, SelfTestOptions, self_test};
use goldfish_audit::stat::{Bootstrap, RateMethod};
use goldfish_audit::store::RunStore;
use goldfish_audit::summary::Summary;
use goldfish_audit::{AuditError, ResultRow};
use goldfish_corpus::{Content, ReadOptions, resolve};
use goldfish_mask::rules::Static;
use goldfish_mask::{RuleSpec, Scope};
use goldfish_pipeline::{MaskJob, OnError, OnNull, mask_corpus};
use goldfish_shard::{OutputFormat, OutputMode, ToolEntry, WriterOptions};

/// Writes documents as JSON lines; `source` is a column to stratify by.
pub(crate) fn write_documents(path: &Path, documents: &[(String, String, Vec<u32>)]) -> PathBuf {
    let line = |(id, source, ids): &(String, String, Vec<u32>)| {
        format!("{{\"id\": {id:?}, \"source\": {source:?}, \"input_ids\": {ids:?}}}\n")
    };
    fs::write(path, documents.iter().map(line).collect::<String>()).unwrap();
    path.to_owned()
}

/// Documents called `d0`, `d1` and so on, all of one source.
pub(crate) fn plain(documents: &[Vec<u32>]) -> Vec<(String, String, Vec<u32>)> {
    documents.iter().enumerate().map(|(i, ids)| (format!("d{i}"), "s".into(), ids.clone())).collect()
}

pub(crate) fn open(path: &Path, by: Option<&str>) -> Documents {
    let options = DocumentOptions {
        id_column: Some("id".into()),
        by: by.map(str::to_owned),
        ..DocumentOptions::default()
    };
    Documents::find(&[path.to_str().unwrap().to_owned()], options).unwrap()
}

/// Masks a file of documents with the rule `static`: every k-th token is dropped.
pub(crate) fn mask(source: &Path, output: &Path, k: u32, format: OutputFormat) -> Documents {
    let content = Content::Ids { column: "input_ids".into() };
    let read = ReadOptions {
        id_column: Some("id".into()),
        carry: vec!["source".into()],
        ..ReadOptions::new(content)
    };
    let job = MaskJob {
        policy: None,
        protect: None,
        protect_only: false,
        inputs: resolve(&[source.to_str().unwrap().to_owned()], None).unwrap().inputs,
        read,
        tokenize: None,
        rule: RuleSpec::new(Static::new(k)),
        table: None,
        scope: Scope::Document,
        exempt_ids: Vec::new(),
        output: output.to_owned(),
        writer: WriterOptions { format, shard_size: 4096 },
        columns: Vec::new(),
        output_mode: OutputMode::New,
        partition: None,
        on_error: OnError::Fail,
        on_null: OnNull::Reject,
        limit: None,
        threads: 1,
    };
    mask_corpus(&job, &AtomicBool::new(false), &|_| ()).unwrap();
    let options = DocumentOptions { by: Some("source".into()), ..DocumentOptions::default() };
    Documents::find(&[output.to_str().unwrap().to_owned()], options).unwrap()
}

pub(crate) fn grid(offsets: &[u64], stride: Option<u64>, prefixes: &[u32], suffixes: &[u32]) -> Grid {
    Grid::new(offsets.to_vec(), stride, prefixes.to_vec(), suffixes.to_vec()).unwrap()
}

pub(crate) fn everything() -> Sample {
    Sample { starts: None, seed: 0, allocation: Allocation::Proportional }
}

/// Pseudo-random numbers below `bound`, the same in every run.
pub(crate) fn numbers(seed: u64, n: usize, bound: u32) -> Vec<u32> {
    let mut random = rand_mt::Mt64::new(seed);
    (0..n).map(|_| (random.next_u64() % u64::from(bound)) as u32).collect()
}

pub(crate) fn statistics() -> StatisticsOptions {
    StatisticsOptions { rates: RateMethod::Wilson, bootstrap: Bootstrap { seed: 0, resamples: 200 } }
}

pub(crate) fn config(
    backend: &dyn Backend,
    grid: &Grid,
    options: &AuditOptions,
    table: &ProbeTable,
) -> RunConfig {
    let tool = ToolEntry { name: "goldfish".into(), version: "0".into() };
    let model = backend.describe().unwrap();
    let options = AuditOptions { statistics: statistics(), ..options.clone() };
    RunConfig::new(tool, model, grid.clone(), everything(), options, table, None)
}

pub(crate) fn tested(backend: &dyn Backend, table: &ProbeTable) -> SelfTest {
    let sequences: Vec<&[u32]> = table.starts.iter().take(2).map(|start| start.ids.as_slice()).collect();
    self_test(
        backend,
        &sequences,
        &SelfTestOptions { bos: None, eos: None, scheme: None, continuations: true },
    )
    .unwrap()
}

/// A whole run in a folder, or as far as the backend goes.
pub(crate) fn audit(
    folder: &Path,
    backend: &dyn Backend,
    grid: &Grid,
    table: &ProbeTable,
    options: &AuditOptions,
    batch: usize,
) -> Result<(Vec<ResultRow>, Summary), AuditError> {
    let config = config(backend, grid, options, table);
    let mut store = RunStore::open(folder, &config, &[table], true)?;
    let decode = |ids: &[u32]| ids.iter().map(|id| format!("w{id} ")).collect::<String>();
    let decode = options.text.then_some(&decode as &dyn Fn(&[u32]) -> String);
    let engine = Engine { backend, options, decode, batch, segment_rows: 3, stop: &AtomicBool::new(false) };
    engine.run(&[table], &mut store, &mut |_| ())?;
    // No self-test of a backend that is told to fail.
    let none = SelfTest { capabilities: backend.capabilities(), checks: Vec::new() };
    let finished = store.finish(&none)?;
    Ok((finished.rows, finished.summary))
}

/// Relative path -> bytes of every file below a folder, but the lock.
pub(crate) fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            files
                .extend(contents(&path).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else if name != ".lock" {
            files.insert(name, fs::read(&path).unwrap());
        }
    }
    files
}
