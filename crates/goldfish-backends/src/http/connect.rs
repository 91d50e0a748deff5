//! What a server is, by its own answers.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use goldfish_audit::backend::{BackendError, ModelDescription, SamplingScheme, ScoreRequest, Wants};
use serde_json::{Value, json};

use super::client::Client;
use super::llama_cpp::LlamaCpp;
use super::openai::OpenAi;
use super::protocol::{Generator, Scorer};
use super::text::{Flavour, Text, TextCodec};
use super::vllm::Vllm;
use super::{Protocol, Server, ServerOptions};

/// What is known before the first probe.
struct Found {
    protocol: Protocol,
    flavour: Flavour,
    model: String,
    /// Name and value of everything that tells this model from another.
    facts: Vec<(&'static str, Value)>,
    vocab_size: Option<u32>,
    context_length: Option<u64>,
}

impl Server {
    /// Asks a server what it is, and what it can do.
    ///
    /// # Errors
    ///
    /// If it can't be reached, has several models and none was named, or speaks no protocol of these.
    pub fn connect(url: &str, options: ServerOptions) -> Result<Self, BackendError> {
        let connections = options.connections.max(1);
        let client = Client::new(url, options.key, options.timeouts, options.retry, connections)?;
        let found = find(&client, options.protocol, options.model.as_deref())?;
        let mut server = Self {
            protocol: found.protocol,
            scorer: None,
            generator: None,
            description: describe(&client, &found),
            schemes: false,
            notes: Vec::new(),
            connections,
            sequences: options.sequences.max(1),
            client,
        };
        let codec: Option<Arc<dyn TextCodec>> = options.codec.map(Arc::from);
        server.equip(found, options.top_k, codec)?;
        Ok(server)
    }

    /// Chooses how scores and continuations are asked for; what must be tried is tried.
    fn equip(
        &mut self,
        found: Found,
        top_k: Option<u32>,
        codec: Option<Arc<dyn TextCodec>>,
    ) -> Result<(), BackendError> {
        let Found { protocol, flavour, model, .. } = found;
        let no_codec = codec.is_none();
        let text = codec.map(|codec| {
            let text: Box<dyn Generator> = Box::new(Text { flavour, model: model.clone(), codec });
            text
        });
        match protocol {
            Protocol::Vllm => {
                for candidates in top_k.into_iter().chain([2]) {
                    let scorer = Vllm { model: model.clone(), candidates };
                    let scheme = Some(SamplingScheme { temperature: 1.0, top_k: Some(candidates) });
                    if self.try_scorer(&scorer, &Wants { moments: false, scheme })? {
                        self.scorer = Some(Box::new(scorer));
                        self.schemes = top_k == Some(candidates);
                        break;
                    }
                }
                self.generator = Some(Box::new(Vllm { model, candidates: 2 }));
            }
            Protocol::OpenAi => {
                for candidates in [5, 1] {
                    let scorer = OpenAi { model: model.clone(), candidates };
                    if self.try_scorer(&scorer, &Wants::default())? {
                        self.scorer = Some(Box::new(scorer));
                        break;
                    }
                }
                self.generator = text;
            }
            Protocol::LlamaCpp => self.generator = Some(Box::new(LlamaCpp)),
            Protocol::Text => self.generator = text,
        }
        if self.generator.is_none() && no_codec {
            self.notes.push("its continuations are text, and there is no tokenizer to read them with".into());
        }
        Ok(())
    }

    /// Whether the server scores two tokens that every model has.
    fn try_scorer(&mut self, scorer: &dyn Scorer, wants: &Wants) -> Result<bool, BackendError> {
        let request = [ScoreRequest { ids: &[0, 1], from: 1 }];
        let body = scorer.body(&request, wants);
        let read = |bytes: &[u8]| scorer.read(bytes, &request, wants);
        match self.client.ask(scorer.path(), Some(&body), &AtomicBool::new(false), read) {
            Ok(_) => Ok(true),
            Err(failure) if failure.cannot() => {
                let reason = self.client.scrub(failure.reason);
                self.notes.push(format!("it doesn't score given sequences as it was asked to: {reason}"));
                Ok(false)
            }
            Err(failure) => Err(self.client.error(scorer.path(), failure)),
        }
    }
}

fn describe(client: &Client, found: &Found) -> ModelDescription {
    let known = found.facts.iter().filter(|(_, value)| !value.is_null());
    let facts: Vec<String> = known
        .map(|(name, value)| match value.as_str() {
            Some(text) => format!("{name}={text}"),
            None => format!("{name}={value}"),
        })
        .collect();
    ModelDescription {
        name: client.scrub(found.model.clone()),
        fingerprint: client.scrub(facts.join("; ")),
        backend: found.protocol.name().into(),
        vocab_size: found.vocab_size,
        context_length: found.context_length,
    }
}

/// Asks the pages that tell servers apart, each of which one kind alone has.
fn find(client: &Client, protocol: Option<Protocol>, model: Option<&str>) -> Result<Found, BackendError> {
    let asked = |wanted: Protocol| protocol.is_none_or(|protocol| protocol == wanted);
    if asked(Protocol::LlamaCpp) {
        let props = client.look("/props", None)?;
        if let Some(props) = props.filter(|props| props.get("default_generation_settings").is_some()) {
            return llama_cpp(client, &props);
        }
        if protocol.is_some() {
            return Err(nothing(client, "it has no /props as llama.cpp's server does"));
        }
    }
    if asked(Protocol::Text) {
        if let Some(version) =
            client.look("/api/version", None)?.and_then(|page| page.get("version").cloned())
        {
            return ollama(client, version, model);
        }
        let info = client.look("/info", None)?;
        if let Some(info) = info.filter(|info| info.get("model_id").is_some()) {
            return Ok(tgi(&info));
        }
    }
    // Where everything was said, a server needs no list of models.
    let said = protocol.and(model).map(|model| json!({ "data": [{ "id": model }] }));
    let Some(models) = client.look("/v1/models", None)?.or(said) else {
        return Err(nothing(client, "it answers none of /props, /api/version, /info and /v1/models"));
    };
    let card = choose(client, &models, model)?;
    let version = client.look("/version", None)?.and_then(|page| page.get("version").cloned());
    let vllm = card["owned_by"] == "vllm";
    let protocol = protocol.unwrap_or(if vllm { Protocol::Vllm } else { Protocol::OpenAi });
    Ok(Found {
        protocol,
        flavour: Flavour::OpenAi,
        model: text(&card["id"]),
        facts: vec![
            ("id", card["id"].clone()),
            ("root", card["root"].clone()),
            ("parent", card["parent"].clone()),
            ("max_model_len", card["max_model_len"].clone()),
            ("version", version.unwrap_or_default()),
        ],
        vocab_size: None,
        // A token is always generated behind what is scored.
        context_length: card["max_model_len"].as_u64().map(|longest| longest.saturating_sub(1)),
    })
}

fn llama_cpp(client: &Client, props: &Value) -> Result<Found, BackendError> {
    let models = client.look("/v1/models", None)?.unwrap_or_default();
    let (card, path) = (&models["data"][0], &props["model_path"]);
    let meta = &card["meta"];
    let file = path.as_str().and_then(|path| path.rsplit(['/', '\\']).next());
    let name = file.map_or_else(|| text(&card["id"]), str::to_owned);
    let trained = meta["n_ctx_train"].as_u64();
    let slot = props["default_generation_settings"]["n_ctx"].as_u64();
    Ok(Found {
        protocol: Protocol::LlamaCpp,
        flavour: Flavour::OpenAi,
        facts: vec![
            ("model", name.clone().into()),
            ("n_params", meta["n_params"].clone()),
            ("size", meta["size"].clone()),
            ("n_vocab", meta["n_vocab"].clone()),
            ("n_embd", meta["n_embd"].clone()),
            ("build", props["build_info"].clone()),
        ],
        model: name,
        vocab_size: meta["n_vocab"].as_u64().and_then(|size| u32::try_from(size).ok()),
        context_length: slot.into_iter().chain(trained).filter(|context| *context > 0).min(),
    })
}

fn ollama(client: &Client, version: Value, model: Option<&str>) -> Result<Found, BackendError> {
    let tags = client.look("/api/tags", None)?.unwrap_or_default();
    let cards: Vec<Value> = tags["models"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|card| json!({ "id": card["name"], "digest": card["digest"] }))
        .collect();
    let card = choose(client, &json!({ "data": cards }), model)?;
    let shown = client.look("/api/show", Some(&json!({ "model": card["id"] })))?.unwrap_or_default();
    let info = shown["model_info"].as_object();
    let context = info.and_then(|info| info.iter().find(|(name, _)| name.ends_with(".context_length")));
    Ok(Found {
        protocol: Protocol::Text,
        flavour: Flavour::Ollama,
        model: text(&card["id"]),
        facts: vec![
            ("model", card["id"].clone()),
            ("digest", card["digest"].clone()),
            ("quantization", shown["details"]["quantization_level"].clone()),
            ("ollama", version),
        ],
        vocab_size: None,
        context_length: context.and_then(|(_, length)| length.as_u64()),
    })
}

fn tgi(info: &Value) -> Found {
    let fact = |name: &'static str| (name, info[name].clone());
    Found {
        protocol: Protocol::Text,
        flavour: Flavour::Tgi,
        model: text(&info["model_id"]),
        facts: ["model_id", "model_sha", "model_dtype", "version"].map(fact).into(),
        vocab_size: None,
        context_length: info["max_total_tokens"].as_u64(),
    }
}

/// The named model of a list, or the only one.
fn choose(client: &Client, models: &Value, model: Option<&str>) -> Result<Value, BackendError> {
    let cards: Vec<&Value> = models["data"].as_array().into_iter().flatten().collect();
    let found = match (model, cards.as_slice()) {
        (None, [only]) => Some(*only),
        (None, _) => None,
        (Some(name), _) => cards.iter().copied().find(|card| card["id"] == name),
    };
    let names = || cards.iter().take(20).map(|card| text(&card["id"])).collect::<Vec<_>>().join(", ");
    found.cloned().ok_or_else(|| match model {
        Some(name) => nothing(client, &format!("it has no model {name:?}, but: {}", names())),
        None => nothing(client, &format!("it has {} models, name one of them: {}", cards.len(), names())),
    })
}

/// Text from a server, without control characters.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or("unnamed").chars().filter(|c| !c.is_control()).take(300).collect()
}

fn nothing(client: &Client, reason: &str) -> BackendError {
    let backend = client.base().to_owned();
    BackendError::Failed { backend, reason: client.scrub(reason.to_owned()), retry_after: None }
}
