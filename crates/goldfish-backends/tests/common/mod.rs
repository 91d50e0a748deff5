//! A server that misbehaves on command, and runs against it.

#![allow(dead_code, reason = "every test file uses some of it")]

#[cfg(feature = "local")]
pub(crate) mod checkpoint;
pub(crate) mod faults;
pub(crate) mod protocols;
pub(crate) mod server;

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use goldfish_audit::backend::Backend;
use goldfish_audit::config::RunConfig;
use goldfish_audit::documents::{DocumentOptions, Documents};
use goldfish_audit::engine::Engine;
use goldfish_audit::fake::FakeModel;
use goldfish_audit::options::AuditOptions;
use goldfish_audit::options::Decide;
use goldfish_audit::probe::{Allocation, Grid, ProbeTable, Sample};
use goldfish_audit::selftest::{SelfTest, SelfTestOptions, self_test};
use goldfish_audit::store::RunStore;
use goldfish_audit::summary::Summary;
use goldfish_audit::{AuditError, ResultRow};
use goldfish_backends::http::{Retry, ServerOptions, Timeouts};
use goldfish_shard::ToolEntry;

pub(crate) const VOCAB: u32 = 60;
/// The token that ends a sequence, unless a request ignores it.
pub(crate) const EOS: u32 = 1;

/// The passages that the model knows, and one that it doesn't.
pub(crate) fn documents() -> Vec<Vec<u32>> {
    (0..24)
        .map(|document| (0..30).map(|i| 2 + scatter(document * 1000 + i) as u32 % (VOCAB - 2)).collect())
        .collect()
}

pub(crate) fn scatter(number: u64) -> u64 {
    let mixed = (number ^ 0x5DEE_CE66).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 20
}

/// Knows two documents in three, all of them up to some token; elsewhere no two tokens are equally likely.
pub(crate) fn model() -> FakeModel {
    let mut known = std::collections::HashMap::new();
    for (number, document) in documents().into_iter().enumerate() {
        let end = if number % 3 == 0 { document.len() } else { 8 + number / 4 };
        for window in document[..end.min(document.len())].windows(4) {
            known.insert([window[0], window[1], window[2]], window[3]);
        }
    }
    FakeModel::new(VOCAB, move |tokens| {
        let last: u64 = tokens.iter().rev().take(2).fold(7, |hash, id| hash * 61 + u64::from(*id));
        let mut logits: Vec<f32> =
            (0..u64::from(VOCAB)).map(|id| (scatter(last * 64 + id) % 100_000) as f32 / 40_000.0).collect();
        if let [.., a, b, c] = tokens
            && let Some(next) = known.get(&[*a, *b, *c])
        {
            logits[*next as usize] = 8.0;
        }
        logits
    })
}

/// Fast and patient.
pub(crate) fn options() -> ServerOptions {
    ServerOptions {
        connections: 3,
        sequences: 4,
        timeouts: Timeouts { connect: Duration::from_secs(5), answer: Duration::from_secs(20) },
        retry: Retry {
            attempts: 6,
            base: Duration::from_millis(1),
            longest: Duration::from_secs(10),
            seed: 1,
        },
        ..ServerOptions::default()
    }
}

pub(crate) fn grid() -> Grid {
    Grid::new(vec![0, 3], None, vec![6, 10], vec![4, 8]).unwrap()
}

pub(crate) fn table(folder: &Path) -> ProbeTable {
    table_of(folder, documents())
}

pub(crate) fn table_of(folder: &Path, documents: Vec<Vec<u32>>) -> ProbeTable {
    let path = folder.join("documents.jsonl");
    let line =
        |(number, ids): (usize, Vec<u32>)| format!("{{\"id\": \"d{number}\", \"input_ids\": {ids:?}}}\n");
    std::fs::write(&path, documents.into_iter().enumerate().map(line).collect::<String>()).unwrap();
    let options = DocumentOptions { id_column: Some("id".into()), ..DocumentOptions::default() };
    let documents = Documents::find(&[path.to_str().unwrap().to_owned()], options).unwrap();
    ProbeTable::sample(&documents, &grid(), &sample()).unwrap()
}

fn sample() -> Sample {
    Sample { starts: None, seed: 0, allocation: Allocation::Proportional }
}

pub(crate) fn tested(backend: &dyn Backend, table: &ProbeTable) -> Result<SelfTest, AuditError> {
    let sequences: Vec<&[u32]> = table.starts.iter().take(3).map(|start| start.ids.as_slice()).collect();
    self_test(
        backend,
        &sequences,
        &SelfTestOptions { bos: None, eos: Some(EOS), scheme: None, continuations: true },
    )
}

/// A complete run in a folder.
pub(crate) fn audit(
    folder: &Path,
    backend: &dyn Backend,
    table: &ProbeTable,
    decide: Decide,
) -> Result<(Vec<ResultRow>, Summary), AuditError> {
    audit_with(folder, backend, table, &AuditOptions { decide, ..AuditOptions::default() })
}

pub(crate) fn audit_with(
    folder: &Path,
    backend: &dyn Backend,
    table: &ProbeTable,
    options: &AuditOptions,
) -> Result<(Vec<ResultRow>, Summary), AuditError> {
    let tool = ToolEntry { name: "goldfish".into(), version: "0".into() };
    let config = RunConfig::new(tool, backend.describe()?, grid(), sample(), options.clone(), table, None);
    let mut store = RunStore::open(folder, &config, &[table], true)?;
    let engine =
        Engine { backend, options, decode: None, batch: 12, segment_rows: 64, stop: &AtomicBool::new(false) };
    engine.run(&[table], &mut store, &mut |_| ())?;
    let none = SelfTest { capabilities: backend.capabilities(), checks: Vec::new() };
    let finished = store.finish(&none)?;
    Ok((finished.rows, finished.summary))
}

/// Every file below a folder.
pub(crate) fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
