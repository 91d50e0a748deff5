//! A slow audit of a fake model, for the test that kills it: `audit_run FOLDER MILLISECONDS_A_CALL`.

use std::error::Error;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use goldfish_audit::backend::{Backend, BackendError, Decoding, Wants};
use goldfish_audit::backend::{
    Capabilities, GenerateRequest, Generated, ModelDescription, ScoreRequest, Scored,
};
use goldfish_audit::config::RunConfig;
use goldfish_audit::documents::{DocumentOptions, Documents};
use goldfish_audit::engine::Engine;
use goldfish_audit::fake::FakeModel;
use goldfish_audit::options::AuditOptions;
use goldfish_audit::probe::{Allocation, Grid, ProbeTable, Sample};
use goldfish_audit::selftest::SelfTest;
use goldfish_audit::store::RunStore;
use goldfish_shard::ToolEntry;

/// Sleeps before every answer.
struct Slow(FakeModel, Duration);

impl Backend for Slow {
    fn describe(&self) -> Result<ModelDescription, BackendError> {
        self.0.describe()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn score(&self, requests: &[ScoreRequest<'_>], wants: &Wants) -> Result<Vec<Scored>, BackendError> {
        std::thread::sleep(self.1);
        self.0.score(requests, wants)
    }

    fn generate(
        &self,
        requests: &[GenerateRequest<'_>],
        how: &Decoding,
    ) -> Result<Vec<Generated>, BackendError> {
        std::thread::sleep(self.1);
        self.0.generate(requests, how)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (folder, pause) = arguments.next().zip(arguments.next()).ok_or("audit_run FOLDER MILLISECONDS")?;
    let ids = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/formats/ids.jsonl");
    let documents = Documents::find(&[ids.into()], DocumentOptions::default())?;
    let grid = Grid::new(vec![0], Some(40), vec![8, 16], vec![16])?;
    let sample = Sample { starts: Some(120), seed: 3, allocation: Allocation::Proportional };
    let table = ProbeTable::sample(&documents, &grid, &sample)?;
    let known: Vec<Vec<u32>> = table.starts.iter().step_by(2).map(|start| start.ids.clone()).collect();
    let largest = table.starts.iter().flat_map(|start| &start.ids).max().copied().unwrap_or(0);
    let model = Slow(FakeModel::reciting(largest + 1, &known, 4, 9.0), Duration::from_millis(pause.parse()?));
    let options = AuditOptions::default();
    let tool = ToolEntry { name: "goldfish".into(), version: "0".into() };
    let config = RunConfig::new(tool, model.describe()?, grid, sample, options.clone(), &table, None);
    let mut store = RunStore::open(Path::new(&folder), &config, &[&table], true)?;
    let engine = Engine {
        backend: &model,
        options: &options,
        decode: None,
        batch: 4,
        segment_rows: 8,
        stop: &AtomicBool::new(false),
    };
    engine.run(&[&table], &mut store, &mut |_| ())?;
    let self_test = store.self_test(SelfTest { capabilities: model.capabilities(), checks: Vec::new() })?;
    store.finish(&self_test)?;
    Ok(())
}
