//! How a protocol asks for scores and continuations.

use goldfish_audit::backend::{Decoding, GenerateRequest, Generated, ScoreRequest, Scored, Wants};
use serde_json::{Value, json};

use super::response::ResponseError;
use super::retry::mix;

/// Most bytes of an answer that one exchange keeps.
pub const MAX_EXCHANGE_BYTES: usize = 256 << 10;

/// How scores are asked for and the answer is read: one for each request and in their order. `exchange` is the server's
/// own text about that sequence.
pub(super) trait Scorer: Send + Sync {
    /// Where requests go.
    fn path(&self) -> &str;

    /// A request.
    fn body(&self, requests: &[ScoreRequest<'_>], wants: &Wants) -> Value;

    /// The answer to it.
    fn read(
        &self,
        answer: &[u8],
        requests: &[ScoreRequest<'_>],
        wants: &Wants,
    ) -> Result<Vec<Scored>, ResponseError>;
}

/// The same for continuations, which are all of one length in one request.
pub(super) trait Generator: Send + Sync {
    /// Where requests go.
    fn path(&self) -> &str;

    /// Whether one request can have several prompts.
    fn takes_several(&self) -> bool {
        true
    }

    /// A request; the seed is for draws.
    fn body(&self, requests: &[GenerateRequest<'_>], decoding: &Decoding, seed: Option<u64>) -> Value;

    /// The answer to it.
    fn read(&self, answer: &[u8], requests: &[GenerateRequest<'_>]) -> Result<Vec<Generated>, ResponseError>;
}

/// How tokens are drawn, in the numbers that servers take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sampling {
    /// 0 for greedy decoding.
    pub(super) temperature: f64,
    /// 0 for all of the vocabulary.
    pub(super) top_k: u32,
    /// 1 for all of these.
    pub(super) top_p: f64,
}

impl Sampling {
    pub(super) fn new(decoding: &Decoding) -> Self {
        match decoding {
            Decoding::Greedy => Self { temperature: 0.0, top_k: 0, top_p: 1.0 },
            Decoding::Sampled { scheme, .. } => Self {
                temperature: scheme.temperature,
                top_k: scheme.top_k.unwrap_or(0),
                top_p: scheme.top_p.unwrap_or(1.0),
            },
        }
    }
}

/// The seed of one request's draws, a number that every server takes.
pub(super) fn draw_seed(decoding: &Decoding, request: usize) -> Option<u64> {
    match decoding {
        Decoding::Greedy => None,
        Decoding::Sampled { seed, first, .. } => Some(mix(seed ^ mix(first + request as u64)) & 0x7FFF_FFFF),
    }
}

/// The evidence of one sequence, as JSON.
pub(super) fn exchange(path: &str, body: &Value, answer: &str) -> String {
    let cut = answer.len() > MAX_EXCHANGE_BYTES;
    let end = (0..=MAX_EXCHANGE_BYTES.min(answer.len())).rev().find(|end| answer.is_char_boundary(*end));
    let kept = &answer[..end.unwrap_or(0)];
    let response = match serde_json::from_str::<Value>(kept) {
        Ok(response) if !cut => response,
        _ => kept.into(),
    };
    json!({ "post": path, "request": body, "response": response, "response_cut": cut }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_bounded() {
        let long = format!("\"{}\"", "é".repeat(MAX_EXCHANGE_BYTES));
        let kept: Value = serde_json::from_str(&exchange("/v1/completions", &json!({}), &long)).unwrap();
        assert!(
            kept["response_cut"] == true && kept["response"].as_str().unwrap().len() <= MAX_EXCHANGE_BYTES
        );
        let kept: Value = serde_json::from_str(&exchange("/x", &json!({"a": 1}), "{\"b\": 2}")).unwrap();
        assert_eq!(
            kept,
            json!({"post": "/x", "request": {"a": 1}, "response": {"b": 2}, "response_cut": false})
        );
    }
}
