//! The server's side of the protocols, by the servers' own sources and answers.

use goldfish_audit::backend::{Backend, Decoding, GenerateRequest, SamplingScheme, TokenScore, Wants};
use goldfish_audit::fake::FakeModel;
use goldfish_backends::http::{Protocol, TextCodec};
use serde_json::{Map, Value, json};

use super::faults::{ChatFault, Faults, Misdeed};
use super::{EOS, VOCAB};

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Vllm,
    OpenAi,
    LlamaCpp,
    Ollama,
    Tgi,
    OpenAiText,
    Chat,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Kind {
    /// The protocol to name, if it isn't detected.
    pub(crate) fn named(self) -> Option<Protocol> {
        match self {
            Self::OpenAiText => Some("text".parse().unwrap()),
            Self::Chat => Some("chat".parse().unwrap()),
            _ => None,
        }
    }

    /// What can go wrong by chance.
    pub(crate) fn misdeeds(self) -> Vec<Misdeed> {
        use Misdeed::*;
        let mut all = vec![
            Reset,
            ResetMidway,
            TruncatedJson,
            BrokenChunks,
            Garbage,
            Empty,
            Page,
            Status(500),
            Status(502),
            Status(503),
            Status(408),
            Status(429),
            RetryAfter(429, 0),
            RetryAfter(503, 0),
        ];
        match self {
            Self::Vllm => all.extend([
                MissingChoice,
                SameIndex,
                OtherOrder,
                FewerScores,
                NullScores,
                NotANumber,
                OtherPrompt,
                FewerTokens,
            ]),
            Self::OpenAi => {
                all.extend([MissingChoice, SameIndex, OtherOrder, FewerScores, NullScores, NotANumber])
            }
            Self::LlamaCpp => all.extend([FewerTokens]),
            Self::Chat => all.extend([MissingChoice]),
            Self::Ollama | Self::Tgi | Self::OpenAiText => (),
        }
        all
    }

    /// Names without which a server's own defaults would change results.
    fn needed(self) -> &'static [&'static str] {
        match self {
            Self::Vllm => &[
                "temperature",
                "top_k",
                "top_p",
                "min_p",
                "repetition_penalty",
                "presence_penalty",
                "frequency_penalty",
                "ignore_eos",
                "stop",
                "stop_token_ids",
                "skip_special_tokens",
                "add_special_tokens",
                "max_tokens",
                "model",
            ],
            Self::OpenAi | Self::OpenAiText => {
                &["temperature", "top_p", "presence_penalty", "frequency_penalty", "max_tokens", "model"]
            }
            Self::LlamaCpp => &[
                "n_predict",
                "temperature",
                "top_k",
                "top_p",
                "min_p",
                "typical_p",
                "repeat_penalty",
                "presence_penalty",
                "frequency_penalty",
                "dry_multiplier",
                "xtc_probability",
                "mirostat",
                "ignore_eos",
                "cache_prompt",
                "return_tokens",
            ],
            Self::Chat => &[
                "temperature",
                "top_p",
                "presence_penalty",
                "frequency_penalty",
                "max_tokens",
                "n",
                "stream",
                "model",
                "messages",
            ],
            Self::Ollama => &["model", "prompt", "raw", "stream", "options"],
            Self::Tgi => &["inputs", "parameters"],
        }
    }
}

pub(crate) fn answer(kind: Kind, model: &FakeModel, faults: &Faults, path: &str, body: &Value) -> Reply {
    let bad = |status, message: &str| Reply {
        status,
        body: json!({ "error": { "message": message, "code": status } }),
    };
    if body.is_null() || path == "/api/show" {
        return page(kind, faults, path)
            .map_or_else(|| bad(404, "Not Found"), |body| Reply { status: 200, body });
    }
    if let Some(reply) = tokenizer(kind, faults, path, body) {
        return reply;
    }
    if let Some(name) = kind.needed().iter().find(|name| body.get(**name).is_none()) {
        return bad(400, &format!("{name} was not sent"));
    }
    let server = Completing { model, faults };
    let body = match (kind, path) {
        (Kind::Vllm, "/v1/completions") => {
            let asked = body["prompt_logprobs"].as_u64();
            if asked > faults.most_candidates.or(Some(20)) {
                return bad(400, "Requested prompt logprobs of 40, which is greater than max allowed: 20");
            }
            server.vllm(body)
        }
        (Kind::OpenAi, "/v1/completions") if body["prompt"].is_string() => server.text(body),
        (Kind::OpenAi, "/v1/completions") => server.echo(body),
        (Kind::LlamaCpp, "/completion") => server.llama_cpp(body),
        (Kind::Ollama, "/api/generate") => server.ollama(body),
        (Kind::Tgi, "/generate") => server.tgi(body),
        (Kind::OpenAiText, "/v1/completions") => server.text(body),
        (Kind::Chat, "/v1/chat/completions") => server.chat(body),
        _ => return bad(404, "Not Found"),
    };
    Reply { status: 200, body }
}

/// The endpoints of the tokenizers that can be asked.
fn tokenizer(kind: Kind, faults: &Faults, path: &str, body: &Value) -> Option<Reply> {
    let (text, encode) = match kind {
        Kind::Vllm => ("prompt", json!({ "model": "fake", "add_special_tokens": false })),
        Kind::LlamaCpp => ("content", json!({ "add_special": false, "parse_special": true })),
        _ => return None,
    };
    let ids = |text: &Value| Codec.encode(text.as_str().unwrap());
    let body = match path {
        "/tokenize" => {
            assert!(encode.as_object().unwrap().iter().all(|(name, value)| body[name] == *value), "{body}");
            json!({ "tokens": ids(&body[text]), "count": 1 })
        }
        "/detokenize" => json!({ text: Codec.decode(&self::ids(&body["tokens"])) }),
        _ => return None,
    };
    Some(if faults.no_tokenizer {
        Reply { status: 404, body: json!({ "detail": "Not Found" }) }
    } else {
        Reply { status: 200, body }
    })
}

fn page(kind: Kind, faults: &Faults, path: &str) -> Option<Value> {
    let card =
        |id: &str, owner: &str| json!({ "id": id, "object": "model", "created": 1, "owned_by": owner });
    let list = |cards: Vec<Value>| Some(json!({ "object": "list", "data": cards }));
    match (kind, path) {
        (Kind::Vllm, "/version") => Some(json!({ "version": "0.11.0" })),
        (Kind::Vllm, "/v1/models") => {
            let mut first = card("fake", "vllm");
            first["root"] = "/models/fake".into();
            first["max_model_len"] = 200.into();
            list(
                [Some(first), faults.more_models.then(|| card("adapter", "vllm"))]
                    .into_iter()
                    .flatten()
                    .collect(),
            )
        }
        (Kind::OpenAi | Kind::OpenAiText | Kind::Chat, "/v1/models") => list(vec![card("fake", "somebody")]),
        (Kind::LlamaCpp, "/props") => Some(json!({
            "default_generation_settings": { "n_ctx": 256, "params": {} }, "total_slots": 4, "model_path": "/models/fake.gguf",
            "chat_template": "", "build_info": "b6000-abc",
        })),
        (Kind::LlamaCpp, "/v1/models") => {
            let mut first = card("/models/fake.gguf", "llamacpp");
            first["meta"] = json!({ "vocab_type": 2, "n_vocab": VOCAB, "n_ctx_train": 2048, "n_embd": 8, "n_params": 999, "size": 1234 });
            list(vec![first])
        }
        (Kind::Ollama, "/api/version") => Some(json!({ "version": "0.12.0" })),
        (Kind::Ollama, "/api/tags") => {
            Some(json!({ "models": [{ "name": "fake:latest", "digest": "abcdef", "size": 3 }] }))
        }
        (Kind::Ollama, "/api/show") => Some(json!({
            "details": { "quantization_level": "F16" }, "model_info": { "general.architecture": "fake", "fake.context_length": 256 },
        })),
        (Kind::Tgi, "/info") => Some(json!({
            "model_id": "fake/fake", "model_sha": "0123", "model_dtype": "float16", "version": "3.3.4", "max_total_tokens": 256,
        })),
        _ => None,
    }
}

/// A model behind a server.
struct Completing<'a> {
    model: &'a FakeModel,
    faults: &'a Faults,
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// One prompt or several.
fn prompts(value: &Value) -> Vec<Vec<u32>> {
    match value[0].is_array() {
        true => value.as_array().unwrap().iter().map(ids).collect(),
        false => vec![ids(value)],
    }
}

impl Completing<'_> {
    fn seen(&self, prompt: &[u32]) -> Vec<u32> {
        self.faults.adds.iter().chain(prompt).copied().collect()
    }

    /// Tokens after a prompt, and whether they ended the sequence.
    fn go_on(&self, prompt: &[u32], tokens: u64, body: &Value, ignore_eos: bool) -> (Vec<u32>, bool) {
        let decoding = match body["temperature"].as_f64() {
            Some(temperature) if temperature > 0.0 => {
                let top_k = body["top_k"].as_u64().filter(|k| *k > 0).map(|k| k as u32);
                Decoding::Sampled {
                    scheme: SamplingScheme { temperature, top_k, top_p: None },
                    seed: body["seed"].as_u64().unwrap(),
                    first: 0,
                }
            }
            _ => Decoding::Greedy,
        };
        let request = GenerateRequest { prompt, tokens: tokens as usize };
        let mut ids = self.model.generate(&[request], &decoding).unwrap().remove(0).ids;
        let stops = self.faults.stops || !ignore_eos;
        let end = ids.iter().position(|id| *id == EOS).filter(|_| stops);
        if let Some(end) = end {
            ids.truncate(end + 1);
        }
        (ids, end.is_some())
    }

    /// Log-probability of every token at a position.
    fn log_probs(&self, before: &[u32]) -> Vec<(u32, f64)> {
        let logits = self.model.logits(before);
        let score = |id| TokenScore::from_logits(&logits, id, &Wants::default()).unwrap().log_prob;
        let mut all: Vec<(u32, f64)> = (0..VOCAB).map(|id| (id, score(id))).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all
    }

    fn vllm(&self, body: &Value) -> Value {
        let mut choices = Vec::new();
        let mut total = 0;
        for (index, prompt) in prompts(&body["prompt"]).iter().enumerate() {
            let prompt = self.seen(prompt);
            total += prompt.len();
            let scores = body["prompt_logprobs"].as_u64().filter(|_| !self.faults.no_scores).map(|k| {
                let candidates = |position: usize| {
                    let mut named = Map::new();
                    for (index, (id, log_prob)) in self.log_probs(&prompt[..position]).into_iter().enumerate() {
                        if id == prompt[position] || index < k as usize {
                            let value = json!({ "logprob": log_prob.max(-9999.0), "rank": index + 1, "decoded_token": "?" });
                            named.insert(id.to_string(), value);
                        }
                    }
                    Value::Object(named)
                };
                (0..prompt.len()).map(|i| if i == 0 { Value::Null } else { candidates(i) }).collect::<Vec<_>>()
            });
            let tokens = body["max_tokens"].as_u64().unwrap();
            let (ids, ended) = self.go_on(&prompt, tokens, body, body["ignore_eos"] == true);
            choices.push(json!({
                "index": index, "text": "?", "logprobs": null, "finish_reason": if ended { "stop" } else { "length" },
                "stop_reason": null, "prompt_logprobs": scores, "token_ids": ids, "prompt_token_ids": prompt,
            }));
        }
        json!({ "id": "cmpl-1", "object": "text_completion", "created": 1, "model": "fake", "choices": choices,
            "usage": { "prompt_tokens": total, "completion_tokens": 1, "total_tokens": total + 1 } })
    }

    fn echo(&self, body: &Value) -> Value {
        let mut choices = Vec::new();
        let mut total = 0;
        let named = |id: u32| format!("t{id}");
        for (index, prompt) in prompts(&body["prompt"]).iter().enumerate() {
            let prompt = self.seen(prompt);
            total += prompt.len();
            let (more, _) = self.go_on(&prompt, 1, body, true);
            let whole = if self.faults.no_scores { more } else { [prompt, more].concat() };
            let (mut own, mut top) = (vec![Value::Null], vec![Value::Null]);
            for position in 1..whole.len() {
                let all = self.log_probs(&whole[..position]);
                own.push(all.iter().find(|(id, _)| *id == whole[position]).unwrap().1.into());
                let best = all.into_iter().take(body["logprobs"].as_u64().unwrap() as usize);
                top.push(Value::Object(best.map(|(id, log_prob)| (named(id), log_prob.into())).collect()));
            }
            let tokens: Vec<String> = whole.iter().map(|id| named(*id)).collect();
            choices.push(json!({
                "index": index, "text": tokens.concat(), "finish_reason": "length",
                "logprobs": { "tokens": tokens, "token_logprobs": own, "top_logprobs": top, "text_offset": [] },
            }));
        }
        json!({ "id": "cmpl-1", "object": "text_completion", "created": 1, "model": "fake", "choices": choices,
            "usage": { "prompt_tokens": total, "completion_tokens": 1, "total_tokens": total + 1 } })
    }

    fn llama_cpp(&self, body: &Value) -> Value {
        let prompts = prompts(&body["prompt"]);
        let tokens = body["n_predict"].as_u64().unwrap();
        let one = |(index, prompt): (usize, &Vec<u32>)| {
            let prompt = self.seen(prompt);
            let (ids, ended) = self.go_on(&prompt, tokens, body, body["ignore_eos"] == true);
            json!({
                "index": index, "content": "?", "tokens": ids, "id_slot": index, "stop": true, "model": "fake.gguf",
                "tokens_predicted": ids.len(), "tokens_evaluated": prompt.len(), "generation_settings": {}, "prompt": "?",
                "truncated": self.faults.truncates, "stop_type": if ended { "eos" } else { "limit" }, "stopping_word": "",
                "tokens_cached": prompt.len(), "timings": { "prompt_ms": 1.5 },
            })
        };
        let mut answers: Vec<Value> = prompts.iter().enumerate().map(one).collect();
        if answers.len() == 1 { answers.remove(0) } else { answers.into() }
    }

    /// The answer of a text server: tokens before and after, the text, and whether it ended.
    fn read_on(&self, text: &Value, tokens: &Value, settings: &Value) -> (usize, Vec<u32>, String, bool) {
        let prompt = self.seen(&Codec.encode(text.as_str().unwrap()));
        let (mut ids, ended) = self.go_on(&prompt, tokens.as_u64().unwrap(), settings, !self.faults.stops);
        if ended {
            ids.pop();
        }
        (prompt.len(), ids.clone(), Codec.decode(&ids), ended)
    }

    fn ollama(&self, body: &Value) -> Value {
        assert!(body["raw"] == true && body["stream"] == false);
        let options = &body["options"];
        assert!(options["repeat_penalty"] == 1.0 && options["top_p"] == 1.0 && options["min_p"] == 0.0);
        let (evaluated, ids, text, ended) = self.read_on(&body["prompt"], &options["num_predict"], options);
        json!({
            "model": "fake:latest", "created_at": "2026-01-01T00:00:00Z", "response": text, "done": true,
            "done_reason": if ended { "stop" } else { "length" }, "total_duration": 5, "prompt_eval_count": evaluated,
            "eval_count": ids.len(),
        })
    }

    fn tgi(&self, body: &Value) -> Value {
        let parameters = &body["parameters"];
        assert!(parameters["details"] == true && parameters["return_full_text"] == false);
        assert!(parameters["repetition_penalty"] == 1.0 && parameters["frequency_penalty"] == 0.0);
        assert!(parameters["stop"] == json!([]));
        let settings = if parameters["do_sample"] == true { parameters } else { &Value::Null };
        let (evaluated, ids, text, ended) =
            self.read_on(&body["inputs"], &parameters["max_new_tokens"], settings);
        let token = |id: &u32| json!({ "id": id, "text": "?", "logprob": -0.5, "special": false });
        let prefill = vec![json!({ "id": 0, "text": "?", "logprob": null }); evaluated];
        json!({ "generated_text": text, "details": {
            "finish_reason": if ended { "eos_token" } else { "length" }, "generated_tokens": ids.len(), "seed": null,
            "prefill": prefill, "tokens": ids.iter().map(token).collect::<Vec<_>>(),
        } })
    }

    /// Continues what is in the message besides ASCII, as an assistant would.
    fn chat(&self, body: &Value) -> Value {
        let messages = body["messages"].as_array().unwrap();
        let message = messages.last().unwrap()["content"].as_str().unwrap();
        let prefix = message.trim_start_matches(|c: char| c.is_ascii());
        assert!(messages.last().unwrap()["role"] == "user" && body["n"] == 1 && body["stream"] == false);
        let (evaluated, ids, text, ended) = self.read_on(&prefix.into(), &body["max_tokens"], body);
        let finish = if ended { "stop" } else { "length" };
        let (message, finish) = match self.faults.chat {
            None => (json!({ "content": text }), finish),
            Some(ChatFault::SaysAgain) => (json!({ "content": format!("{prefix}{text}") }), finish),
            Some(ChatFault::Quotes) => (json!({ "content": format!("\n\"{text}\"") }), finish),
            Some(ChatFault::Refuses) => (json!({ "content": null, "refusal": "That I can't do." }), "stop"),
            Some(ChatFault::Filters) => (json!({ "content": "" }), "content_filter"),
            Some(ChatFault::Reasons) => (json!({ "content": "", "reasoning_content": "Well." }), "length"),
            Some(ChatFault::SaysNothing) => (json!({}), "stop"),
        };
        json!({ "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "fake",
            "choices": [{ "index": 0, "message": message, "finish_reason": finish }],
            "usage": { "prompt_tokens": evaluated + 17, "completion_tokens": ids.len() } })
    }

    fn text(&self, body: &Value) -> Value {
        let (evaluated, ids, text, ended) = self.read_on(&body["prompt"], &body["max_tokens"], body);
        json!({ "id": "cmpl-1", "object": "text_completion", "created": 1, "model": "fake",
            "choices": [{ "index": 0, "text": text, "logprobs": null, "finish_reason": if ended { "stop" } else { "length" } }],
            "usage": { "prompt_tokens": evaluated, "completion_tokens": ids.len() } })
    }
}

/// A tokenizer of one character a token, and of two for the pair (10, 11), which is token 59.
pub(crate) struct Codec;

pub(crate) const PAIR: [u32; 2] = [10, 11];
pub(crate) const MERGED: u32 = 59;

impl TextCodec for Codec {
    fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        for character in text.chars() {
            ids.push(character as u32 - 0x100);
            if ids.ends_with(&PAIR) {
                ids.truncate(ids.len() - 2);
                ids.push(MERGED);
            }
        }
        ids
    }

    fn decode(&self, ids: &[u32]) -> String {
        let characters = ids.iter().flat_map(|id| if *id == MERGED { PAIR.to_vec() } else { vec![*id] });
        characters.map(|id| char::from_u32(id + 0x100).unwrap()).collect()
    }
}

/// Errors that depend on the contents of an answer.
pub(crate) fn spoil(misdeed: Misdeed, mut reply: Reply) -> Reply {
    let body = &mut reply.body;
    let llama_cpp = body.get("choices").is_none();
    match misdeed {
        Misdeed::MissingChoice => drop(choices(body).pop()),
        Misdeed::SameIndex => choices(body).iter_mut().for_each(|choice| choice["index"] = 1.into()),
        Misdeed::OtherOrder => choices(body).reverse(),
        Misdeed::FewerScores => choices(body).iter_mut().for_each(|choice| {
            scores(choice, |list| drop(list.pop()));
            choice["token_ids"] = json!([]);
        }),
        Misdeed::NullScores => choices(body).iter_mut().for_each(|choice| {
            scores(choice, |list| *list.last_mut().unwrap() = Value::Null);
            choice["finish_reason"] = "abort".into();
            choice["token_ids"] = json!([]);
        }),
        Misdeed::OtherPrompt => choices(body).iter_mut().for_each(|choice| {
            let first = choice["prompt_token_ids"][0].as_u64().unwrap();
            choice["prompt_token_ids"][0] = ((first + 1) % u64::from(VOCAB)).into();
        }),
        Misdeed::FewerTokens if llama_cpp => match body {
            Value::Array(all) => {
                all.iter_mut().for_each(|one| drop(one["tokens"].as_array_mut().unwrap().pop()))
            }
            one => drop(one["tokens"].as_array_mut().unwrap().pop()),
        },
        Misdeed::FewerTokens => choices(body).iter_mut().for_each(|choice| {
            drop(choice["token_ids"].as_array_mut().unwrap().pop());
            scores(choice, |list| drop(list.pop()));
        }),
        _ => (),
    }
    reply
}

fn choices(body: &mut Value) -> &mut Vec<Value> {
    body["choices"].as_array_mut().unwrap()
}

/// Every list of log-probabilities in a choice.
fn scores(choice: &mut Value, change: impl Fn(&mut Vec<Value>)) {
    if let Some(list) = choice["prompt_logprobs"].as_array_mut() {
        change(list);
    }
    if let Some(list) = choice["logprobs"]["token_logprobs"].as_array_mut() {
        // The last one is of the token after the prompt, which is ignored.
        list.pop();
        change(list);
    }
}
