//! What the protocols share.

use std::fmt;
use std::str::FromStr;

use goldfish_audit::backend::{Decoding, GenerateRequest, Generated, ScoreRequest, Scored, Wants};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::client::Fault;
use super::retry::mix;

/// Most bytes of an answer that one exchange keeps.
pub const MAX_EXCHANGE_BYTES: usize = 256 << 10;

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// vLLM's `/v1/completions`: scores and continues token ids.
    Vllm,
    /// `/v1/completions` with `echo`: scores token ids.
    OpenAi,
    /// llama.cpp's `/completion`: continues token ids.
    LlamaCpp,
    /// Text in, text out.
    Text,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Vllm, Self::OpenAi, Self::LlamaCpp, Self::Text];

    /// Its name on the command line and in a run's files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::OpenAi => "openai",
            Self::LlamaCpp => "llama-cpp",
            Self::Text => "text",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|protocol| protocol.name() == name);
        found.ok_or_else(|| format!("unknown protocol {name:?}; choose vllm, openai, llama-cpp or text"))
    }
}

/// How scores are asked for, and the answer understood: one for each request and in their order, or a [`Fault`]. Its
/// `exchange` is the server's own words on that sequence.
pub(super) trait Scorer: Send + Sync {
    /// Where requests go.
    fn path(&self) -> &str;

    /// A request.
    fn body(&self, requests: &[ScoreRequest<'_>], wants: &Wants) -> Value;

    /// The answer to it.
    fn read(&self, answer: &[u8], requests: &[ScoreRequest<'_>], wants: &Wants)
    -> Result<Vec<Scored>, Fault>;
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
    fn read(&self, answer: &[u8], requests: &[GenerateRequest<'_>]) -> Result<Vec<Generated>, Fault>;
}

/// Temperature and `top_k`, 0 for all of the vocabulary.
pub(super) fn sampling(decoding: &Decoding) -> (f64, u32) {
    match decoding {
        Decoding::Greedy => (0.0, 0),
        Decoding::Sampled { scheme, .. } => (scheme.temperature, scheme.top_k.unwrap_or(0)),
    }
}

/// The seed of one request's draws, a number that every server takes.
pub(super) fn draw_seed(decoding: &Decoding, request: usize) -> Option<u64> {
    match decoding {
        Decoding::Greedy => None,
        Decoding::Sampled { seed, .. } => Some(mix(seed ^ mix(request as u64)) & 0x7FFF_FFFF),
    }
}

/// A body that isn't what it should be.
pub(super) fn malformed(error: serde_json::Error) -> Fault {
    Fault::passing(format!("the answer is not the JSON that was expected: {error}"))
}

/// One part of an answer: where it is sound JSON of another shape, the server has it so every time.
pub(super) fn part<'a, T: Deserialize<'a>>(part: &'a RawValue) -> Result<T, Fault> {
    serde_json::from_str(part.get()).map_err(|error| match error.is_data() {
        true => Fault::lasting(format!("the answer has not the fields that were expected: {error}")),
        false => malformed(error),
    })
}

/// The parts of an answer, in the order of what they answer.
pub(super) fn in_order(parts: Vec<&RawValue>, asked: usize) -> Result<Vec<&RawValue>, Fault> {
    #[derive(Deserialize)]
    struct Indexed {
        index: usize,
    }
    if parts.len() != asked {
        return Err(Fault::passing(format!("{} answers came for {asked} prompts", parts.len())));
    }
    let mut places: Vec<Option<&RawValue>> = vec![None; asked];
    for part in parts {
        let Indexed { index } = serde_json::from_str(part.get()).map_err(malformed)?;
        match places.get_mut(index) {
            Some(place @ None) => *place = Some(part),
            Some(_) => return Err(Fault::passing(format!("two answers came for prompt {index} of {asked}"))),
            None => return Err(Fault::passing(format!("an answer came for prompt {index} of {asked}"))),
        }
    }
    Ok(places.into_iter().flatten().collect())
}

/// How many tokens of each sequence were evaluated, from the total over all of them.
pub(super) fn share(
    total: Option<u64>,
    sent: impl Iterator<Item = usize> + Clone,
) -> impl Fn(usize) -> Option<u64> {
    let (sequences, tokens) = sent.fold((0i64, 0i64), |(n, sum), length| (n + 1, sum + length as i64));
    let more = total.map(|total| i64::try_from(total).unwrap_or(i64::MAX).saturating_sub(tokens));
    // What is added to every sequence, such as a BOS, shows in each; any other difference shows too.
    let each = more.map(|more| if more % sequences.max(1) == 0 { more / sequences.max(1) } else { more });
    move |sent| each.map(|each| (sent as i64).saturating_add(each).max(0).cast_unsigned())
}

/// A log-probability as JSON gives it: the clamp -9999 stands for minus infinity.
pub(super) fn log_prob(value: Option<f64>) -> Result<f64, Fault> {
    const CLAMP: f64 = -9999.0;
    match value {
        None => Err(Fault::passing("a log-probability is null")),
        Some(value) if value <= CLAMP => Ok(f64::NEG_INFINITY),
        Some(value) => Ok(value),
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
    fn parts_in_any_order() {
        let read = |text: &str, asked| {
            let parts: Vec<&RawValue> = serde_json::from_str(text).unwrap();
            in_order(parts, asked)
                .map(|parts| parts.into_iter().map(|part| part.get().to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(read(r#"[{"index":1},{"index":0}]"#, 2).unwrap(), [r#"{"index":0}"#, r#"{"index":1}"#]);
        for bad in
            [r#"[{"index":0}]"#, r#"[{"index":0},{"index":0}]"#, r#"[{"index":0},{"index":2}]"#, r#"[{},{}]"#]
        {
            assert!(matches!(read(bad, 2), Err(Fault::Passing(_))), "{bad}");
        }
    }

    #[test]
    fn shares_of_a_total() {
        let sent = [3usize, 5, 4];
        let shares = |total| sent.map(share(total, sent.into_iter()));
        assert_eq!(shares(Some(12)), [Some(3), Some(5), Some(4)]);
        assert_eq!(shares(Some(15)), [Some(4), Some(6), Some(5)], "a BOS each");
        assert_ne!(shares(Some(13)), shares(Some(12)));
        assert_eq!(shares(None), [None; 3]);
    }

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
