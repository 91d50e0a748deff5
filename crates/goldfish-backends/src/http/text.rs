//! Servers that take text and give text: Ollama, Text Generation Inference, and completions of plain text.
//!
//! Probes are token ids, so that ids must survive the way through text. The prompt is cut where the tokens before the cut are what
//! tokenizing their text gives; the continuation's tokens are what tokenizing prompt and continuation gives behind the prompt.
//! Where that fails, the answer says so ([`Caveat`]).

use std::sync::Arc;

use goldfish_audit::backend::{Caveat, Decoding, GenerateRequest, Generated};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::client::Fault;
use super::protocol::{Generator, malformed, sampling};

/// The model's tokenizer, for servers that don't speak ids.
pub trait TextCodec: Send + Sync {
    /// Text to ids, without any special token around it.
    fn encode(&self, text: &str) -> Vec<u32>;

    /// Ids to text, special tokens included.
    fn decode(&self, ids: &[u32]) -> String;

    /// The token that the server puts before every text by itself, if any: a prompt that begins with it is sent without it.
    fn server_bos(&self) -> Option<u32> {
        None
    }
}

/// Which text server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    /// `/api/generate`, raw.
    Ollama,
    /// `/generate`.
    Tgi,
    /// `/v1/completions`.
    OpenAi,
}

/// The protocol for one model of a server.
pub(super) struct Text {
    pub(super) flavour: Flavour,
    pub(super) model: String,
    pub(super) codec: Arc<dyn TextCodec>,
}

/// How many tokens a cut moves back before it is given up.
const FARTHEST: usize = 32;

/// A prompt as it can be sent.
struct Cut<'a> {
    text: String,
    /// The tokens that the text stands for, without what the server adds.
    shown: &'a [u32],
    /// Tokens of the prompt behind the cut, which the model has to make.
    hidden: usize,
    /// Whether the server sees `shown`.
    exact: bool,
    /// Whether the server's own first token was left out.
    bos: bool,
}

impl Text {
    fn cut<'a>(&self, prompt: &'a [u32]) -> Cut<'a> {
        let bos = prompt.first().is_some_and(|first| self.codec.server_bos() == Some(*first));
        let prompt = &prompt[usize::from(bos)..];
        for hidden in 0..prompt.len().min(FARTHEST + 1) {
            let shown = &prompt[..prompt.len() - hidden];
            let text = self.codec.decode(shown);
            if self.codec.encode(&text) == shown {
                return Cut { text, shown, hidden, exact: true, bos };
            }
        }
        Cut { text: self.codec.decode(prompt), shown: prompt, hidden: 0, exact: prompt.is_empty(), bos }
    }

    /// Tokens to ask for: what is hidden, what is wanted, and more, since the text may come back as fewer tokens and its last one
    /// depends on what follows.
    fn tokens(cut: &Cut<'_>, wanted: usize) -> usize {
        cut.hidden + wanted + wanted / 8 + 8
    }

    fn understand(&self, request: &GenerateRequest<'_>, answer: &Answer) -> Generated {
        let cut = self.cut(request.prompt);
        let mut caveats = Vec::new();
        if !cut.exact {
            caveats.push(Caveat::PromptChanged);
        } else if cut.hidden > 0 {
            caveats.push(Caveat::CutMoved);
        }
        let seen = if cut.exact { cut.shown.to_vec() } else { self.codec.encode(&cut.text) };
        let whole = || self.codec.encode(&format!("{}{}", cut.text, answer.text));
        let behind = answer.ids.clone().or_else(|| whole().strip_prefix(&*seen).map(<[u32]>::to_vec));
        let behind = behind.unwrap_or_else(|| {
            caveats.push(Caveat::Reencoded);
            self.codec.encode(&answer.text)
        });
        let ids: Vec<u32> = behind.into_iter().skip(cut.hidden).take(request.tokens).collect();
        if ids.len() < request.tokens {
            caveats.push(if answer.ended { Caveat::EndedEarly } else { Caveat::Reencoded });
            caveats.dedup();
        }
        // As many more than the prompt as the server saw more than it was sent.
        let sent = cut.shown.len() + usize::from(cut.bos);
        let evaluated = answer.prompt_tokens.filter(|_| cut.exact);
        let evaluated = evaluated
            .map(|seen| seen.saturating_add(request.prompt.len() as u64).saturating_sub(sent as u64));
        Generated { ids, caveats, evaluated, exchange: Some(answer.kept.clone()) }
    }
}

impl Generator for Text {
    fn path(&self) -> &str {
        match self.flavour {
            Flavour::Ollama => "/api/generate",
            Flavour::Tgi => "/generate",
            Flavour::OpenAi => "/v1/completions",
        }
    }

    fn takes_several(&self) -> bool {
        false
    }

    fn body(&self, requests: &[GenerateRequest<'_>], decoding: &Decoding, seed: Option<u64>) -> Value {
        let Some(request) = requests.first() else { return Value::Null };
        let cut = self.cut(request.prompt);
        let tokens = Self::tokens(&cut, request.tokens);
        let (temperature, top_k) = sampling(decoding);
        match self.flavour {
            Flavour::Ollama => json!({
                "model": self.model, "prompt": cut.text, "raw": true, "stream": false,
                "options": {
                    "num_predict": tokens, "temperature": temperature, "top_k": top_k, "top_p": 1.0, "min_p": 0.0,
                    "repeat_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "seed": seed.unwrap_or(0),
                    // Without it a long prompt loses its beginning. Few values, since the model is loaded anew for each.
                    "num_ctx": (request.prompt.len() + tokens + 1).next_power_of_two().max(4096),
                },
            }),
            Flavour::Tgi => {
                let mut parameters = json!({
                    "max_new_tokens": tokens, "do_sample": false, "details": true, "decoder_input_details": true,
                    "return_full_text": false, "repetition_penalty": 1.0, "frequency_penalty": 0.0, "stop": [],
                });
                if let Some(seed) = seed {
                    parameters["do_sample"] = true.into();
                    parameters["temperature"] = temperature.into();
                    parameters["seed"] = seed.into();
                    if top_k > 0 {
                        parameters["top_k"] = top_k.into();
                    }
                }
                json!({ "inputs": cut.text, "parameters": parameters })
            }
            Flavour::OpenAi => {
                let mut body = json!({
                    "model": self.model, "prompt": cut.text, "max_tokens": tokens, "n": 1, "stream": false,
                    "temperature": temperature, "top_p": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
                });
                if let Some(seed) = seed {
                    body["seed"] = seed.into();
                }
                body
            }
        }
    }

    fn read(&self, answer: &[u8], requests: &[GenerateRequest<'_>]) -> Result<Vec<Generated>, Fault> {
        let answer = match self.flavour {
            Flavour::Ollama => ollama(answer)?,
            Flavour::Tgi => tgi(answer)?,
            Flavour::OpenAi => openai(answer)?,
        };
        Ok(requests.iter().take(1).map(|request| self.understand(request, &answer)).collect())
    }
}

/// What all of them answer.
struct Answer {
    text: String,
    /// The tokens, where they come.
    ids: Option<Vec<u32>>,
    prompt_tokens: Option<u64>,
    ended: bool,
    /// For evidence: without what differs each time.
    kept: String,
}

/// The answer as JSON without some of its fields.
fn without(answer: &[u8], fields: &[&str]) -> Result<String, Fault> {
    let mut kept: Map<String, Value> = serde_json::from_slice(answer).map_err(malformed)?;
    fields.iter().for_each(|field| drop(kept.remove(*field)));
    Ok(Value::Object(kept).to_string())
}

fn reason_known(reason: Option<&str>, known: &[&str]) -> Result<(), Fault> {
    match reason {
        Some(reason) if known.contains(&reason) => Ok(()),
        other => Err(Fault::passing(format!("a continuation ended for the reason {other:?}"))),
    }
}

fn ollama(answer: &[u8]) -> Result<Answer, Fault> {
    #[derive(Deserialize)]
    struct Response {
        response: String,
        done: bool,
        done_reason: Option<String>,
        prompt_eval_count: Option<u64>,
    }
    let found: Response = serde_json::from_slice(answer).map_err(malformed)?;
    if !found.done {
        return Err(Fault::passing("the continuation is not done"));
    }
    reason_known(found.done_reason.as_deref(), &["length", "stop"])?;
    let times =
        ["created_at", "context", "total_duration", "load_duration", "prompt_eval_duration", "eval_duration"];
    Ok(Answer {
        text: found.response,
        ids: None,
        prompt_tokens: found.prompt_eval_count,
        ended: found.done_reason.as_deref() == Some("stop"),
        kept: without(answer, &times)?,
    })
}

fn tgi(answer: &[u8]) -> Result<Answer, Fault> {
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
    let details = found.details.ok_or_else(|| Fault::lasting("the answer has no `details`"))?;
    reason_known(Some(&details.finish_reason), &["length", "eos_token", "stop_sequence"])?;
    Ok(Answer {
        text: found.generated_text,
        ids: Some(details.tokens.iter().map(|token| token.id).collect()),
        // Empty where the server was built without it.
        prompt_tokens: Some(details.prefill.len() as u64).filter(|tokens| *tokens > 0),
        ended: details.finish_reason != "length",
        kept: without(answer, &[])?,
    })
}

fn openai(answer: &[u8]) -> Result<Answer, Fault> {
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
        return Err(Fault::passing(format!("{more} answers came beside the one that was asked for")));
    };
    reason_known(choice.finish_reason.as_deref(), &["length", "stop"])?;
    Ok(Answer {
        text: choice.text,
        ids: None,
        prompt_tokens: found.usage.and_then(|usage| usage.prompt_tokens),
        ended: choice.finish_reason.as_deref() == Some("stop"),
        kept: without(answer, &["id", "created", "timings"])?,
    })
}
