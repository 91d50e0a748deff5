//! What a server is, by its own pages.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use goldfish_audit::backend::{BackendError, Wants};
use goldfish_audit::prompt_template::PromptTemplate;
use serde_json::Value;

use super::client::Client;
use super::codec::TextCodec;
use super::protocol::{Generator, Scorer};
use super::tokenizer::TokenizerEndpoints;

/// A kind of server: how it is detected, and how it is asked.
pub(super) struct Kind {
    /// The name of its protocol, on the command line and in a run's files; kinds can share one.
    pub(super) protocol: &'static str,
    /// The page that it is detected by, for messages.
    pub(super) page: &'static str,
    /// What the server is, if it is one of these.
    pub(super) detect: fn(&Probe<'_>) -> Result<Option<Found>, BackendError>,
}

/// A detected server.
#[derive(Default)]
pub(super) struct Found {
    pub(super) model: String,
    /// Names and values of everything that distinguishes this model from another.
    pub(super) facts: Vec<(&'static str, Value)>,
    pub(super) vocab_size: Option<u32>,
    pub(super) context_length: Option<u64>,
    /// Ways to ask for scores, with what they are tried with; the first that works is taken.
    pub(super) scorers: Vec<(Box<dyn Scorer>, Wants)>,
    pub(super) generator: Option<Box<dyn Generator>>,
    /// How its tokenizer is asked, if it can be.
    pub(super) tokenizer: Option<TokenizerEndpoints>,
    /// The message around each prefix, if it is asked in words.
    pub(super) template: Option<PromptTemplate>,
}

/// A server that is being detected.
pub(super) struct Probe<'a> {
    pub(super) client: &'a Client,
    /// Whether the protocol was named, so that a server need not look like it.
    pub(super) named: bool,
    /// The named model.
    pub(super) model: Option<&'a str>,
    /// The `top_k` of the sampling scheme that will be asked for.
    pub(super) top_k: Option<u32>,
    pub(super) codec: Option<Arc<dyn TextCodec>>,
    /// The template that was asked for.
    pub(super) template: &'a Option<PromptTemplate>,
    /// Pages that were asked for.
    pages: RefCell<BTreeMap<&'static str, Option<Value>>>,
}

impl<'a> Probe<'a> {
    pub(super) fn new(
        client: &'a Client,
        named: bool,
        model: Option<&'a str>,
        top_k: Option<u32>,
        codec: Option<Arc<dyn TextCodec>>,
        template: &'a Option<PromptTemplate>,
    ) -> Self {
        Self { client, named, model, top_k, codec, template, pages: RefCell::default() }
    }

    /// A page of JSON, asked for once; `None` if the server has none there.
    pub(super) fn page(&self, path: &'static str) -> Result<Option<Value>, BackendError> {
        if let Some(page) = self.pages.borrow().get(path) {
            return Ok(page.clone());
        }
        let page = self.client.look(path, None)?;
        self.pages.borrow_mut().insert(path, page.clone());
        Ok(page)
    }

    /// The named model of a list, or the only one.
    pub(super) fn choose(&self, models: &Value) -> Result<Value, BackendError> {
        let cards: Vec<&Value> = models["data"].as_array().into_iter().flatten().collect();
        let found = match (self.model, cards.as_slice()) {
            (None, [only]) => Some(*only),
            (None, _) => None,
            (Some(name), _) => cards.iter().copied().find(|card| card["id"] == name),
        };
        let names = || cards.iter().take(20).map(|card| text(&card["id"])).collect::<Vec<_>>().join(", ");
        found.cloned().ok_or_else(|| match self.model {
            Some(name) => self.error(&format!("it has no model {name:?}, but: {}", names())),
            None => self.error(&format!("it has {} models, name one of them: {}", cards.len(), names())),
        })
    }

    pub(super) fn error(&self, reason: &str) -> BackendError {
        let backend = self.client.base().to_owned();
        BackendError::Failed { backend, reason: self.client.scrub(reason.to_owned()), retry_after: None }
    }
}

/// Text from a server, without control characters.
pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or("unnamed").chars().filter(|c| !c.is_control()).take(300).collect()
}
