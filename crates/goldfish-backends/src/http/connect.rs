//! Connecting to a server.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use goldfish_audit::backend::{BackendError, ModelDescription, ScoreRequest, Wants};

use super::client::Client;
use super::codec::TextCodec;
use super::probe::{Found, Kind, Probe};
use super::protocol::Scorer;
use super::protocols::{KINDS, Protocol};
use super::server::{Server, ServerOptions};

impl Server {
    /// Asks a server what it is, and what it can do.
    ///
    /// # Errors
    ///
    /// If it can't be reached, has several models and none was named, or speaks no known protocol.
    pub fn connect(url: &str, options: ServerOptions) -> Result<Self, BackendError> {
        let connections = options.connections.max(1);
        let client = Client::new(url, options.key, options.timeouts, options.retry, connections)?;
        let codec: Option<Arc<dyn TextCodec>> = options.codec.map(Arc::from);
        let no_codec = codec.is_none();
        let (named, model) = (options.protocol.is_some(), options.model.as_deref());
        let (protocol, found) = detect(
            &Probe::new(&client, named, model, options.top_k, codec, &options.template),
            options.protocol,
        )?;
        if options.template.is_some() && found.template.is_none() {
            return Err(BackendError::Unsupported {
                backend: client.base().into(),
                what: format!("be asked through a prompt template by the protocol {protocol}"),
                advice: "use the protocol chat, or no template".into(),
            });
        }
        let description = describe(&client, protocol, &found);
        let Found { scorers, generator, tokenizer, .. } = found;
        let mut server = Self {
            protocol,
            scorer: None,
            generator,
            tokenizer,
            description,
            schemes: false,
            notes: Vec::new(),
            connections,
            sequences: options.sequences.max(1),
            client,
        };
        for (scorer, wants) in scorers {
            if server.try_scorer(&*scorer, &wants)? {
                server.scorer = Some(scorer);
                let candidates = wants.scheme.and_then(|scheme| scheme.top_k);
                server.schemes = options.top_k.is_some() && candidates == options.top_k;
                break;
            }
        }
        if server.generator.is_none() && no_codec {
            server
                .notes
                .push("its continuations are text, and there is no tokenizer to read them with".into());
        }
        Ok(server)
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

/// Asks for the pages that only one kind of server has.
fn detect(probe: &Probe<'_>, protocol: Option<Protocol>) -> Result<(Protocol, Found), BackendError> {
    let asked = |kind: &&&Kind| protocol.is_none_or(|protocol| kind.protocol == protocol.name());
    for kind in KINDS.iter().filter(asked) {
        if let Some(found) = (kind.detect)(probe)? {
            return Ok((Protocol(kind.protocol), found));
        }
    }
    let mut pages: Vec<&str> = KINDS.iter().filter(asked).map(|kind| kind.page).collect();
    pages.dedup();
    let servers = protocol.map_or("a known server", Protocol::name);
    Err(probe.error(&format!("it doesn't answer {} as {servers} does", pages.join(" or "))))
}

fn describe(client: &Client, protocol: Protocol, found: &Found) -> ModelDescription {
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
        backend: protocol.name().into(),
        vocab_size: found.vocab_size,
        context_length: found.context_length,
        memory: None,
        template: found.template.clone(),
    }
}
