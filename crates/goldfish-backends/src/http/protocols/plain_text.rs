//! `/v1/completions` of plain text.

use goldfish_audit::backend::BackendError;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::completions::{self, MODELS, PATH, card};
use crate::http::probe::{Found, Kind, Probe};
use crate::http::response::{ResponseError, malformed};
use crate::http::text::{Text, TextAnswer, TextRequest, TextServer, check_reason, without};

pub(super) static KIND: Kind = Kind { protocol: "text", page: MODELS, detect };

fn detect(probe: &Probe<'_>) -> Result<Option<Found>, BackendError> {
    let Some(card) = card(probe)? else { return Ok(None) };
    let found = completions::describe(probe, &card)?;
    let server = PlainText { model: found.model.clone() };
    Ok(Some(Found { generator: Text::generator(server, probe.codec.as_ref()), ..found }))
}

pub(super) struct PlainText {
    pub(super) model: String,
}

impl TextServer for PlainText {
    fn path(&self) -> &'static str {
        PATH
    }

    fn body(&self, request: &TextRequest) -> Value {
        let mut body = json!({
            "model": self.model, "prompt": request.text, "max_tokens": request.tokens, "n": 1, "stream": false,
            "temperature": request.sampling.temperature, "top_p": request.sampling.top_p, "presence_penalty": 0.0, "frequency_penalty": 0.0,
        });
        if let Some(seed) = request.seed {
            body["seed"] = seed.into();
        }
        body
    }

    fn read(&self, answer: &[u8]) -> Result<TextAnswer, ResponseError> {
        #[derive(Deserialize)]
        struct Response {
            choices: Vec<Choice>,
            usage: Option<Usage>,
        }
        #[derive(Deserialize)]
        struct Choice {
            text: String,
            finish_reason: Option<String>,
        }
        #[derive(Deserialize)]
        struct Usage {
            prompt_tokens: Option<u64>,
        }
        let mut found: Response = serde_json::from_slice(answer).map_err(malformed)?;
        let (choice, more) = (found.choices.pop(), found.choices.len());
        let Some(choice) = choice.filter(|_| more == 0) else {
            return Err(ResponseError::transient(format!(
                "{more} answers came besides the one that was asked for"
            )));
        };
        check_reason(choice.finish_reason.as_deref(), &["length", "stop"])?;
        Ok(TextAnswer {
            text: choice.text,
            ids: None,
            prompt_tokens: found.usage.and_then(|usage| usage.prompt_tokens),
            refused: false,
            ended: choice.finish_reason.as_deref() == Some("stop"),
            kept: without(answer, &["id", "created", "timings"])?,
        })
    }
}
