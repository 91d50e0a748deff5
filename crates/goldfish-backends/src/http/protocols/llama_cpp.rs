//! llama.cpp's `/completion`, by token ids.
//!
//! It has no log-probabilities of prompts (its `/v1/completions` ignores `echo`), so that continuations decide. Source:
//! `tools/server/README.md` of llama.cpp.

use goldfish_audit::backend::{BackendError, Decoding, GenerateRequest, Generated};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::http::probe::{Found, Kind, Probe, text};
use crate::http::protocol::{Generator, Sampling};
use crate::http::response::{ResponseError, check_length, in_order, malformed, part};
use crate::http::tokenizer::TokenizerEndpoints;

pub(super) static KIND: Kind = Kind { protocol: "llama-cpp", page: "/props", detect };

fn detect(probe: &Probe<'_>) -> Result<Option<Found>, BackendError> {
    let page = probe.page(KIND.page)?;
    let Some(props) = page.filter(|props| props.get("default_generation_settings").is_some()) else {
        return Ok(None);
    };
    let models = probe.page("/v1/models")?.unwrap_or_default();
    let (card, path) = (&models["data"][0], &props["model_path"]);
    let meta = &card["meta"];
    let file = path.as_str().and_then(|path| path.rsplit(['/', '\\']).next());
    let name = file.map_or_else(|| text(&card["id"]), str::to_owned);
    let trained = meta["n_ctx_train"].as_u64();
    let slot = props["default_generation_settings"]["n_ctx"].as_u64();
    Ok(Some(Found {
        facts: vec![
            ("model", name.clone().into()),
            ("n_params", meta["n_params"].clone()),
            ("size", meta["size"].clone()),
            ("n_vocab", meta["n_vocab"].clone()),
            ("n_embd", meta["n_embd"].clone()),
            ("build", props["build_info"].clone()),
        ],
        model: name,
        vocab_size: meta["n_vocab"].as_u64().and_then(|size| u32::try_from(size).ok()),
        context_length: slot.into_iter().chain(trained).filter(|context| *context > 0).min(),
        generator: Some(Box::new(LlamaCpp)),
        tokenizer: Some(TokenizerEndpoints {
            text: "content",
            both: json!({}),
            encode: json!({ "add_special": false, "parse_special": true }),
        }),
        ..Found::default()
    }))
}

/// The protocol; the server has one model.
struct LlamaCpp;

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
        let Sampling { temperature, top_k, top_p } = Sampling::new(decoding);
        let prompts: Vec<&[u32]> = requests.iter().map(|request| request.prompt).collect();
        let mut body = json!({
            "n_predict": requests.first().map_or(0, |request| request.tokens), "stream": false,
            "ignore_eos": true, "stop": [], "return_tokens": true, "cache_prompt": false,
            // No others, whatever the server was started with; and those neutral for servers that don't know the list.
            "samplers": ["top_k", "temperature", "top_p"],
            "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": 0.0, "typical_p": 1.0, "mirostat": 0,
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

    fn read(&self, answer: &[u8], requests: &[GenerateRequest<'_>]) -> Result<Vec<Generated>, ResponseError> {
        let parts: Vec<&RawValue> = if requests.len() == 1 && answer.trim_ascii_start().starts_with(b"{") {
            vec![serde_json::from_slice(answer).map_err(malformed)?]
        } else {
            in_order(serde_json::from_slice(answer).map_err(malformed)?, requests.len())?
        };
        let read = |(raw, request): (&RawValue, &GenerateRequest<'_>)| {
            let answer: Answer = part(raw)?;
            if answer.truncated == Some(true) {
                let tokens = request.prompt.len() + request.tokens;
                return Err(ResponseError::permanent(format!(
                    "the server cut a prompt; start it with a context of at least {tokens} tokens a slot"
                )));
            }
            let ids = answer
                .tokens
                .ok_or_else(|| ResponseError::permanent("the answer has no `tokens`; update the server"))?;
            let reason = answer.stop_type.as_deref();
            check_length(ids.len(), request.tokens, reason)?;
            let (evaluated, exchange) = (answer.tokens_evaluated, Some(stable(raw)?));
            Ok(Generated { ids, evaluated, exchange, ..Generated::default() })
        };
        parts.into_iter().zip(requests).map(read).collect()
    }
}

/// An answer without what differs each time.
fn stable(raw: &RawValue) -> Result<String, ResponseError> {
    let mut answer: Map<String, Value> = part(raw)?;
    for name in ["timings", "id_slot", "tokens_cached"] {
        answer.remove(name);
    }
    Ok(Value::Object(answer).to_string())
}
