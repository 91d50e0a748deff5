//! A server's own tokenizer, by its endpoints `/tokenize` and `/detokenize`.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::response::{ResponseError, malformed};

/// Text to ids.
pub(super) const TOKENIZE: &str = "/tokenize";

/// Ids to text.
pub(super) const DETOKENIZE: &str = "/detokenize";

/// How the endpoints are asked: both have `tokens`, and the text under a name of the server's.
pub(super) struct TokenizerEndpoints {
    /// The text's field, in the request of one and the answer of the other.
    pub(super) text: &'static str,
    /// What else is sent to both.
    pub(super) both: Value,
    /// What else is sent with a text, so that nothing is put around it and special tokens in it are found.
    pub(super) encode: Value,
}

/// An object with the fields of several, the last of which counts.
fn joined(objects: &[&Value]) -> Value {
    let fields = objects.iter().filter_map(|object| object.as_object()).flatten();
    fields.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>().into()
}

impl TokenizerEndpoints {
    /// The request for the ids of a text.
    pub(super) fn encode_body(&self, text: &str) -> Value {
        joined(&[&self.both, &self.encode, &json!({ self.text: text })])
    }

    /// The answer to it.
    pub(super) fn read_ids(&self, answer: &[u8]) -> Result<Vec<u32>, ResponseError> {
        #[derive(Deserialize)]
        struct Tokens {
            tokens: Vec<u32>,
        }
        Ok(serde_json::from_slice::<Tokens>(answer).map_err(malformed)?.tokens)
    }

    /// The request for the text of ids.
    pub(super) fn decode_body(&self, ids: &[u32]) -> Value {
        joined(&[&self.both, &json!({ "tokens": ids })])
    }

    /// The answer to it.
    pub(super) fn read_text(&self, answer: &[u8]) -> Result<String, ResponseError> {
        let answer: Value = serde_json::from_slice(answer).map_err(malformed)?;
        let text = answer[self.text].as_str().map(str::to_owned);
        text.ok_or_else(|| ResponseError::permanent(format!("the answer has no text {:?}", self.text)))
    }
}
