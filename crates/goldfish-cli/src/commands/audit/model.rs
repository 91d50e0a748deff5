//! The model of `--model` or `--server`.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use goldfish_audit::backend::Backend;
use goldfish_backends::http::{ApiKey, KEY_VARIABLE, Protocol, Server, ServerOptions, TextCodec};
use goldfish_backends::local::Checkpoint;
use goldfish_tokenize::Tokenizer;

use crate::args::AuditArgs;
use crate::print;

/// Sequences in one pass through a model in this process.
const BATCH: u16 = 32;

/// A model, and how many sequences to hand it at a time.
pub(crate) struct Model {
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) batch: usize,
}

/// What a command line says about the model and how to ask it.
#[derive(Default)]
pub(crate) struct Choice<'a> {
    pub(crate) model: Option<&'a Path>,
    pub(crate) adapter: Option<&'a Path>,
    pub(crate) server: Option<&'a str>,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) server_model: Option<&'a str>,
    pub(crate) bos_id: Option<u32>,
    pub(crate) batch: Option<u16>,
    pub(crate) threads: Option<u16>,
    /// Log-probabilities under a sampling scheme are asked for that draws from so many tokens.
    pub(crate) top_k: Option<u32>,
}

impl<'a> From<&'a AuditArgs> for Choice<'a> {
    fn from(args: &'a AuditArgs) -> Self {
        Self {
            model: args.model.as_deref(),
            adapter: args.adapter.as_deref(),
            server: args.server.as_deref(),
            protocol: args.protocol,
            server_model: args.server_model.as_deref(),
            bos_id: args.bos_id,
            batch: args.batch,
            threads: args.threads,
            top_k: args.temperature.and(args.top_k),
        }
    }
}

impl Choice<'_> {
    pub(crate) fn open(&self, tokenizer: Option<&Arc<Tokenizer>>) -> anyhow::Result<Model> {
        if let Some(folder) = self.model {
            if let Some(threads) = self.threads {
                rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build_global()?;
            }
            let checkpoint = Checkpoint::open(folder, self.adapter)?;
            return Ok(Model { backend: Box::new(checkpoint), batch: self.batch.unwrap_or(BATCH).into() });
        }
        let Some(url) = self.server else { bail!("give --model DIR or --server URL") };
        let defaults = ServerOptions::default();
        let codec = tokenizer.map(|tokenizer| -> Box<dyn TextCodec> {
            Box::new(Codec { tokenizer: tokenizer.clone(), bos: self.bos_id })
        });
        let options = ServerOptions {
            protocol: self.protocol,
            model: self.server_model.map(str::to_owned),
            key: ApiKey::from_environment().map_err(anyhow::Error::msg).context(KEY_VARIABLE)?,
            connections: self.threads.map_or(defaults.connections, usize::from),
            sequences: self.batch.map_or(defaults.sequences, usize::from),
            top_k: self.top_k,
            codec,
            ..defaults
        };
        let server = Server::connect(url, options)?;
        print::note(&format!("{url} speaks {}", server.protocol()));
        server.notes().iter().for_each(|note| print::note(&format!("note: {note}")));
        Ok(Model { batch: server.batch(), backend: Box::new(server) })
    }
}

/// The tokenizer of the corpus, for servers that take text.
struct Codec {
    tokenizer: Arc<Tokenizer>,
    /// The token before every sequence: servers that take text add it themselves.
    bos: Option<u32>,
}

impl TextCodec for Codec {
    fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        // A text that can't be tokenized comes back as no ids, which equal no prompt's.
        let encoded = self.tokenizer.encode_into(text, &mut ids);
        if encoded.is_err() {
            ids.clear();
        }
        ids
    }

    fn decode(&self, ids: &[u32]) -> String {
        text(&self.tokenizer, ids)
    }

    fn server_bos(&self) -> Option<u32> {
        self.bos
    }
}

/// Text of ids; a model can give ids that the tokenizer doesn't have.
pub(super) fn text(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let known: Vec<u32> = ids.iter().copied().filter(|id| tokenizer.token(*id).is_some()).collect();
    tokenizer.decode(&known).unwrap_or_else(|_| char::REPLACEMENT_CHARACTER.to_string())
}
