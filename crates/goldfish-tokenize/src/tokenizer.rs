//! The tokenizer: loading, and the choice between its two paths.

use std::fmt;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::added::AddedTokens;
use crate::error::TokenizeError;
use crate::exact::{self, Exact};
use crate::fast::Fast;
use crate::file::{self, File, MAX_TOKENIZER_BYTES, diagnose};
use crate::id_set::IdSet;
use crate::special::{self, Ends, SpecialInText};
use crate::text_map::{TextKind, TextMap, text_kind};
use crate::tokens::Tokens;

/// Which of the two paths tokenized a text. The ids are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EncodePath {
    /// This crate's own code.
    Fast,
    /// The `tokenizers` crate.
    Exact,
}

/// Whether a tokenizer has a fast path.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FastPath {
    /// It has; single documents may still be sent to the exact path.
    On {
        /// What the tokenizer was recognised as, for example `byte-level BPE after NFC`.
        family: &'static str,
    },
    /// It has not: every document takes the exact path.
    Off {
        /// Why, in words that complete "no fast path: ".
        reason: String,
    },
}

impl FastPath {
    /// Whether there is a fast path.
    #[must_use]
    pub fn is_on(&self) -> bool {
        matches!(self, Self::On { .. })
    }
}

impl fmt::Display for FastPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On { family } => write!(formatter, "fast path: {family}"),
            Self::Off { reason } => write!(formatter, "no fast path: {reason}"),
        }
    }
}

/// A tokenizer, loaded from a `tokenizer.json`; one is shared by all threads.
///
/// Text is encoded as written: no BOS or EOS is added, nothing is truncated or padded, whatever the file says.
/// Added tokens that occur in the text become their single ids, as with the `tokenizers` crate; special ones too, unless
/// [`from_file_with`](Self::from_file_with) says otherwise.
///
/// ```
/// # fn main() -> Result<(), goldfish_tokenize::TokenizeError> {
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/tokenizers/gpt2.json");
/// use goldfish_tokenize::Tokenizer;
///
/// let tokenizer = Tokenizer::from_file(path.as_ref())?;
/// let mut ids = Vec::new();
/// tokenizer.encode_into("Call me Ishmael.", &mut ids)?;
/// assert_eq!(tokenizer.decode(&ids)?, "Call me Ishmael.");
/// # Ok(())
/// # }
/// ```
pub struct Tokenizer {
    exact: Exact,
    fast: Result<Fast, String>,
    text: Result<TextKind, String>,
    unknown: Option<u32>,
    origin: String,
    sha256: String,
    vocabulary: Tokens,
    added: AddedTokens,
    special_ids: Vec<u32>,
    special_in_text: SpecialInText,
    /// The special ids, but for the unknown token's.
    spelled: IdSet,
    ends: Ends,
}

impl Tokenizer {
    /// Loads a `tokenizer.json`, and the names of the BOS and EOS tokens from the `tokenizer_config.json` and
    /// `special_tokens_map.json` beside it, where they exist.
    ///
    /// # Errors
    /// [`TokenizeError::Read`] if a file cannot be read or is no regular file, [`TokenizeError::UnknownToken`] if one of the files
    /// beside it names a token that does not exist, and the errors of [`from_bytes`](Self::from_bytes).
    pub fn from_file(path: &Path) -> Result<Self, TokenizeError> {
        Self::from_file_with(path, SpecialInText::Token)
    }

    /// As [`from_file`](Self::from_file), with what special tokens are that a text spells.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub fn from_file_with(path: &Path, special: SpecialInText) -> Result<Self, TokenizeError> {
        let origin = path.display().to_string();
        let json = file::read(path)?;
        // The parent of a bare file name is the empty path, which joins to names in the working directory.
        Self::load(json, origin, path.parent(), special)
    }

    /// Loads the bytes of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`TokenizeError::TooLarge`], [`TokenizeError::Malformed`], [`TokenizeError::Inconsistent`],
    /// [`TokenizeError::Dropout`] and [`TokenizeError::Unsupported`], as their names say.
    pub fn from_bytes(json: &[u8]) -> Result<Self, TokenizeError> {
        Self::load(json.to_vec(), "tokenizer.json".to_owned(), None, SpecialInText::Token)
    }

    fn load(
        json: Vec<u8>,
        origin: String,
        directory: Option<&Path>,
        special_in_text: SpecialInText,
    ) -> Result<Self, TokenizeError> {
        let bytes = json.len() as u64;
        if bytes > MAX_TOKENIZER_BYTES {
            return Err(TokenizeError::TooLarge { origin, bytes, limit: MAX_TOKENIZER_BYTES });
        }
        let file = File::parse(&json, &origin)?;
        let load = || {
            exact::load(&json).map_err(|problem| TokenizeError::Unsupported {
                origin: origin.clone(),
                problem: diagnose(&file).unwrap_or(problem),
            })
        };
        // Where this crate knows every part, the exact path is seldom needed. Then the `tokenizers` crate checks all but the vocabulary, which
        // the fast path checks itself.
        let checked = exact::load(file.without_vocabulary().as_bytes());
        let loaded = if checked.is_ok() { None } else { Some(load()?) };
        let normalizer = loaded.as_ref().or(checked.as_ref().ok()).and_then(|exact| exact.get_normalizer());
        let added = AddedTokens::new(&file, normalizer, &origin)?;
        let fast = Fast::new(&file, added.by_id(), special_in_text);
        let loaded = if fast.is_ok() { loaded } else { Some(loaded.map_or_else(load, Ok)?) };
        let mut special: Vec<(u32, String)> = added
            .by_id()
            .iter()
            .filter(|(_, token)| token.special)
            .map(|(id, token)| (*id, token.content.clone()))
            .collect();
        special.sort_unstable();
        let text = text_kind(&file, fast.as_ref().is_ok_and(Fast::is_byte_level));
        let File { model, post_processor, .. } = file;
        let (vocabulary, unk_token) = (model.vocab.into_tokens(), model.fields.unk_token);
        let id_of = |token: &str| added.id(token).or_else(|| vocabulary.id(token));
        let ends = special::find(directory, &origin, &post_processor, &special, id_of)?;
        let unknown = unk_token.as_deref().and_then(id_of);
        let sha256 = hex(&Sha256::digest(&json));
        let special_ids: Vec<u32> = special.into_iter().map(|(id, _)| id).collect();
        let spelled = special_ids.iter().copied().filter(|id| Some(*id) != unknown);
        Ok(Self {
            exact: match loaded {
                Some(exact) => Exact::new(exact, special_in_text),
                None => Exact::later(json, special_in_text),
            },
            fast,
            text,
            unknown,
            origin,
            sha256,
            vocabulary,
            added,
            spelled: IdSet::new(spelled.collect()),
            special_ids,
            special_in_text,
            ends,
        })
    }

    /// The SHA-256 of the `tokenizer.json`, in lower-case hexadecimal digits.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The largest id plus one, added tokens included. Ids below it may be unused.
    #[must_use]
    pub fn vocab_size(&self) -> u32 {
        self.vocabulary.end().max(self.added.end())
    }

    /// The ids of the added tokens that are special, in ascending order.
    #[must_use]
    pub fn special_ids(&self) -> &[u32] {
        &self.special_ids
    }

    /// What special tokens are that a text spells.
    #[must_use]
    pub fn special_in_text(&self) -> SpecialInText {
        self.special_in_text
    }

    /// How many of the ids of a text are special tokens that it spells.
    #[must_use]
    pub fn count_special(&self, ids: &[u32]) -> u64 {
        ids.iter().filter(|&&id| self.spelled.contains(id)).count() as u64
    }

    /// Refuses ids of a text with a special token, unless that is what the token's string means.
    fn check_special(&self, text: &str, ids: &[u32]) -> Result<(), TokenizeError> {
        let as_text = match self.special_in_text {
            SpecialInText::Token => return Ok(()),
            SpecialInText::Text => true,
            SpecialInText::Reject => false,
        };
        let Some(id) = ids.iter().copied().find(|id| self.spelled.contains(*id)) else { return Ok(()) };
        let token = self.token(id).unwrap_or_default();
        let at = text.find(&token);
        Err(TokenizeError::SpellsSpecial { token, at, as_text })
    }

    /// The id of the token that opens a document, if the model has one.
    ///
    /// The first of these that says something decides: `bos_token` in `tokenizer_config.json`, then in
    /// `special_tokens_map.json` (where `null` means that there is none, unless the other file has a name); the
    /// token that the file's post-processor puts before a single text; the special added token with the first of
    /// the names `<|begin_of_text|>`, `<|startoftext|>`, `<|beginoftext|>`, `<｜begin▁of▁sentence｜>`, `<s>`,
    /// `<bos>`, `[BOS]`, `[CLS]`, `<|endoftext|>`.
    #[must_use]
    pub fn bos_id(&self) -> Option<u32> {
        self.ends.bos
    }

    /// The id of the token that closes a document, if the model has one.
    ///
    /// Found like [`bos_id`](Self::bos_id), with `eos_token`, the post-processor's token after the text, and the
    /// names `<|end_of_text|>`, `<|endoftext|>`, `<｜end▁of▁sentence｜>`, `</s>`, `<eos>`, `[EOS]`, `[SEP]`,
    /// `<|im_end|>`.
    #[must_use]
    pub fn eos_id(&self) -> Option<u32> {
        self.ends.eos
    }

    /// Whether this tokenizer has a fast path and, if not, why.
    #[must_use]
    pub fn fast_path(&self) -> FastPath {
        match &self.fast {
            Ok(fast) => FastPath::On { family: fast.name() },
            Err(reason) => FastPath::Off { reason: reason.clone() },
        }
    }

    /// Appends the ids of `text` to `ids` and returns which path found them. After an error `ids` is as before.
    ///
    /// # Errors
    /// [`TokenizeError::SpellsSpecial`] if the text spells a special token that may not be there, and [`TokenizeError::Encode`] if
    /// the `tokenizers` crate fails or panics on the text; no text is known for which it does with the tokenizers of published models.
    pub fn encode_into(&self, text: &str, ids: &mut Vec<u32>) -> Result<EncodePath, TokenizeError> {
        let before = ids.len();
        if let Ok(fast) = &self.fast {
            if fast.encode_into(text, ids, None).is_ok() {
                let checked = self.check_special(text, &ids[before..]);
                checked.inspect_err(|_| ids.truncate(before))?;
                return Ok(EncodePath::Fast);
            }
            ids.truncate(before);
        }
        let encoding = self.encode_exact(text, |exact| exact.encode_fast(text, false))?;
        self.check_special(text, encoding.get_ids())?;
        ids.extend_from_slice(encoding.get_ids());
        Ok(EncodePath::Exact)
    }

    /// Like [`encode_into`](Self::encode_into), and appends to `spans` the start and end, in bytes of `text`, of
    /// the text of each id.
    ///
    /// Several tokens of one character have its whole span each. Spans do not lose the white space that a token
    /// has at its ends. A token that a normalizer made from nothing has an empty span.
    ///
    /// # Errors
    /// As for [`encode_into`](Self::encode_into); after an error both vectors are as before.
    pub fn encode_with_offsets_into(
        &self,
        text: &str,
        ids: &mut Vec<u32>,
        spans: &mut Vec<(usize, usize)>,
    ) -> Result<EncodePath, TokenizeError> {
        if self.fast_with_offsets(|_| true, text, ids, spans) {
            return Ok(EncodePath::Fast);
        }
        let encoding = self.encode_exact(text, |exact| exact.encode(text, false))?;
        self.check_special(text, encoding.get_ids())?;
        ids.extend_from_slice(encoding.get_ids());
        spans.extend_from_slice(encoding.get_offsets());
        Ok(EncodePath::Exact)
    }

    /// Like [`encode_with_offsets_into`](Self::encode_with_offsets_into), but only where the spans are those of the text
    /// to the byte: on the fast path of byte-level BPE, for text that no normalizer changes. Elsewhere it returns `false` and leaves both
    /// vectors as they were.
    pub fn encode_with_sure_offsets_into(
        &self,
        text: &str,
        ids: &mut Vec<u32>,
        spans: &mut Vec<(usize, usize)>,
    ) -> bool {
        self.fast_with_offsets(Fast::is_byte_level, text, ids, spans)
    }

    /// The fast path with spans, if the tokenizer's fast path fits; otherwise both vectors are as before.
    fn fast_with_offsets(
        &self,
        fits: impl FnOnce(&Fast) -> bool,
        text: &str,
        ids: &mut Vec<u32>,
        spans: &mut Vec<(usize, usize)>,
    ) -> bool {
        let before = (ids.len(), spans.len());
        let Some(fast) = self.fast.as_ref().ok().filter(|fast| fits(fast)) else { return false };
        let encoded = fast.encode_into(text, ids, Some(spans)).is_ok()
            && self.check_special(text, &ids[before.0..]).is_ok();
        if !encoded {
            ids.truncate(before.0);
            spans.truncate(before.1);
        }
        encoded
    }

    fn encode_exact(
        &self,
        text: &str,
        encode: impl FnOnce(&tokenizers::Tokenizer) -> tokenizers::Result<tokenizers::Encoding>,
    ) -> Result<tokenizers::Encoding, TokenizeError> {
        self.exact.with(encode).map_err(|problem| TokenizeError::Encode {
            origin: self.origin.clone(),
            bytes: text.len(),
            problem,
        })
    }

    /// The text of each token, to the byte.
    ///
    /// There is one for byte-level BPE, for BPE and Unigram with byte fallback, and for WordPiece, as long as the
    /// normalizer changes nothing but white space, case, and characters into canonically equivalent ones.
    ///
    /// ```
    /// # fn main() -> Result<(), goldfish_tokenize::TokenizeError> {
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/tokenizers/gpt2.json");
    /// # let tokenizer = goldfish_tokenize::Tokenizer::from_file(path.as_ref())?;
    /// let mut ids = Vec::new();
    /// tokenizer.encode_into("Call me 船.", &mut ids)?;
    /// let (mut text, mut spans) = (String::new(), Vec::new());
    /// tokenizer.text_map()?.decode_into(&ids, &[], &mut text, &mut spans)?;
    /// assert_eq!(text, "Call me 船.");
    /// assert_eq!(spans.len(), ids.len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`TokenizeError::NoText`] if the exact text of ids is unknown, with the reason.
    pub fn text_map(&self) -> Result<TextMap, TokenizeError> {
        let kind = self.text.clone();
        let kind = kind.map_err(|problem| TokenizeError::NoText { origin: self.origin.clone(), problem })?;
        let content = |id: u32| self.added.by_id().get(&id).map(|token| token.content.as_str());
        let token = |id: u32| self.vocabulary.token(id);
        Ok(TextMap::new(kind, &self.origin, self.vocab_size(), self.unknown, content, token))
    }

    /// The vocabulary's string for an id; byte-level tokenizers spell a space as `Ġ` there.
    #[must_use]
    pub fn token(&self, id: u32) -> Option<String> {
        self.added.token(id).or_else(|| self.vocabulary.token(id)).map(str::to_owned)
    }

    /// The text of some ids, special tokens included, for display. It need not tokenize to the same ids.
    ///
    /// # Errors
    /// [`TokenizeError::Decode`] if an id does not exist or the `tokenizers` crate fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizeError> {
        let error =
            |problem| TokenizeError::Decode { origin: self.origin.clone(), count: ids.len(), problem };
        if let Some(id) = ids.iter().find(|&&id| self.token(id).is_none()) {
            return Err(error(format!("the id {id} is not in the vocabulary")));
        }
        self.exact.with(|exact| exact.decode(ids, false)).map_err(error)
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tokenizer")
            .field("origin", &self.origin)
            .field("sha256", &self.sha256)
            .field("vocab_size", &self.vocab_size())
            .field("fast_path", &self.fast_path())
            .finish_non_exhaustive()
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
