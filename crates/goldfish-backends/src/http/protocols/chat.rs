//! `/v1/chat/completions`: a message that asks in words for the continuation of a text.
//!
//! The model sees the prefix within that message, and the message within the server's own template.

use goldfish_audit::backend::BackendError;
use goldfish_audit::prompt_template::PromptTemplate;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::http::completions::{self, MODELS, card};
use crate::http::probe::{Found, Kind, Probe};
use crate::http::response::{ResponseError, malformed, part};
use crate::http::text::{Text, TextAnswer, TextRequest, TextServer, check_reason, without};

pub(super) static KIND: Kind = Kind { protocol: "chat", page: MODELS, detect };

/// What a server is told whose model thinks first.
const REASONS: &str = "the model reasons before it answers, which is no part of the text and uses up its tokens; switch that off at the server";

fn detect(probe: &Probe<'_>) -> Result<Option<Found>, BackendError> {
    // Of all ways to ask a model this one shows least.
    if !probe.named {
        return Ok(None);
    }
    let Some(card) = card(probe)? else { return Ok(None) };
    let found = completions::describe(probe, &card)?;
    let template = probe.template.clone().unwrap_or_default();
    let server = Chat { model: found.model.clone(), template: template.clone() };
    let generator = Text::generator(server, probe.codec.as_ref());
    Ok(Some(Found { generator, template: Some(template), ..found }))
}

/// The protocol for one model of a server.
struct Chat {
    model: String,
    template: PromptTemplate,
}

#[derive(Deserialize)]
struct Response {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
    refusal: Option<String>,
    reasoning_content: Option<String>,
    reasoning: Option<String>,
}

impl Message {
    /// Whether there are thoughts in it, or beside it where it should have text.
    fn reasons(&self) -> bool {
        let text = self.content.as_deref().unwrap_or_default().trim_start();
        let beside = [&self.reasoning_content, &self.reasoning].into_iter().flatten();
        text.starts_with("<think>")
            || (text.is_empty() && beside.into_iter().any(|thoughts| !thoughts.is_empty()))
    }
}

impl TextServer for Chat {
    fn path(&self) -> &'static str {
        "/v1/chat/completions"
    }

    fn answers_in_messages(&self) -> bool {
        true
    }

    fn body(&self, request: &TextRequest) -> Value {
        let system = self.template.system().map(|text| json!({ "role": "system", "content": text }));
        let user = json!({ "role": "user", "content": self.template.fill(&request.text) });
        let messages: Vec<Value> = system.into_iter().chain([user]).collect();
        let mut body = json!({
            "model": self.model, "messages": messages, "max_tokens": request.tokens, "n": 1, "stream": false,
            "temperature": request.sampling.temperature, "top_p": request.sampling.top_p, "presence_penalty": 0.0, "frequency_penalty": 0.0,
        });
        if let Some(seed) = request.seed {
            body["seed"] = seed.into();
            // Not in the protocol, and refused by some: sent only where it is wanted.
            if request.sampling.top_k > 0 {
                body["top_k"] = request.sampling.top_k.into();
            }
        }
        body
    }

    fn read(&self, answer: &[u8]) -> Result<TextAnswer, ResponseError> {
        let raw: &RawValue = serde_json::from_slice(answer).map_err(malformed)?;
        let mut found: Response = part(raw)?;
        let (choice, more) = (found.choices.pop(), found.choices.len());
        let Some(Choice { message, finish_reason }) = choice.filter(|_| more == 0) else {
            let count = if more == 0 { 0 } else { more + 1 };
            return Err(ResponseError::transient(format!("{count} answers came instead of one")));
        };
        let reason = finish_reason.as_deref();
        check_reason(reason, &["length", "stop", "content_filter"])?;
        if message.reasons() {
            return Err(ResponseError::permanent(REASONS));
        }
        let refused =
            reason == Some("content_filter") || message.refusal.is_some_and(|text| !text.is_empty());
        let text = match message.content {
            Some(text) => text,
            None if refused => String::new(),
            None => return Err(ResponseError::permanent("the answer's message has no `content`")),
        };
        Ok(TextAnswer {
            text,
            ids: None,
            // Those of the templates are among them.
            prompt_tokens: None,
            ended: reason == Some("stop"),
            refused,
            kept: without(answer, &["id", "created", "timings", "usage"])?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(choices: Value) -> Result<TextAnswer, ResponseError> {
        let server = Chat { model: "m".into(), template: PromptTemplate::default() };
        server.read(json!({ "id": "chat-1", "choices": choices }).to_string().as_bytes())
    }

    fn one(message: Value, reason: &str) -> Result<TextAnswer, ResponseError> {
        read(json!([{ "index": 0, "message": message, "finish_reason": reason }]))
    }

    #[test]
    fn answers_and_refusals() {
        for (message, reason, text, ended, refused) in [
            (json!({ "content": "of wisdom" }), "length", "of wisdom", false, false),
            (json!({ "content": "of wisdom", "refusal": null }), "stop", "of wisdom", true, false),
            (json!({ "content": "", "refusal": "" }), "stop", "", true, false),
            (json!({ "content": null, "refusal": "I can't." }), "stop", "", true, true),
            (json!({ "content": "of" }), "content_filter", "of", false, true),
            (json!({ "content": null }), "content_filter", "", false, true),
            (json!({ "content": "of wisdom", "reasoning_content": "Hm." }), "stop", "of wisdom", true, false),
        ] {
            let found = one(message, reason).unwrap();
            assert_eq!((found.text.as_str(), found.ended, found.refused), (text, ended, refused));
            assert!(found.kept.contains("choices") && !found.kept.contains("chat-1"));
        }
    }

    #[test]
    fn answers_that_are_none() {
        let permanent = |found: Result<TextAnswer, ResponseError>| match found {
            Err(ResponseError::Permanent(reason)) => reason,
            _ => panic!("not a permanent error"),
        };
        assert!(permanent(one(json!({ "content": null }), "stop")).contains("no `content`"));
        assert!(permanent(one(json!({ "role": "assistant" }), "stop")).contains("no `content`"));
        assert!(permanent(read(json!([{ "text": "of", "finish_reason": "stop" }]))).contains("message"));
        assert!(
            permanent(read(json!([{ "message": { "content": [] }, "finish_reason": "stop" }])))
                .contains("fields")
        );
        for thinking in [
            json!({ "content": "<think>Hm" }),
            json!({ "content": "", "reasoning_content": "Hm" }),
            json!({ "content": null, "reasoning": "Hm" }),
        ] {
            assert!(permanent(one(thinking, "length")).contains("switch that off"));
        }
        let two = json!({ "message": { "content": "of" }, "finish_reason": "stop" });
        for (choices, words) in [
            (json!([]), "0 answers came"),
            (json!([two, two]), "2 answers came"),
            (json!([{ "message": { "content": "of" }, "finish_reason": "tool_calls" }]), "tool_calls"),
            (json!([{ "message": { "content": "of" }, "finish_reason": null }]), "None"),
        ] {
            let Err(ResponseError::Transient(reason)) = read(choices) else { panic!("{words}") };
            assert!(reason.contains(words), "{reason}");
        }
    }

    #[test]
    fn the_request_has_every_setting() {
        let template =
            PromptTemplate::new(Some("Go on: {prefix}".into()), Some("You recite.".into())).unwrap();
        let server = Chat { model: "m".into(), template };
        let sampling = crate::http::protocol::Sampling { temperature: 0.0, top_k: 0, top_p: 1.0 };
        let request =
            TextRequest { text: "it was".into(), prompt_tokens: 2, tokens: 9, sampling, seed: None };
        let greedy = json!({
            "model": "m", "n": 1, "stream": false, "temperature": 0.0, "top_p": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
            "max_tokens": 9, "messages": [{ "role": "system", "content": "You recite." }, { "role": "user", "content": "Go on: it was" }],
        });
        assert_eq!(server.body(&request), greedy);
        let sampling = crate::http::protocol::Sampling { temperature: 0.5, top_k: 40, top_p: 0.9 };
        let drawn = server.body(&TextRequest { sampling, seed: Some(7), ..request });
        assert_eq!(
            (&drawn["seed"], &drawn["top_k"], &drawn["temperature"]),
            (&json!(7), &json!(40), &json!(0.5))
        );
    }
}
