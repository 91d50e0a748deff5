//! Answers questions about checkpoints, one JSON object a line, for the tests against Python peers.
//!
//! `{"model": DIR, "adapter": DIR or null, "score": [[ids]], "from": 1}` is answered with log-probabilities, ranks and greedy tokens;
//! `"generate": [[ids]], "tokens": 8` instead of `score` with continuations; neither with the model's description. With `"memory"` the
//! model has a memory of blocks. An error is `{"error": text}`.

#![allow(clippy::print_stdout, reason = "an example program")]

use std::io::{self, BufRead};
use std::path::PathBuf;

use goldfish_audit::backend::{Backend, BlockMemory, Decoding, GenerateRequest, ScoreRequest, Wants};
use goldfish_backends::local::Checkpoint;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    model: PathBuf,
    adapter: Option<PathBuf>,
    memory: Option<BlockMemory>,
    score: Option<Vec<Vec<u32>>>,
    from: Option<usize>,
    generate: Option<Vec<Vec<u32>>>,
    tokens: Option<usize>,
}

fn answer(question: &Question, model: &Checkpoint) -> Result<Value, Box<dyn std::error::Error>> {
    if let Some(sequences) = &question.score {
        let from = question.from.unwrap_or(1);
        let requests: Vec<_> = sequences.iter().map(|ids| ScoreRequest { ids, from }).collect();
        let scored = model.score(&requests, &Wants::default())?;
        let each = |f: &dyn Fn(&goldfish_audit::backend::TokenScore) -> Value| -> Vec<Vec<Value>> {
            scored.iter().map(|scored| scored.tokens.iter().map(f).collect()).collect()
        };
        return Ok(json!({
            "log_probs": each(&|token| json!(token.log_prob)),
            "ranks": each(&|token| json!(token.rank)),
            "greedy": each(&|token| json!(token.greedy)),
        }));
    }
    if let Some(prompts) = &question.generate {
        let tokens = question.tokens.unwrap_or(8);
        let requests: Vec<_> = prompts.iter().map(|prompt| GenerateRequest { prompt, tokens }).collect();
        let continued = model.generate(&requests, &Decoding::Greedy)?;
        return Ok(
            json!({ "ids": continued.into_iter().map(|generated| generated.ids).collect::<Vec<_>>() }),
        );
    }
    Ok(serde_json::to_value(model.describe()?)?)
}

/// What a model is opened with: its folder, adapter and memory.
type Key = (PathBuf, Option<PathBuf>, Option<BlockMemory>);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut open: Option<(Key, Checkpoint)> = None;
    for line in io::stdin().lock().lines() {
        let question: Question = serde_json::from_str(&line?)?;
        let key: Key = (question.model.clone(), question.adapter.clone(), question.memory);
        if open.as_ref().is_none_or(|(known, _)| *known != key) {
            let model = Checkpoint::open(&key.0, key.1.as_deref());
            let model = model.and_then(|model| match key.2 {
                Some(memory) => model.with_memory(memory),
                None => Ok(model),
            });
            match model {
                Ok(model) => open = Some((key, model)),
                Err(error) => {
                    println!("{}", json!({ "error": error.to_string() }));
                    continue;
                }
            }
        }
        let Some((_, model)) = &open else { continue };
        let answered = answer(&question, model).unwrap_or_else(|error| json!({ "error": error.to_string() }));
        println!("{answered}");
    }
    Ok(())
}
