//! The documents of an audit, and the tokenizers of corpus and model.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use goldfish_audit::backend::{Backend, BackendError, TextTokenizer};
use goldfish_audit::canary::CanarySource;
use goldfish_audit::config::{DocumentsOrigin, Origin};
use goldfish_audit::documents::{DocumentOptions, Documents, Encoder, Named};
use goldfish_audit::probe::ProbeTable;
use goldfish_audit::tokens::{
    DocumentTokens, KnownTokenizer, TokenCheck, TokenizerName, Tokenizers, check_tokens,
};
use goldfish_corpus::Content;
use goldfish_pipeline::check_tokenizer;
use goldfish_shard::{MANIFEST_NAME, Manifest};
use goldfish_tokenize::Tokenizer;

use super::canary;
use crate::args::AuditArgs;
use crate::describe::describe_rule;
use crate::print;

/// What was named as documents, and the tokenizers that were found.
pub(super) struct Sources {
    corpus: Set,
    /// Without masks: the model was not trained on it.
    control: Set,
    /// Texts that the model is known to recite.
    canary: Set,
    /// The tokenizer that was named.
    given: Option<Asked>,
    /// The one beside the checkpoint.
    own: Option<Asked>,
}

/// The arguments of one set, and the documents that they name.
struct Set {
    sources: Vec<Source>,
    documents: Documents,
}

/// One argument.
struct Source {
    path: String,
    /// Of what `goldfish mask` wrote.
    manifest: Option<Manifest>,
    named: Named,
}

impl Set {
    fn find(paths: &[String], options: DocumentOptions) -> anyhow::Result<Self> {
        let documents = Documents::find(paths, options)?;
        let read = |(path, named): (&String, &Named)| {
            let folder = Path::new(path);
            let shards = goldfish_storage::is_taken(&folder.join(MANIFEST_NAME));
            let manifest = shards.then(|| Manifest::read(folder)).transpose()?;
            Ok(Source { path: path.clone(), manifest, named: *named })
        };
        let sources = paths.iter().zip(documents.named()).map(read).collect::<anyhow::Result<_>>()?;
        Ok(Self { sources, documents })
    }
}

impl Sources {
    pub(super) fn find(args: &AuditArgs) -> anyhow::Result<Self> {
        let given = args.tokenizer.as_deref().map(Asked::open).transpose()?;
        let own = match args.model.tokenizer().map(|path| Asked::open(&path)).transpose() {
            Err(error) if args.allow_tokenizer_mismatch => {
                print::warn(&format!("the model's tokenizer can't be read: {error:#}"));
                None
            }
            read => read?,
        };
        let options = document_options(args, given.as_ref().or(own.as_ref()));
        let without_masks = DocumentOptions { mask_column: None, ..options.clone() };
        let canary: &[String] =
            if canary::source(&args.canary) == CanarySource::OwnOutput { &[] } else { &args.canary };
        let canary = Set::find(canary, without_masks.clone())?;
        let (corpus, control) = (Set::find(&args.corpus, options)?, Set::find(&args.control, without_masks)?);
        if let Some(given) = &given {
            for Source { path, manifest, .. } in corpus.sources.iter().chain(&control.sources) {
                if let Some(manifest) = manifest {
                    check_tokenizer(manifest, &given.tokenizer).with_context(|| path.clone())?;
                }
            }
        }
        Ok(Self { corpus, control, canary, given, own })
    }

    /// The audited documents.
    pub(super) fn corpus(&self) -> &Documents {
        &self.corpus.documents
    }

    /// The control's documents, if some were named.
    pub(super) fn control(&self) -> Option<&Documents> {
        (!self.control.sources.is_empty()).then_some(&self.control.documents)
    }

    /// The texts that the model is known to recite, if some were named.
    pub(super) fn canary(&self) -> Option<&Documents> {
        (!self.canary.sources.is_empty()).then_some(&self.canary.documents)
    }

    /// The tokenizer of raw text, as one that can be asked.
    pub(super) fn text_tokenizer(&self) -> Option<&dyn TextTokenizer> {
        self.encoder().map(|asked| asked as &dyn TextTokenizer)
    }

    /// The tokenizer of raw text.
    fn encoder(&self) -> Option<&Asked> {
        self.given.as_ref().or(self.own.as_ref())
    }

    /// The tokenizer of the documents: the one that was named, or the checkpoint's where all were made with it.
    pub(super) fn tokenizer(&self) -> Option<&Arc<Tokenizer>> {
        let made_with = |own: &Asked| {
            let mut sources = self.corpus.sources.iter().chain(&self.control.sources);
            sources.all(|source| {
                let named = |tokens: &DocumentTokens| tokens.name.as_ref() == Some(&own.name);
                self.tokens(source).iter().all(named)
            })
        };
        let own = self.own.as_ref().filter(|own| made_with(own));
        self.given.as_ref().or(own).map(|asked| &asked.tokenizer)
    }

    /// What is known of the tokens of a source. Of ids that name no tokenizer, the named one may be said to have made them.
    fn tokens(&self, source: &Source) -> Vec<DocumentTokens> {
        let name = |asked: &Asked| asked.name.clone();
        let mut known = Vec::new();
        if source.named.text {
            known.push(DocumentTokens { name: self.encoder().map(name), tokenized: true });
        }
        if source.named.ids {
            let manifest = source.manifest.as_ref();
            let entry = manifest.and_then(|manifest| manifest.tokenizer.as_ref());
            let entry = entry
                .map(|entry| TokenizerName { sha256: entry.sha256.clone(), vocab_size: entry.vocab_size });
            let tokenized =
                entry.is_some() && manifest.is_some_and(|manifest| manifest.source.content == "text");
            known.push(DocumentTokens { name: entry.or(self.given.as_ref().map(name)), tokenized });
        }
        known
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
        let known = [&self.corpus, &self.control].map(|set| {
            let mut known: Vec<_> = set.sources.iter().flat_map(|source| self.tokens(source)).collect();
            known.sort();
            known.dedup();
            known
        });
        let sets: Vec<_> = known.iter().map(Vec::as_slice).zip(tables.iter().copied()).collect();
        Ok(check_tokens(&tokenizers, &sets, args.allow_tokenizer_mismatch)?)
    }

    /// What it takes to reproduce the run.
    pub(super) fn origin(&self) -> Origin {
        let origins = |set: &Set| set.sources.iter().map(|source| self.origin_of(source)).collect();
        Origin {
            command: print::command_line(),
            corpus: origins(&self.corpus),
            control: origins(&self.control),
            tokenizer: self.tokenizer().map(|tokenizer| tokenizer.sha256().to_owned()),
        }
    }

    fn origin_of(&self, source: &Source) -> DocumentsOrigin {
        let encoder = self.encoder().filter(|_| source.named.text);
        DocumentsOrigin {
            path: source.path.clone(),
            manifest: source.manifest.as_ref().map(|manifest| manifest.checksum.clone()),
            rule: source.manifest.as_ref().map(describe_rule),
            tokenized_by: encoder.map(|encoder| encoder.name.sha256.clone()),
        }
    }
}

/// How documents are read, as far as the command line says.
fn document_options(args: &AuditArgs, encoder: Option<&Asked>) -> DocumentOptions {
    let text = args.text_column.clone().map(|column| Content::Text { column });
    let ids = args.ids_column.clone().map(|column| Content::Ids { column });
    DocumentOptions {
        content: text.or(ids),
        encoder: encoder.map(|encoder| Encoder(Arc::new(encoder.clone()))),
        format: args.format,
        id_type: args.ids_dtype,
        eos_id: args.eos_id.or(encoder.and_then(|encoder| encoder.tokenizer.eos_id())),
        max_document: args.max_document,
        id_column: args.id_column.clone(),
        mask_column: args.mask_column.clone(),
        by: args.by.clone(),
        cluster: args.cluster.clone(),
    }
}

/// A tokenizer file, as an audit asks it.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) tokenizer: Arc<Tokenizer>,
    name: TokenizerName,
}

impl Asked {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
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

impl TextTokenizer for Asked {
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
