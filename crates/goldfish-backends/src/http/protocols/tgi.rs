//! Text Generation Inference's `/generate`.

use goldfish_audit::backend::BackendError;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::probe::{Found, Kind, Probe, text};
use crate::http::response::{ResponseError, malformed};
use crate::http::text::{Text, TextAnswer, TextRequest, TextServer, check_reason, without};

pub(super) static KIND: Kind = Kind { protocol: "text", page: "/info", detect };

fn detect(probe: &Probe<'_>) -> Result<Option<Found>, BackendError> {
    let info = probe.page(KIND.page)?.filter(|info| info.get("model_id").is_some());
    Ok(info.map(|info| {
        let fact = |name: &'static str| (name, info[name].clone());
        Found {
            model: text(&info["model_id"]),
            facts: ["model_id", "model_sha", "model_dtype", "version"].map(fact).into(),
            context_length: info["max_total_tokens"].as_u64(),
            generator: Text::generator(Tgi, probe.codec.as_ref()),
            ..Found::default()
        }
    }))
}

struct Tgi;

impl TextServer for Tgi {
    fn path(&self) -> &'static str {
        "/generate"
    }

    fn body(&self, request: &TextRequest) -> Value {
        let mut parameters = json!({
            "max_new_tokens": request.tokens, "do_sample": false, "details": true, "decoder_input_details": true,
            "return_full_text": false, "repetition_penalty": 1.0, "frequency_penalty": 0.0, "stop": [],
        });
        if let Some(seed) = request.seed {
            parameters["do_sample"] = true.into();
            parameters["temperature"] = request.sampling.temperature.into();
            parameters["seed"] = seed.into();
            if request.sampling.top_k > 0 {
                parameters["top_k"] = request.sampling.top_k.into();
            }
            // It refuses 1, which is what it does without.
            if request.sampling.top_p < 1.0 {
                parameters["top_p"] = request.sampling.top_p.into();
            }
        }
        json!({ "inputs": request.text, "parameters": parameters })
    }

    fn read(&self, answer: &[u8]) -> Result<TextAnswer, ResponseError> {
        #[derive(Deserialize)]
        struct Response {
            generated_text: String,
            details: Option<Details>,
        }
        #[derive(Deserialize)]
        struct Details {
            finish_reason: String,
            #[serde(default)]
            prefill: Vec<Token>,
            tokens: Vec<Token>,
        }
        #[derive(Deserialize)]
        struct Token {
            id: u32,
        }
        let found: Response = serde_json::from_slice(answer).map_err(malformed)?;
        let details = found.details.ok_or_else(|| ResponseError::permanent("the answer has no `details`"))?;
        check_reason(Some(&details.finish_reason), &["length", "eos_token", "stop_sequence"])?;
        Ok(TextAnswer {
            text: found.generated_text,
            ids: Some(details.tokens.iter().map(|token| token.id).collect()),
            // Empty where the server was built without it.
            prompt_tokens: Some(details.prefill.len() as u64).filter(|tokens| *tokens > 0),
            refused: false,
            ended: details.finish_reason != "length",
            kept: without(answer, &[])?,
        })
    }
}
