//! The model of `--model` or `--server`.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use goldfish_audit::backend::Backend;
use goldfish_audit::prompt_template::PromptTemplate;
use goldfish_backends::http::{ApiKey, KEY_VARIABLE, Server, ServerOptions, TextCodec};
use goldfish_backends::local::Checkpoint;
use goldfish_tokenize::Tokenizer;

use crate::args::ModelArgs;
use crate::print;
use crate::threads::use_threads;

/// Sequences in one pass through a model in this process.
const BATCH: u16 = 32;

/// A model, and how many sequences to hand it at a time.
pub(crate) struct Model {
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) batch: usize,
}

/// What is asked of a model besides what its options say.
#[derive(Default)]
pub(crate) struct Asking {
    /// The tokenizer of the corpus, for servers that take text.
    pub(crate) tokenizer: Option<Arc<Tokenizer>>,
    /// The token before every sequence: servers that take text add it themselves.
    pub(crate) bos: Option<u32>,
    /// The sampling scheme's largest number of tokens to draw from.
    pub(crate) top_k: Option<u32>,
}

/// Loads the checkpoint, or connects to the server.
pub(crate) fn open(args: &ModelArgs, asking: Asking) -> anyhow::Result<Model> {
    if let Some(folder) = &args.model {
        use_threads(args.threads)?;
        let mut checkpoint = Checkpoint::open(folder, args.adapter.as_deref())?;
        if let Some(memory) = args.memory() {
            checkpoint = checkpoint.with_memory(memory)?;
        }
        return Ok(Model { backend: Box::new(checkpoint), batch: args.batch.unwrap_or(BATCH).into() });
    }
    let Some(url) = &args.server else { bail!("give --model DIR or --server URL") };
    let defaults = ServerOptions::default();
    let codec = asking
        .tokenizer
        .map(|tokenizer| -> Box<dyn TextCodec> { Box::new(Codec { tokenizer, bos: asking.bos }) });
    let options = ServerOptions {
        protocol: args.protocol,
        model: args.server_model.clone(),
        key: ApiKey::from_environment().map_err(anyhow::Error::msg).context(KEY_VARIABLE)?,
        connections: args.threads.map_or(defaults.connections, usize::from),
        sequences: args.batch.map_or(defaults.sequences, usize::from),
        top_k: asking.top_k,
        template: template(args)?,
        codec,
        ..defaults
    };
    let server = Server::connect(url, options)?;
    print::note(&format!("{url} speaks {}", server.protocol()));
    server.notes().iter().for_each(|note| print::note(&format!("note: {note}")));
    Ok(Model { batch: server.batch(), backend: Box::new(server) })
}

/// Largest file with a message, in bytes.
const MAX_MESSAGE_BYTES: u64 = 1 << 20;

/// The template of `--prompt-template` and `--system-prompt`, if one of them is given.
fn template(args: &ModelArgs) -> anyhow::Result<Option<PromptTemplate>> {
    let message = |given: &Option<String>, option: &str| {
        given.as_deref().map(message).transpose().with_context(|| option.to_owned())
    };
    let prompt = message(&args.prompt_template, "--prompt-template")?;
    let system = message(&args.system_prompt, "--system-prompt")?;
    if prompt.is_none() && system.is_none() {
        return Ok(None);
    }
    Ok(Some(PromptTemplate::new(prompt, system).map_err(anyhow::Error::msg).context("--prompt-template")?))
}

/// A message, or that of a file after an `@`.
fn message(given: &str) -> anyhow::Result<String> {
    let Some(file) = given.strip_prefix('@') else { return Ok(given.to_owned()) };
    let bytes =
        goldfish_storage::read(Path::new(file), MAX_MESSAGE_BYTES).with_context(|| file.to_owned())?;
    let text = String::from_utf8(bytes).with_context(|| format!("{file} is not UTF-8"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
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
pub(crate) fn text(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let known: Vec<u32> = ids.iter().copied().filter(|id| tokenizer.token(*id).is_some()).collect();
    tokenizer.decode(&known).unwrap_or_else(|_| char::REPLACEMENT_CHARACTER.to_string())
}
