//! The documents of an audit, and the tokenizers of corpus and model.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use goldfish_audit::backend::{Backend, BackendError, OwnTokenizer};
use goldfish_audit::config::{DocumentsOrigin, Origin};
use goldfish_audit::probe::ProbeTable;
use goldfish_audit::tokens::{
    DocumentTokens, KnownTokenizer, TokenCheck, TokenizerName, Tokenizers, check_tokens,
};
use goldfish_pipeline::check_tokenizer;
use goldfish_shard::{MANIFEST_NAME, Manifest};
use goldfish_tokenize::Tokenizer;

use crate::args::AuditArgs;
use crate::describe::describe_rule;
use crate::print;

/// The file of a checkpoint's tokenizer.
const TOKENIZER_NAME: &str = "tokenizer.json";

/// What was named as documents, with the manifests of what `goldfish mask` wrote, and the tokenizers that were found.
pub(super) struct Sources {
    corpus: Vec<Source>,
    control: Vec<Source>,
    /// The tokenizer that was named.
    given: Option<Asked>,
    /// The one beside the checkpoint.
    own: Option<Asked>,
}

struct Source {
    path: String,
    manifest: Option<Manifest>,
}

impl Source {
    fn read(path: &String) -> anyhow::Result<Self> {
        let folder = Path::new(path);
        let shards = goldfish_storage::is_taken(&folder.join(MANIFEST_NAME));
        Ok(Self { path: path.clone(), manifest: shards.then(|| Manifest::read(folder)).transpose()? })
    }

    /// What is known of its tokens. Of ids that name no tokenizer, the named one may be said to have made them.
    fn tokens(&self, given: Option<&Asked>) -> DocumentTokens {
        let entry =
            self.manifest.as_ref().and_then(|manifest| Some((manifest, manifest.tokenizer.as_ref()?)));
        match entry {
            Some((manifest, entry)) => DocumentTokens {
                name: Some(TokenizerName { sha256: entry.sha256.clone(), vocab_size: entry.vocab_size }),
                tokenized: manifest.source.content == "text",
            },
            None => DocumentTokens { name: given.map(|given| given.name.clone()), tokenized: false },
        }
    }

    fn origin(&self) -> DocumentsOrigin {
        DocumentsOrigin {
            path: self.path.clone(),
            manifest: self.manifest.as_ref().map(|manifest| manifest.checksum.clone()),
            rule: self.manifest.as_ref().map(describe_rule),
        }
    }
}

impl Sources {
    pub(super) fn read(args: &AuditArgs) -> anyhow::Result<Self> {
        let read = |paths: &[String]| paths.iter().map(Source::read).collect::<anyhow::Result<Vec<_>>>();
        let (corpus, control) = (read(&args.shards)?, read(&args.control)?);
        let given = args.tokenizer.as_deref().map(Asked::open).transpose()?;
        if let Some(given) = &given {
            for Source { path, manifest } in corpus.iter().chain(&control) {
                if let Some(manifest) = manifest {
                    check_tokenizer(manifest, &given.tokenizer).with_context(|| path.clone())?;
                }
            }
        }
        let own =
            args.model.model.as_ref().map(|model| model.join(TOKENIZER_NAME)).filter(|path| path.is_file());
        let own = match own.map(|path| Asked::open(&path)).transpose() {
            Err(error) if args.allow_tokenizer_mismatch => {
                print::warn(&format!("the model's tokenizer can't be read: {error:#}"));
                None
            }
            read => read?,
        };
        Ok(Self { corpus, control, given, own })
    }

    /// The tokenizer of the documents: the one that was named, or the checkpoint's where all were made with it.
    pub(super) fn tokenizer(&self) -> Option<&Arc<Tokenizer>> {
        let made_with = |own: &Asked| {
            let mut sources = self.corpus.iter().chain(&self.control);
            sources.all(|source| source.tokens(None).name.is_some_and(|name| name.sha256 == own.name.sha256))
        };
        let own = self.own.as_ref().filter(|own| made_with(own));
        self.given.as_ref().or(own).map(|asked| &asked.tokenizer)
    }

    /// Compares the tokenizers of all documents with the model's.
    pub(super) fn check_tokens(
        &self,
        args: &AuditArgs,
        backend: &dyn Backend,
        tables: &[&ProbeTable],
    ) -> anyhow::Result<TokenCheck> {
        let of_server = backend.tokenizer().map(|tokenizer| KnownTokenizer { name: None, tokenizer });
        let tokenizers = Tokenizers {
            corpus: self.given.as_ref().map(Asked::known),
            model: self.own.as_ref().map(Asked::known).or(of_server),
            vocab_size: backend.describe()?.vocab_size,
        };
        let known = |sources: &[Source]| {
            let mut known: Vec<_> = sources.iter().map(|source| source.tokens(self.given.as_ref())).collect();
            known.sort();
            known.dedup();
            known
        };
        let known = [known(&self.corpus), known(&self.control)];
        let sets: Vec<_> = known.iter().map(Vec::as_slice).zip(tables.iter().copied()).collect();
        Ok(check_tokens(&tokenizers, &sets, args.allow_tokenizer_mismatch)?)
    }

    /// What it takes to reproduce the run.
    pub(super) fn origin(&self) -> Origin {
        Origin {
            command: print::command_line(),
            corpus: self.corpus.iter().map(Source::origin).collect(),
            control: self.control.iter().map(Source::origin).collect(),
            tokenizer: self.tokenizer().map(|tokenizer| tokenizer.sha256().to_owned()),
        }
    }
}

/// A tokenizer file, as an audit asks it.
struct Asked {
    tokenizer: Arc<Tokenizer>,
    name: TokenizerName,
}

impl Asked {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let tokenizer = Tokenizer::from_file(path)?;
        let name =
            TokenizerName { sha256: tokenizer.sha256().to_owned(), vocab_size: tokenizer.vocab_size() };
        Ok(Self { tokenizer: Arc::new(tokenizer), name })
    }

    fn known(&self) -> KnownTokenizer<'_> {
        KnownTokenizer { name: Some(&self.name), tokenizer: self }
    }

    fn failed(&self, error: &goldfish_tokenize::TokenizeError) -> BackendError {
        let backend = format!("the tokenizer {}", self.name.sha256);
        BackendError::Failed { backend, reason: error.to_string(), retry_after: None }
    }
}

impl OwnTokenizer for Asked {
    fn decode(&self, ids: &[u32]) -> Result<String, BackendError> {
        if let Some(id) = ids.iter().find(|id| self.tokenizer.token(**id).is_none()) {
            let backend = format!("the tokenizer {}", self.name.sha256);
            return Err(BackendError::UnknownToken { backend, id: *id, vocab_size: self.name.vocab_size });
        }
        self.tokenizer.decode(ids).map_err(|error| self.failed(&error))
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>, BackendError> {
        let mut ids = Vec::new();
        self.tokenizer.encode_into(text, &mut ids).map_err(|error| self.failed(&error))?;
        Ok(ids)
    }
}
