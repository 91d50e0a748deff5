//! Makes the run folder of an audit of a model that recites some documents, for the tests of pages:
//! `fake_run OUTPUT CORPUS [--control CORPUS] [--recites PERCENT] [--starts N] [--stride N] [--tokenizer FILE]
//! [--redact] [--separator-ids ID,ID]`, which asks each probe with the passage in the prompt too.
//!
//! A corpus is a folder of `goldfish mask` or a file with columns `id` and `input_ids`; both have a column `source`.
//! The model knows what follows any four tokens of the documents that it recites, except dropped tokens.

#![allow(clippy::unwrap_used, reason = "an example")]

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use goldfish_audit::backend::{Backend, SamplingScheme};
use goldfish_audit::config::{DocumentsOrigin, Origin, RunConfig};
use goldfish_audit::control::{Contamination, match_controls};
use goldfish_audit::documents::{DocumentOptions, Documents};
use goldfish_audit::engine::Engine;
use goldfish_audit::fake::FakeModel;
use goldfish_audit::options::{AuditOptions, Extraction};
use goldfish_audit::probe::{Allocation, Grid, ProbeTable, Sample};
use goldfish_audit::selftest::{SelfTestOptions, self_test};
use goldfish_audit::store::RunStore;
use goldfish_shard::ToolEntry;
use goldfish_tokenize::Tokenizer;

/// Tokens that the model looks at.
const CONTEXT: usize = 4;

#[derive(Default)]
struct Arguments {
    folder: PathBuf,
    corpus: String,
    control: Option<String>,
    recites: u64,
    starts: Option<u64>,
    stride: Option<u64>,
    tokenizer: Option<PathBuf>,
    redact: bool,
    separator: Option<Vec<u32>>,
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut given = std::env::args().skip(1);
    let (folder, corpus) = given.next().zip(given.next()).ok_or("fake_run OUTPUT CORPUS [OPTIONS]")?;
    let mut arguments =
        Arguments { folder: folder.into(), corpus, recites: 30, stride: Some(40), ..Arguments::default() };
    while let Some(option) = given.next() {
        let mut value = || given.next().ok_or(format!("{option} needs a value"));
        match option.as_str() {
            "--control" => arguments.control = Some(value()?),
            "--recites" => arguments.recites = value()?.parse()?,
            "--starts" => arguments.starts = Some(value()?.parse()?),
            "--stride" => arguments.stride = Some(value()?.parse()?),
            "--tokenizer" => arguments.tokenizer = Some(value()?.into()),
            "--redact" => arguments.redact = true,
            "--separator-ids" => {
                let ids: Result<_, _> = value()?.split(',').map(str::parse).collect();
                arguments.separator = Some(ids?);
            }
            other => return Err(format!("no option {other}").into()),
        }
    }
    Ok(arguments)
}

/// What follows so many tokens.
type Known = HashMap<Vec<u32>, u32>;

/// What the model learnt, and its number of ids.
fn learnt(documents: &Documents, percent: u64) -> Result<(Known, u32), Box<dyn Error>> {
    let mut known = Known::new();
    let mut largest = 0;
    documents.for_each(&mut |document| {
        largest = document.ids.iter().copied().fold(largest, u32::max);
        if document.number * 37 % 100 < percent {
            for (at, window) in document.ids.windows(CONTEXT + 1).enumerate() {
                if document.mask.is_none_or(|mask| mask[at + CONTEXT] == 1) {
                    known.entry(window[..CONTEXT].to_vec()).or_insert(window[CONTEXT]);
                }
            }
        }
        Ok(())
    })?;
    Ok((known, largest + 1))
}

fn main() -> Result<(), Box<dyn Error>> {
    let given = arguments()?;
    let options = DocumentOptions {
        id_column: Some("id".into()),
        by: Some("source".into()),
        ..DocumentOptions::default()
    };
    let corpus = Documents::find(std::slice::from_ref(&given.corpus), options.clone())?;
    let tokenizer = given.tokenizer.as_deref().map(Tokenizer::from_file).transpose()?;
    let text =
        |ids: &[u32]| tokenizer.as_ref().and_then(|tokenizer| tokenizer.decode(ids).ok()).unwrap_or_default();
    let decode = tokenizer.is_some().then_some(&text as &dyn Fn(&[u32]) -> String);
    let grid = Grid::new(vec![0], given.stride, vec![8, 16], vec![16])?;
    let sample = Sample { starts: given.starts, seed: 3, allocation: Allocation::Proportional };
    let audited = ProbeTable::sample(&corpus, &grid, &sample)?;
    let contamination = Contamination { tokens: 24, characters: 96 };
    let control = match &given.control {
        Some(path) => {
            let held_out = Documents::find(std::slice::from_ref(path), options)?;
            Some(match_controls(&audited, &corpus, &held_out, &grid, 3, contamination, decode)?)
        }
        None => None,
    };
    let (known, vocab_size) = learnt(&corpus, given.recites)?;
    let tables = std::iter::once(&audited).chain(control.as_ref().map(|(table, _)| table));
    let largest = tables.clone().flat_map(|table| &table.starts).flat_map(|start| &start.ids).max();
    let vocab_size = vocab_size.max(largest.map_or(0, |id| id + 1));
    // What it doesn't know it guesses, each token in a way of its own, so that losses are spread.
    let model = FakeModel::new(vocab_size, move |tokens| {
        let mut logits = vec![0.0; vocab_size as usize];
        let last = tokens.last().copied().unwrap_or(0);
        for step in 1..6 {
            logits[(last.wrapping_mul(7) + step * 13) as usize % vocab_size as usize] = 3.0 / step as f32;
        }
        let window = tokens.len().checked_sub(CONTEXT).map(|start| &tokens[start..]);
        if let Some(token) = window.and_then(|window| known.get(window)) {
            logits[*token as usize] = 9.0 + (last % 5) as f32;
        }
        logits
    });
    let scheme = SamplingScheme { temperature: 1.0, top_k: Some(40), top_p: None };
    let options = AuditOptions {
        extraction: Some(Extraction { scheme, p: 0.5, near: None }),
        text: decode.is_some(),
        redact: given.redact,
        ..AuditOptions::default()
    };
    let tool = ToolEntry { name: "goldfish".into(), version: env!("CARGO_PKG_VERSION").into() };
    let mut described = model.describe()?;
    described.name = format!("fake-{}", given.recites);
    let matched = control.as_ref().map(|(table, counts)| (table, counts.clone(), contamination));
    let mut config = RunConfig::new(tool, described, grid, sample, options.clone(), &audited, matched);
    let in_prompt: Vec<ProbeTable> = match &given.separator {
        Some(separator) => {
            config = config.with_in_context(separator.clone());
            tables.clone().map(|table| table.in_prompt(separator)).collect()
        }
        None => Vec::new(),
    };
    let tables: Vec<&ProbeTable> = tables.chain(&in_prompt).collect();
    let mut store = RunStore::open(&given.folder, &config, &tables, false)?;
    let origin = |path: &String| DocumentsOrigin {
        path: path.clone(),
        manifest: None,
        rule: None,
        tokenized_by: None,
    };
    store.origin(&Origin {
        command: std::env::args().collect::<Vec<_>>().join(" "),
        corpus: vec![origin(&given.corpus)],
        control: given.control.iter().map(origin).collect(),
        tokenizer: tokenizer.as_ref().map(|tokenizer| tokenizer.sha256().to_owned()),
    })?;
    let sequences: Vec<&[u32]> = audited.starts.iter().take(2).map(|start| start.ids.as_slice()).collect();
    let test = self_test(
        &model,
        &sequences,
        &SelfTestOptions { bos: None, eos: None, scheme: Some(scheme), continuations: true },
    )?;
    let test = store.self_test(test)?;
    let engine = Engine {
        backend: &model,
        options: &options,
        decode,
        batch: 64,
        segment_rows: 20_000,
        stop: &AtomicBool::new(false),
    };
    engine.run(&tables, &mut store, &mut |_| ())?;
    store.finish(&test)?;
    Ok(())
}
