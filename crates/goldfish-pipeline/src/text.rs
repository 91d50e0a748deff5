//! Masks of the rules that decide by the text: from raw text, and from ids through their tokenizer.

use goldfish_corpus::Content;
use goldfish_mask::TokenSpan;
use goldfish_shard::Manifest;
use goldfish_tokenize::{EncodePath, IdSet, TextMap, TokenizeError, Tokenizer};

use crate::PipelineError;
use crate::job::{MaskJob, TokenizeOptions};
use crate::job_error::JobError;
use crate::rule::BuiltRule;

/// Which ids are no text: the tokenizer's special tokens, what the rule exempts, and the ends of documents.
///
/// From raw text and from ids they are the same, so that both see the same text.
pub(crate) fn silent_ids(
    tokenizer: &Tokenizer,
    exempt: &[u32],
    ends: impl IntoIterator<Item = u32>,
) -> IdSet {
    let mut ids = [tokenizer.special_ids(), exempt].concat();
    ids.extend(ends);
    IdSet::new(ids)
}

/// Buffers for one document after the other.
#[derive(Default)]
pub(crate) struct Scratch {
    text: String,
    spans: Vec<(usize, usize)>,
}

/// What a rule that decides by the text needs.
pub(crate) struct TextSide {
    /// The text of ids. Needed for inputs of ids, and for text where the tokenizer may have normalized it: there
    /// the spans of the tokens are only nearly right, and ids must give the same mask as their text.
    pub(crate) map: Option<TextMap>,
    /// Ids that are no text.
    pub(crate) silent: IdSet,
}

/// What a rule that decides by the text needs besides.
pub(crate) fn text_side(job: &MaskJob, rules: &[BuiltRule]) -> Result<Option<TextSide>, PipelineError> {
    if job.protect_only && matches!(job.read.content, Content::Text { .. }) {
        return Ok(None);
    }
    // Rules that decide by the text exempt the same ids: those of one tokenizer.
    let by_text = rules.iter().find(|rule| rule.masker.needs_text());
    let Some(rule) = by_text.or_else(|| rules.last().filter(|_| job.protect.is_some())) else {
        return Ok(None);
    };
    let Some(TokenizeOptions { tokenizer, prepend_bos, append_eos }) = &job.tokenize else {
        if by_text.is_none() {
            return Err(JobError::ProtectionNeedsTokenizer.into());
        }
        return Err(JobError::RuleNeedsTokenizer { rule: "text" }.into());
    };
    let map = match job.read.content {
        Content::Text { .. } => tokenizer.text_map().ok().filter(TextMap::is_lossless),
        Content::Ids { .. } => Some(tokenizer.text_map()?),
    };
    let ends = prepend_bos.iter().chain(append_eos).copied();
    Ok(Some(TextSide { map, silent: silent_ids(tokenizer, &rule.exempt_ids, ends) }))
}

/// Appends the ids of `text` with its ends, and decides them.
pub(crate) fn encode_and_decide(
    decide: &mut dyn FnMut(&TokenSpan<'_>, &mut [u8]),
    side: &TextSide,
    options: &TokenizeOptions,
    text: &str,
    (ids, mask): (&mut Vec<u32>, &mut Vec<u8>),
    scratch: &mut Scratch,
) -> Result<EncodePath, TokenizeError> {
    let start = ids.len();
    let Scratch { text: blanked, spans } = scratch;
    spans.clear();
    if let Some(bos) = options.prepend_bos {
        ids.push(bos);
        spans.push((0, 0));
    }
    let tokenizer = &options.tokenizer;
    let (path, map) = match &side.map {
        _ if tokenizer.encode_with_sure_offsets_into(text, ids, spans) => (EncodePath::Fast, None),
        Some(map) => (tokenizer.encode_into(text, ids)?, Some(map)),
        None => (tokenizer.encode_with_offsets_into(text, ids, spans)?, None),
    };
    if let Some(eos) = options.append_eos {
        ids.push(eos);
        spans.push((text.len(), text.len()));
    }
    let ids = &ids[start..];
    mask.resize(start + ids.len(), 0);
    if let Some(map) = map {
        decide_ids(decide, &side.silent, map, ids, &mut mask[start..], scratch)?;
        return Ok(path);
    }
    let mut text = text;
    if blank(ids, &side.silent, text, spans, blanked) {
        text = blanked;
    }
    decide(&TokenSpan::document(ids).with_text(text, spans), &mut mask[start..]);
    Ok(path)
}

/// Copies the text with a space for each byte of a silent token, if there is one in it.
fn blank(ids: &[u32], silent: &IdSet, text: &str, spans: &[(usize, usize)], blanked: &mut String) -> bool {
    let found = ids.iter().zip(spans).filter(|&(&id, span)| silent.contains(id) && span.0 < span.1);
    let mut found = found.peekable();
    if found.peek().is_none() {
        return false;
    }
    blanked.clear();
    let mut done = 0;
    for (_, &(start, end)) in found {
        // Spans end between characters; several tokens of one character have the same.
        let start = start.max(done);
        if start < end {
            blanked.push_str(&text[done..start]);
            blanked.extend(std::iter::repeat_n(' ', end - start));
            done = end;
        }
    }
    blanked.push_str(&text[done..]);
    true
}

/// Decides ids by the text that the map decodes.
pub(crate) fn decide_ids(
    decide: &mut dyn FnMut(&TokenSpan<'_>, &mut [u8]),
    silent: &IdSet,
    map: &TextMap,
    ids: &[u32],
    mask: &mut [u8],
    scratch: &mut Scratch,
) -> Result<(), TokenizeError> {
    map.decode_into(ids, silent.as_slice(), &mut scratch.text, &mut scratch.spans)?;
    decide(&TokenSpan::document(ids).with_text(&scratch.text, &scratch.spans), mask);
    Ok(())
}

/// Refuses a tokenizer that is not the one that a folder's manifest names; if it names none, any may be.
///
/// # Errors
///
/// If it is another one.
pub fn check_tokenizer(manifest: &Manifest, tokenizer: &Tokenizer) -> Result<(), PipelineError> {
    match &manifest.tokenizer {
        Some(entry) if entry.sha256 != tokenizer.sha256() => {
            let (expected, found) = (entry.sha256.clone(), tokenizer.sha256().to_owned());
            Err(JobError::OtherTokenizer { expected, found }.into())
        }
        _ => Ok(()),
    }
}

/// The text of a folder's documents, decoded from their ids as the rule `text-v1` sees it.
pub struct ShardText {
    map: TextMap,
    silent: IdSet,
}

impl ShardText {
    /// The text that `tokenizer` decodes, which must be the one that the shards were made with.
    ///
    /// # Errors
    ///
    /// If it is another tokenizer, or can't decode the text of ids exactly.
    pub fn new(manifest: &Manifest, tokenizer: &Tokenizer) -> Result<Self, PipelineError> {
        let Some(entry) = &manifest.tokenizer else {
            return Err(JobError::UnknownTokenizer.into());
        };
        check_tokenizer(manifest, tokenizer)?;
        let ends = entry.prepended_bos.into_iter().chain(entry.appended_eos);
        let by_text = manifest.policy.iter().find(|entry| entry.rule.definition().needs_text());
        let exempt_ids = by_text.map_or(&manifest.exempt_ids, |entry| &entry.exempt_ids);
        Self::with_ends(tokenizer, exempt_ids, ends)
    }

    /// The text of documents that are tokenized so, with ids that are never dropped.
    ///
    /// # Errors
    ///
    /// If the tokenizer can't decode the text of ids exactly.
    pub fn of_options(options: &TokenizeOptions, exempt_ids: &[u32]) -> Result<Self, PipelineError> {
        let ends = options.prepend_bos.into_iter().chain(options.append_eos);
        Self::with_ends(&options.tokenizer, exempt_ids, ends)
    }

    fn with_ends(
        tokenizer: &Tokenizer,
        exempt_ids: &[u32],
        ends: impl IntoIterator<Item = u32>,
    ) -> Result<Self, PipelineError> {
        Ok(Self { map: tokenizer.text_map()?, silent: silent_ids(tokenizer, exempt_ids, ends) })
    }

    /// Reads a document's text into `text`, and the start and end of each token's part of it, in bytes, into
    /// `spans`. Special tokens have an empty one.
    ///
    /// # Errors
    ///
    /// If the ids have no text.
    pub fn read(
        &self,
        ids: &[u32],
        text: &mut String,
        spans: &mut Vec<(usize, usize)>,
    ) -> Result<(), PipelineError> {
        Ok(self.map.decode_into(ids, self.silent.as_slice(), text, spans)?)
    }
}
