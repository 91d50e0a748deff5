//! llama.cpp's `/completion`, by token ids.
//!
//! It has no log-probabilities of prompts (its `/v1/completions` ignores `echo`), so that continuations decide. Source:
//! `tools/server/README.md` of llama.cpp.

use goldfish_audit::backend::{Decoding, GenerateRequest, Generated};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::client::Fault;
use super::protocol::{self, Generator, in_order, malformed, sampling};
use super::vllm::whole;

/// The protocol; the server has one model.
pub(super) struct LlamaCpp;

#[derive(Deserialize)]
struct Answer {
    tokens: Option<Vec<u32>>,
    tokens_evaluated: Option<u64>,
    truncated: Option<bool>,
    stop_type: Option<String>,
}

impl Generator for LlamaCpp {
    fn path(&self) -> &str {
        "/completion"
    }

    fn body(&self, requests: &[GenerateRequest<'_>], decoding: &Decoding, seed: Option<u64>) -> Value {
        let (temperature, top_k) = sampling(decoding);
        let prompts: Vec<&[u32]> = requests.iter().map(|request| request.prompt).collect();
        let mut body = json!({
            "n_predict": requests.first().map_or(0, |request| request.tokens), "stream": false,
            "ignore_eos": true, "stop": [], "return_tokens": true, "cache_prompt": false,
            // No others, whatever the server was started with; and those neutral for servers that don't know the list.
            "samplers": ["top_k", "temperature"],
            "temperature": temperature, "top_k": top_k, "top_p": 1.0, "min_p": 0.0, "typical_p": 1.0, "mirostat": 0,
            "repeat_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
            "dry_multiplier": 0.0, "xtc_probability": 0.0, "dynatemp_range": 0.0,
        });
        body["prompt"] = match prompts.as_slice() {
            [one] => json!(one),
            several => json!(several),
        };
        if let Some(seed) = seed {
            body["seed"] = seed.into();
        }
        body
    }

    fn read(&self, answer: &[u8], requests: &[GenerateRequest<'_>]) -> Result<Vec<Generated>, Fault> {
        let parts: Vec<&RawValue> = if requests.len() == 1 && answer.trim_ascii_start().starts_with(b"{") {
            vec![serde_json::from_slice(answer).map_err(malformed)?]
        } else {
            in_order(serde_json::from_slice(answer).map_err(malformed)?, requests.len())?
        };
        let read = |(part, request): (&RawValue, &GenerateRequest<'_>)| {
            let answer: Answer = protocol::part(part)?;
            if answer.truncated == Some(true) {
                let tokens = request.prompt.len() + request.tokens;
                return Err(Fault::lasting(format!(
                    "the server cut a prompt; start it with a context of at least {tokens} tokens a slot"
                )));
            }
            let ids = answer
                .tokens
                .ok_or_else(|| Fault::lasting("the answer has no `tokens`; update the server"))?;
            let reason = answer.stop_type.as_deref();
            whole(ids.len(), request.tokens, reason)?;
            let (evaluated, exchange) = (answer.tokens_evaluated, Some(lasting(part)?));
            Ok(Generated { ids, evaluated, exchange, ..Generated::default() })
        };
        parts.into_iter().zip(requests).map(read).collect()
    }
}

/// An answer without what differs each time.
fn lasting(part: &RawValue) -> Result<String, Fault> {
    let mut answer: Map<String, Value> = protocol::part(part)?;
    for name in ["timings", "id_slot", "tokens_cached"] {
        answer.remove(name);
    }
    Ok(Value::Object(answer).to_string())
}
