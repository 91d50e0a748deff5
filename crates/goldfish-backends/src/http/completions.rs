//! Servers with `/v1/completions`.

use goldfish_audit::backend::BackendError;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::probe::{Found, Probe, text};
use super::response::{ResponseError, in_order, malformed};

pub(super) const PATH: &str = "/v1/completions";

/// The list of models.
pub(super) const MODELS: &str = "/v1/models";

/// An answer.
#[derive(Deserialize)]
pub(super) struct Completion<'a> {
    #[serde(borrow)]
    choices: Vec<&'a RawValue>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<u64>,
}

impl<'a> Completion<'a> {
    /// The choices in the order of the prompts, and the number of prompt tokens over all of them.
    pub(super) fn read(
        answer: &'a [u8],
        prompts: usize,
    ) -> Result<(Vec<&'a RawValue>, Option<u64>), ResponseError> {
        let completion: Self = serde_json::from_slice(answer).map_err(malformed)?;
        Ok((in_order(completion.choices, prompts)?, completion.usage.and_then(|usage| usage.prompt_tokens)))
    }
}

/// The entry of the model among those that the server lists.
pub(super) fn card(probe: &Probe<'_>) -> Result<Option<Value>, BackendError> {
    // A server whose protocol and model are named needs no list.
    let named = probe.model.filter(|_| probe.named).map(|model| json!({ "data": [{ "id": model }] }));
    probe.page(MODELS)?.or(named).map(|models| probe.choose(&models)).transpose()
}

/// What the entry says about the model.
pub(super) fn describe(probe: &Probe<'_>, card: &Value) -> Result<Found, BackendError> {
    let version = probe.page("/version")?.and_then(|page| page.get("version").cloned());
    Ok(Found {
        model: text(&card["id"]),
        facts: vec![
            ("id", card["id"].clone()),
            ("root", card["root"].clone()),
            ("parent", card["parent"].clone()),
            ("max_model_len", card["max_model_len"].clone()),
            ("version", version.unwrap_or_default()),
        ],
        // A token is always generated after what is scored.
        context_length: card["max_model_len"].as_u64().map(|longest| longest.saturating_sub(1)),
        ..Found::default()
    })
}
