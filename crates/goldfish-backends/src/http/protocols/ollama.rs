//! Ollama's `/api/generate`, raw.

use goldfish_audit::backend::BackendError;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::probe::{Found, Kind, Probe, text};
use crate::http::protocol::Sampling;
use crate::http::response::{ResponseError, malformed};
use crate::http::text::{Text, TextAnswer, TextRequest, TextServer, check_reason, without};

pub(super) static KIND: Kind = Kind { protocol: "text", page: "/api/version", detect };

fn detect(probe: &Probe<'_>) -> Result<Option<Found>, BackendError> {
    let page = probe.page(KIND.page)?;
    let Some(version) = page.and_then(|page| page.get("version").cloned()) else { return Ok(None) };
    let tags = probe.page("/api/tags")?.unwrap_or_default();
    let cards: Vec<Value> = tags["models"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|card| json!({ "id": card["name"], "digest": card["digest"] }))
        .collect();
    let card = probe.choose(&json!({ "data": cards }))?;
    let shown = probe.client.look("/api/show", Some(&json!({ "model": card["id"] })))?.unwrap_or_default();
    let info = shown["model_info"].as_object();
    let context = info.and_then(|info| info.iter().find(|(name, _)| name.ends_with(".context_length")));
    let model = text(&card["id"]);
    Ok(Some(Found {
        facts: vec![
            ("model", card["id"].clone()),
            ("digest", card["digest"].clone()),
            ("quantization", shown["details"]["quantization_level"].clone()),
            ("ollama", version),
        ],
        context_length: context.and_then(|(_, length)| length.as_u64()),
        generator: Text::generator(Ollama { model: model.clone() }, probe.codec.as_ref()),
        model,
        ..Found::default()
    }))
}

struct Ollama {
    model: String,
}

impl TextServer for Ollama {
    fn path(&self) -> &'static str {
        "/api/generate"
    }

    fn body(&self, request: &TextRequest) -> Value {
        let TextRequest { text, prompt_tokens, tokens, sampling, seed } = request;
        let Sampling { temperature, top_k, top_p } = sampling;
        json!({
            "model": self.model, "prompt": text, "raw": true, "stream": false,
            "options": {
                "num_predict": tokens, "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": 0.0,
                "repeat_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "seed": seed.unwrap_or(0),
                // Without it a long prompt loses its start. Few values, since the model is reloaded for each.
                "num_ctx": (prompt_tokens + tokens + 1).next_power_of_two().max(4096),
            },
        })
    }

    fn read(&self, answer: &[u8]) -> Result<TextAnswer, ResponseError> {
        #[derive(Deserialize)]
        struct Response {
            response: String,
            done: bool,
            done_reason: Option<String>,
            prompt_eval_count: Option<u64>,
        }
        let found: Response = serde_json::from_slice(answer).map_err(malformed)?;
        if !found.done {
            return Err(ResponseError::transient("the continuation is not done"));
        }
        check_reason(found.done_reason.as_deref(), &["length", "stop"])?;
        let times = [
            "created_at",
            "context",
            "total_duration",
            "load_duration",
            "prompt_eval_duration",
            "eval_duration",
        ];
        Ok(TextAnswer {
            text: found.response,
            ids: None,
            prompt_tokens: found.prompt_eval_count,
            refused: false,
            ended: found.done_reason.as_deref() == Some("stop"),
            kept: without(answer, &times)?,
        })
    }
}
