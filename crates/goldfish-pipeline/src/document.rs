//! Documents in memory, decided as a run decides them.

use goldfish_mask::{Masker, RuleSpec, TokenSpan, UniformTable};
use goldfish_shard::{Manifest, TokenizerEntry};
use goldfish_tokenize::{TextMap, TokenizeError};

use crate::PipelineError;
use crate::job::TokenizeOptions;
use crate::job_error::JobError;
use crate::text::{Scratch, TextSide, check_tokenizer, decide_ids, encode_and_decide, silent_ids};

/// Decides documents one by one: the masks of [`mask_corpus`](crate::mask_corpus) in scope `document`, without files.
pub struct DocumentMasker {
    masker: Masker,
    tokenize: Option<TokenizeOptions>,
    text: Option<TextDecider>,
}

/// What a rule that decides by the text needs besides.
struct TextDecider {
    side: TextSide,
    /// The text of ids where the side has none, because the tokenizer loses words that it doesn't know.
    lossy: Option<TextMap>,
}

/// Buffers for one document after the other.
#[derive(Default)]
pub struct DocumentScratch(Scratch);

impl DocumentMasker {
    /// A masker for this rule. `exempt` are the ids that are never dropped (see [`exempt_ids`](crate::exempt_ids)).
    ///
    /// # Errors
    ///
    /// If the rule can't be built, or decides by the text and there is no tokenizer.
    pub fn new(
        rule: &RuleSpec,
        table: Option<&UniformTable>,
        exempt: &[u32],
        tokenize: Option<TokenizeOptions>,
    ) -> Result<Self, PipelineError> {
        let masker = Masker::new(rule.build(table)?, exempt);
        let text = match (&tokenize, masker.needs_text()) {
            (_, false) => None,
            (None, true) => {
                return Err(JobError::RuleNeedsTokenizer { rule: "text" }.into());
            }
            (Some(TokenizeOptions { tokenizer, prepend_bos, append_eos }), true) => {
                let silent = silent_ids(tokenizer, exempt, prepend_bos.iter().chain(append_eos).copied());
                let (map, lossy) = match tokenizer.text_map() {
                    Ok(map) if map.is_lossless() => (Some(map), None),
                    Ok(map) => (None, Some(map)),
                    Err(_) => (None, None),
                };
                Some(TextDecider { side: TextSide { map, silent }, lossy })
            }
        };
        Ok(Self { masker, tokenize, text })
    }

    /// A masker that decides as the masks of a folder were decided, with the ends of documents that it has.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and if the tokenizer is not the manifest's, or the masks are those of packed sequences, or of a
    /// policy.
    pub fn of_manifest(
        manifest: &Manifest,
        table: Option<&UniformTable>,
        tokenizer: Option<std::sync::Arc<goldfish_tokenize::Tokenizer>>,
    ) -> Result<Self, PipelineError> {
        if manifest.scope != goldfish_mask::Scope::Document {
            return Err(JobError::PackedSequences.into());
        }
        if !manifest.policy.is_empty() {
            return Err(JobError::SeveralRules.into());
        }
        if let Some(tokenizer) = &tokenizer {
            check_tokenizer(manifest, tokenizer)?;
        }
        let ends = |entry: &TokenizerEntry| (entry.prepended_bos, entry.appended_eos);
        let (prepend_bos, append_eos) = manifest.tokenizer.as_ref().map(ends).unwrap_or_default();
        let tokenize = tokenizer.map(|tokenizer| TokenizeOptions { tokenizer, prepend_bos, append_eos });
        Self::new(&manifest.rule, table, &manifest.exempt_ids, tokenize)
    }

    /// The tokenizer and the ends of documents.
    #[must_use]
    pub fn tokenize(&self) -> Option<&TokenizeOptions> {
        self.tokenize.as_ref()
    }

    /// Decides a document of ids: one byte a token into `mask`, 1 for a token in the loss. `key` is
    /// [`document_key`](goldfish_mask::document_key) of its id; only the rule `random` looks at it.
    ///
    /// # Errors
    ///
    /// If the rule decides by the text and the ids have none.
    ///
    /// # Panics
    ///
    /// If the mask has another length than the ids.
    pub fn decide_ids(
        &self,
        ids: &[u32],
        key: u64,
        mask: &mut [u8],
        scratch: &mut DocumentScratch,
    ) -> Result<(), TokenizeError> {
        let mut decide =
            |span: &TokenSpan<'_>, mask: &mut [u8]| self.masker.decide(&span.with_key(key), mask);
        let Some(TextDecider { side, lossy }) = &self.text else {
            decide(&TokenSpan::document(ids), mask);
            return Ok(());
        };
        match (side.map.as_ref().or(lossy.as_ref()), &self.tokenize) {
            (Some(map), _) => decide_ids(&mut decide, &side.silent, map, ids, mask, &mut scratch.0),
            (None, Some(options)) => {
                // What kept the map from being made is the error; it can't be made now either.
                let map = options.tokenizer.text_map()?;
                decide_ids(&mut decide, &side.silent, &map, ids, mask, &mut scratch.0)
            }
            (None, None) => {
                decide(&TokenSpan::document(ids), mask);
                Ok(())
            }
        }
    }

    /// Appends the ids of a text with its ends to `ids`, and their mask to `mask`; gives how many there are.
    ///
    /// # Errors
    ///
    /// If there is no tokenizer, or the text can't be tokenized; both vectors are as before then.
    pub fn encode(
        &self,
        text: &str,
        key: u64,
        (ids, mask): (&mut Vec<u32>, &mut Vec<u8>),
        scratch: &mut DocumentScratch,
    ) -> Result<usize, PipelineError> {
        let Some(options) = &self.tokenize else {
            return Err(JobError::TextNeedsTokenizer.into());
        };
        let start = ids.len();
        let mut decide =
            |span: &TokenSpan<'_>, mask: &mut [u8]| self.masker.decide(&span.with_key(key), mask);
        let done = match &self.text {
            Some(TextDecider { side, .. }) => {
                encode_and_decide(&mut decide, side, options, text, (ids, mask), &mut scratch.0).map(drop)
            }
            None => {
                ids.extend(options.prepend_bos);
                let encoded = options.tokenizer.encode_into(text, ids);
                ids.extend(options.append_eos);
                mask.resize(ids.len(), 0);
                decide(&TokenSpan::document(&ids[start..]), &mut mask[start..]);
                encoded.map(drop)
            }
        };
        if let Err(error) = done {
            ids.truncate(start);
            mask.truncate(start);
            return Err(error.into());
        }
        Ok(ids.len() - start)
    }
}
