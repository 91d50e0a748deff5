//! What a masker does, without Python.

use std::sync::Arc;

use goldfish_mask::RuleSpec;
use goldfish_pipeline::{DocumentMasker, DocumentScratch, PipelineError};

use crate::error::MaskerError;

/// A masker with its description.
pub(crate) struct Core {
    pub(crate) rule: RuleSpec,
    pub(crate) exempt_ids: Vec<u32>,
    pub(crate) masker: DocumentMasker,
    /// The bytes of the tokenizer.json, to take it to another process.
    pub(crate) tokenizer: Option<Arc<[u8]>>,
    /// The numbers of a table from a file, for the same.
    pub(crate) table: Option<Vec<f32>>,
}

/// Texts as tokens, with their masks.
#[derive(Default)]
pub(crate) struct Encoded {
    pub(crate) ids: Vec<u32>,
    pub(crate) mask: Vec<u8>,
    /// Where documents end, in tokens, after a first 0.
    pub(crate) ends: Vec<usize>,
}

impl Core {
    /// Whether the rule uses the ids of documents.
    pub(crate) fn needs_doc_ids(&self) -> bool {
        self.rule.definition().needs_key()
    }

    /// Decides documents that end at `ends`, the first of which is 0.
    pub(crate) fn decide(
        &self,
        ids: &[u32],
        ends: &[usize],
        keys: Option<&[u64]>,
    ) -> Result<Vec<u8>, MaskerError> {
        let vocabulary = self.masker.tokenize().map_or(u32::MAX, |options| options.tokenizer.vocab_size());
        let mut mask = vec![0; ids.len()];
        let mut scratch = DocumentScratch::default();
        for (row, pair) in ends.windows(2).enumerate() {
            let document = &ids[pair[0]..pair[1]];
            if vocabulary < u32::MAX
                && let Some(position) = document.iter().position(|&id| id >= vocabulary)
            {
                let id = document[position];
                let advice = format!("the id {id} is not in the tokenizer's vocabulary of {vocabulary}");
                return Err(MaskerError::data(advice).at_row(row).at_position(position));
            }
            let key = keys.map_or(0, |keys| keys[row]);
            self.masker
                .decide_ids(document, key, &mut mask[pair[0]..pair[1]], &mut scratch)
                .map_err(|error| MaskerError::from(error).at_row(row))?;
        }
        Ok(mask)
    }

    /// Tokenizes and decides texts.
    pub(crate) fn encode<'t>(
        &self,
        texts: impl Iterator<Item = &'t str>,
        keys: Option<&[u64]>,
        scratch: &mut DocumentScratch,
    ) -> Result<Encoded, MaskerError> {
        let mut encoded = Encoded { ends: vec![0], ..Encoded::default() };
        for (row, text) in texts.enumerate() {
            let key = keys.map_or(0, |keys| keys[row]);
            let out = (&mut encoded.ids, &mut encoded.mask);
            let done = self.masker.encode(text, key, out, scratch);
            done.map_err(|error: PipelineError| MaskerError::from(error).at_row(row))?;
            encoded.ends.push(encoded.ids.len());
        }
        Ok(encoded)
    }
}

/// A number as a token id, or why it isn't one.
pub(crate) fn token_id<N: TryInto<i64> + std::fmt::Display + Copy>(number: N) -> Result<i32, String> {
    let id = number.try_into().ok().and_then(|id| i32::try_from(id).ok()).filter(|&id| id >= 0);
    id.ok_or_else(|| format!("{number} is not a token id; ids are in 0..={}", i32::MAX))
}
