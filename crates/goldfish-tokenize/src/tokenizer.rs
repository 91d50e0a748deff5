//! The tokenizer: loading, and the choice between its two paths.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use sha2::{Digest, Sha256};
use tokenizers::{AddedToken, PostProcessorWrapper};

use crate::error::TokenizeError;
use crate::fast::Fast;
use crate::file::{self, File, MAX_TOKENIZER_BYTES, diagnose};
use crate::special::{self, Ends};
use crate::text_map::{TextKind, TextMap, text_kind};

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
/// Added tokens that occur in the text, special ones too, become their single ids, as with the `tokenizers` crate.
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
    exact: tokenizers::Tokenizer,
    fast: Result<Fast, String>,
    text: Result<TextKind, String>,
    unknown: Option<u32>,
    origin: String,
    sha256: String,
    vocab_size: u32,
    special_ids: Vec<u32>,
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
        let origin = path.display().to_string();
        let json = file::read(path)?;
        // The parent of a bare file name is the empty path, which joins to names in the working directory.
        Self::load(&json, origin, path.parent())
    }

    /// Loads the bytes of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`TokenizeError::TooLarge`], [`TokenizeError::Malformed`], [`TokenizeError::Inconsistent`],
    /// [`TokenizeError::Dropout`] and [`TokenizeError::Unsupported`], as their names say.
    pub fn from_bytes(json: &[u8]) -> Result<Self, TokenizeError> {
        Self::load(json, "tokenizer.json".to_owned(), None)
    }

    fn load(json: &[u8], origin: String, directory: Option<&Path>) -> Result<Self, TokenizeError> {
        let bytes = json.len() as u64;
        if bytes > MAX_TOKENIZER_BYTES {
            return Err(TokenizeError::TooLarge { origin, bytes, limit: MAX_TOKENIZER_BYTES });
        }
        let file = File::parse(json, &origin)?;
        let exact = load_exact(json).map_err(|problem| TokenizeError::Unsupported {
            origin: origin.clone(),
            problem: diagnose(&file).unwrap_or(problem),
        })?;
        check_added_tokens(&file, &exact, &origin)?;
        let added: HashMap<u32, AddedToken> = exact.get_added_tokens_decoder().into_iter().collect();
        let mut special: Vec<(u32, String)> = added
            .iter()
            .filter(|(_, token)| token.special)
            .map(|(id, token)| (*id, token.content.clone()))
            .collect();
        special.sort_unstable();
        let id_of = |token: &str| exact.token_to_id(token);
        let ends = special::find(directory, &origin, &file.post_processor, &special, id_of)?;
        let fast = Fast::new(&file, &added);
        Ok(Self {
            text: text_kind(&file, fast.as_ref().is_ok_and(Fast::is_byte_level)),
            unknown: file.model.unk_token.as_deref().and_then(id_of),
            fast,
            vocab_size: exact.get_vocab(true).into_values().max().map_or(0, |id| id.saturating_add(1)),
            exact,
            origin,
            sha256: hex(&Sha256::digest(json)),
            special_ids: special.into_iter().map(|(id, _)| id).collect(),
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
        self.vocab_size
    }

    /// The ids of the added tokens that are special, in ascending order.
    #[must_use]
    pub fn special_ids(&self) -> &[u32] {
        &self.special_ids
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
    /// [`TokenizeError::Encode`] if the `tokenizers` crate fails or panics on the text; no text is known for
    /// which it does with the tokenizers of published models.
    pub fn encode_into(&self, text: &str, ids: &mut Vec<u32>) -> Result<EncodePath, TokenizeError> {
        let before = ids.len();
        if let Ok(fast) = &self.fast {
            if fast.encode_into(text, ids, None).is_ok() {
                return Ok(EncodePath::Fast);
            }
            ids.truncate(before);
        }
        let encoding = self.encode_exact(text, |exact| exact.encode_fast(text, false))?;
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
        let encoded = fast.encode_into(text, ids, Some(spans)).is_ok();
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
        guarded(|| encode(&self.exact)).map_err(|problem| TokenizeError::Encode {
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
        let added = self.exact.get_added_tokens_decoder();
        let added = added.into_iter().map(|(id, token)| (id, token.content)).collect();
        Ok(TextMap::new(kind, &self.origin, self.vocab_size, self.unknown, &added, |id| self.token(id)))
    }

    /// The vocabulary's string for an id; byte-level tokenizers spell a space as `Ġ` there.
    #[must_use]
    pub fn token(&self, id: u32) -> Option<String> {
        self.exact.id_to_token(id)
    }

    /// The text of some ids, special tokens included, for display. It need not tokenize to the same ids.
    ///
    /// # Errors
    /// [`TokenizeError::Decode`] if an id does not exist or the `tokenizers` crate fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizeError> {
        let error =
            |problem| TokenizeError::Decode { origin: self.origin.clone(), count: ids.len(), problem };
        if let Some(id) = ids.iter().find(|&&id| self.exact.id_to_token(id).is_none()) {
            return Err(error(format!("the id {id} is not in the vocabulary")));
        }
        guarded(|| self.exact.decode(ids, false)).map_err(error)
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tokenizer")
            .field("origin", &self.origin)
            .field("sha256", &self.sha256)
            .field("vocab_size", &self.vocab_size)
            .field("fast_path", &self.fast_path())
            .finish_non_exhaustive()
    }
}

/// Calls into the `tokenizers` crate; its errors and panics become messages.
fn guarded<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(panic) => Err(panic_message(panic.as_ref())),
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let message = panic.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    format!("the tokenizers crate panicked: {message}")
}

fn load_exact(json: &[u8]) -> Result<tokenizers::Tokenizer, String> {
    guarded(|| {
        let mut exact = tokenizers::Tokenizer::from_bytes(json)?;
        exact.with_truncation(None)?;
        exact.with_padding(None);
        // Without BOS and EOS it could only trim the offsets.
        exact.with_post_processor(None::<PostProcessorWrapper>);
        Ok(exact)
    })
}

/// The `tokenizers` crate numbers added tokens itself and only warns when the file says otherwise.
fn check_added_tokens(file: &File, exact: &tokenizers::Tokenizer, origin: &str) -> Result<(), TokenizeError> {
    for token in file.added_tokens.iter().filter(|token| !token.content.is_empty()) {
        let id = exact.token_to_id(&token.content);
        if id != Some(token.id) {
            let given = id.map_or("none".to_owned(), |id| id.to_string());
            return Err(TokenizeError::Inconsistent {
                origin: origin.to_owned(),
                problem: format!(
                    "it gives the added token {:?} the id {}, but by its vocabulary that token has the id {given} \
                     (a gap or a double in the ids)",
                    token.content, token.id
                ),
                advice: "take the tokenizer.json from the model again, or number its added tokens without gaps",
            });
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
