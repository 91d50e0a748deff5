//! Asks a server, for the tests against real ones: JSON lines in, JSON lines out.
//!
//! `ask URL [--protocol NAME] [--characters TEXT --first ID]`; the key comes from the environment. The first line out describes the
//! model. With `--characters`, text-only servers are read with a tokenizer that has a token for each of them from id ID on, and for
//! each other byte the token 3 + byte.

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use goldfish_audit::backend::{Backend, Decoding, GenerateRequest, ScoreRequest, Wants};
use goldfish_audit::config::RunConfig;
use goldfish_audit::documents::{DocumentOptions, Documents};
use goldfish_audit::engine::Engine;
use goldfish_audit::options::AuditOptions;
use goldfish_audit::options::Decide;
use goldfish_audit::probe::{Allocation, Grid, ProbeTable, Sample};
use goldfish_audit::read_results;
use goldfish_audit::selftest::{SelfTest, SelfTestOptions, self_test};
use goldfish_audit::store::RunStore;
use goldfish_backends::http::{ApiKey, Protocol, Server, ServerOptions, TextCodec};
use goldfish_shard::ToolEntry;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Question {
    Generate(Vec<Prompt>),
    Score(Vec<Vec<u32>>),
    SelfTest { sequences: Vec<Vec<u32>>, bos: Option<u32>, eos: Option<u32> },
    Audit { documents: String, output: PathBuf, prefix: u32, suffix: u32, decide: Decide },
}

#[derive(Deserialize)]
struct Prompt {
    prompt: Vec<u32>,
    tokens: usize,
}

/// One token a character.
struct Characters {
    characters: Vec<char>,
    first: u32,
}

impl TextCodec for Characters {
    fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        for character in text.chars() {
            match self.characters.iter().position(|own| *own == character) {
                Some(index) => ids.push(self.first + index as u32),
                None => ids.extend(character.to_string().bytes().map(|byte| 3 + u32::from(byte))),
            }
        }
        ids
    }

    fn decode(&self, ids: &[u32]) -> String {
        let mut bytes = Vec::new();
        for id in ids {
            match id.checked_sub(self.first).and_then(|index| self.characters.get(index as usize)) {
                Some(character) => bytes.extend(character.to_string().bytes()),
                None => bytes.extend(id.checked_sub(3).and_then(|byte| u8::try_from(byte).ok())),
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("the first argument is the server's address")?;
    let mut options = ServerOptions { key: ApiKey::from_environment()?, ..ServerOptions::default() };
    let (mut characters, mut first) = (None, 0);
    while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
        match name.as_str() {
            "--protocol" => options.protocol = Some(value.parse::<Protocol>()?),
            "--characters" => characters = Some(value.chars().collect()),
            "--first" => first = value.parse()?,
            _ => return Err(format!("unknown option {name}").into()),
        }
    }
    options.codec = characters.map(|characters| {
        let codec: Box<dyn TextCodec> = Box::new(Characters { characters, first });
        codec
    });
    let backend = Server::connect(&url, options)?;
    let mut out = std::io::stdout();
    let (model, can) = (backend.describe()?, backend.capabilities());
    writeln!(out, "{}", json!({ "model": model, "capabilities": can, "notes": backend.notes() }))?;
    for line in std::io::stdin().lock().lines() {
        let found = answer(&backend, serde_json::from_str(&line?)?);
        writeln!(out, "{}", found.unwrap_or_else(|error| json!({ "error": error.to_string() })))?;
    }
    Ok(())
}

fn answer(backend: &Server, question: Question) -> Result<Value, Box<dyn Error>> {
    match question {
        Question::Generate(prompts) => {
            let requests: Vec<_> = prompts
                .iter()
                .map(|asked| GenerateRequest { prompt: &asked.prompt, tokens: asked.tokens })
                .collect();
            let generated = backend.generate(&requests, &Decoding::Greedy)?;
            let line = |one: &goldfish_audit::backend::Generated| {
                let caveats: Vec<_> = one.caveats.iter().map(|caveat| caveat.name()).collect();
                json!({ "ids": one.ids, "evaluated": one.evaluated, "caveats": caveats, "exchange": one.exchange })
            };
            Ok(generated.iter().map(line).collect())
        }
        Question::Score(sequences) => {
            let requests: Vec<_> = sequences.iter().map(|ids| ScoreRequest { ids, from: 1 }).collect();
            let scored = backend.score(&requests, &Wants::default())?;
            let token = |token: &goldfish_audit::backend::TokenScore| {
                json!([token.log_prob, token.rank, token.greedy])
            };
            Ok(scored.iter().map(|one| one.tokens.iter().map(token).collect::<Value>()).collect())
        }
        Question::SelfTest { sequences, bos, eos } => {
            let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
            let found = self_test(
                backend,
                &sequences,
                &SelfTestOptions { bos, eos, scheme: None, continuations: true },
            )?;
            let verdict = found.verdict("the server").map_err(|error| error.to_string());
            Ok(json!({ "checks": found.checks, "verdict": verdict.as_ref().ok(), "refusal": verdict.err() }))
        }
        Question::Audit { documents, output, prefix, suffix, decide } => {
            audit(backend, &documents, &output, Grid::new(vec![0], None, vec![prefix], vec![suffix])?, decide)
        }
    }
}

/// A complete run; its results.
fn audit(
    backend: &dyn Backend,
    documents: &str,
    output: &std::path::Path,
    grid: Grid,
    decide: Decide,
) -> Result<Value, Box<dyn Error>> {
    let found = DocumentOptions { id_column: Some("id".into()), ..DocumentOptions::default() };
    let documents = Documents::find(&[documents.to_owned()], found)?;
    let sample = Sample { starts: None, seed: 0, allocation: Allocation::Proportional };
    let table = ProbeTable::sample(&documents, &grid, &sample)?;
    let options = AuditOptions { decide, ..AuditOptions::default() };
    let tool = ToolEntry { name: "goldfish".into(), version: env!("CARGO_PKG_VERSION").into() };
    let model = backend.describe()?;
    let config = RunConfig::new(tool, model, grid, sample, options.clone(), &table, None);
    let mut store = RunStore::open(output, &config, &[&table], false)?;
    let engine = Engine {
        backend,
        options: &options,
        decode: None,
        batch: 64,
        segment_rows: 1024,
        stop: &AtomicBool::new(false),
    };
    engine.run(&[&table], &mut store, &mut |_| ())?;
    let none = SelfTest { capabilities: backend.capabilities(), checks: Vec::new() };
    store.finish(&none)?;
    let row = |row: &goldfish_audit::ResultRow| {
        json!({ "doc_id": row.doc_id, "exact_match": row.exact_match, "match_length": row.match_length, "rouge_l": row.scores["rouge_l"],
            "generated": row.generated, "caveats": row.caveats })
    };
    Ok(read_results(&output.join("results.parquet"))?.iter().map(row).collect())
}
