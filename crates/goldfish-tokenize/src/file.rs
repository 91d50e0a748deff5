//! What a tokenizer.json says, as far as this crate must know: its vocabulary, checked, and its parts.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::error::TokenizeError;

/// Largest tokenizer.json (and file beside it) that is read, in bytes; vocabularies of a million tokens stay below it.
pub const MAX_TOKENIZER_BYTES: u64 = 1 << 27;

/// Ids must be below this: tables have an entry for each, used or not.
pub const MAX_VOCABULARY: u32 = 1 << 24;

const SAVE_AGAIN: &str = "copy or download the file again";

/// A tokenizer.json.
#[derive(Deserialize)]
pub(crate) struct File {
    #[serde(default)]
    pub(crate) added_tokens: Vec<AddedToken>,
    #[serde(default)]
    pub(crate) normalizer: Value,
    #[serde(default)]
    pub(crate) pre_tokenizer: Value,
    #[serde(default)]
    pub(crate) post_processor: Value,
    #[serde(default)]
    pub(crate) decoder: Value,
    pub(crate) model: Model,
}

/// One entry of `added_tokens`.
#[derive(Deserialize)]
pub(crate) struct AddedToken {
    pub(crate) id: u32,
    pub(crate) content: String,
}

/// The model, of whatever type.
#[derive(Deserialize)]
pub(crate) struct Model {
    #[serde(rename = "type", default)]
    pub(crate) kind: Option<String>,
    #[serde(default)]
    pub(crate) vocab: Vocab,
    #[serde(default)]
    pub(crate) merges: Option<Vec<Merge>>,
    #[serde(default)]
    pub(crate) dropout: Option<f64>,
    #[serde(default)]
    pub(crate) continuing_subword_prefix: Option<String>,
    #[serde(default)]
    pub(crate) end_of_word_suffix: Option<String>,
    #[serde(default)]
    pub(crate) ignore_merges: bool,
    #[serde(default)]
    pub(crate) byte_fallback: bool,
    #[serde(default)]
    pub(crate) unk_token: Option<String>,
    /// Of any type, since other models may have a field of this name; so is the next one.
    #[serde(default)]
    pub(crate) max_input_chars_per_word: Value,
    #[serde(default)]
    pub(crate) unk_id: Value,
}

impl Model {
    /// Whether the strings of the vocabulary carry marks that are no text.
    pub(crate) fn marks_words(&self) -> bool {
        [&self.continuing_subword_prefix, &self.end_of_word_suffix]
            .into_iter()
            .any(|affix| affix.as_ref().is_some_and(|affix| !affix.is_empty()))
    }
}

/// A merge, in either of its two spellings.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Merge {
    /// `["left", "right"]`.
    Pair(String, String),
    /// `"left right"`.
    Text(String),
}

impl Merge {
    pub(crate) fn parts(&self) -> Option<(&str, &str)> {
        match self {
            Self::Pair(left, right) => Some((left, right)),
            Self::Text(text) => text.split_once(' ').filter(|(_, right)| !right.contains(' ')),
        }
    }
}

/// The vocabulary as written in the file, with repeated tokens.
#[derive(Default)]
pub(crate) enum Vocab {
    /// No vocabulary at all.
    #[default]
    Missing,
    /// An object of tokens and ids (`BPE`, `WordPiece`, `WordLevel`).
    Ids(Vec<(String, u32)>),
    /// A list of tokens and scores; the ids are the indices (`Unigram`).
    List(Vec<(String, f64)>),
}

impl<'de> Deserialize<'de> for Vocab {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Vocab;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter
                    .write_str("a vocabulary: an object of tokens and ids, or a list of tokens and scores")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocab, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Vocab::Ids(entries))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vocab, A::Error> {
                let mut tokens = Vec::new();
                while let Some(entry) = list.next_element()? {
                    tokens.push(entry);
                }
                Ok(Vocab::List(tokens))
            }
        }
        deserializer.deserialize_any(Entries)
    }
}

/// Reads a file that is not larger than any tokenizer is.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TokenizeError> {
    let read_error = |source| TokenizeError::Read { path: path.to_owned(), source };
    let (file, metadata) = goldfish_storage::File::open_regular(path).map_err(read_error)?;
    let too_large = |bytes| {
        let origin = path.display().to_string();
        Err(TokenizeError::TooLarge { origin, bytes, limit: MAX_TOKENIZER_BYTES })
    };
    if metadata.size > MAX_TOKENIZER_BYTES {
        return too_large(metadata.size);
    }
    // At once: growing takes twice the memory.
    let mut json = Vec::with_capacity(metadata.size as usize + 1);
    file.take(MAX_TOKENIZER_BYTES + 1).read_to_end(&mut json).map_err(read_error)?;
    // Some files don't say how large they are.
    if json.len() as u64 > MAX_TOKENIZER_BYTES { too_large(json.len() as u64) } else { Ok(json) }
}

impl File {
    /// Parses a file and checks what the `tokenizers` crate would let pass.
    pub(crate) fn parse(json: &[u8], origin: &str) -> Result<Self, TokenizeError> {
        let malformed =
            |problem: String, advice| TokenizeError::Malformed { origin: origin.to_owned(), problem, advice };
        if json.is_empty() {
            return Err(malformed("it is empty".to_owned(), SAVE_AGAIN));
        }
        if json.starts_with(b"\xEF\xBB\xBF") {
            return Err(malformed(
                "it begins with a byte order mark, which JSON does not allow".to_owned(),
                "save it as UTF-8 without BOM",
            ));
        }
        let file: Self = serde_json::from_slice(json).map_err(|error| {
            let advice = match error.classify() {
                serde_json::error::Category::Eof => "it is cut short: copy or download it again",
                serde_json::error::Category::Data => {
                    "give the tokenizer.json that save_pretrained of transformers writes"
                }
                _ => "give the tokenizer.json of the model, as it was downloaded",
            };
            malformed(error.to_string(), advice)
        })?;
        file.check(origin)?;
        Ok(file)
    }

    fn check(&self, origin: &str) -> Result<(), TokenizeError> {
        let origin = || origin.to_owned();
        if let Some(dropout) = self.model.dropout.filter(|&dropout| dropout != 0.0) {
            return Err(TokenizeError::Dropout { origin: origin(), dropout });
        }
        let missing = |what: &str| TokenizeError::Malformed {
            origin: origin(),
            problem: format!("its model has no {what}"),
            advice: "give the tokenizer.json of the model, as it was downloaded",
        };
        let bpe = self.model.kind.as_deref() == Some("BPE");
        if bpe && self.model.merges.is_none() {
            return Err(missing("merges"));
        }
        let added = self.added_tokens.iter().map(|token| (&token.content, token.id));
        let vocabulary = match &self.model.vocab {
            Vocab::Ids(entries) => entries.as_slice(),
            Vocab::Missing | Vocab::List(_) => &[],
        };
        let mut all = vocabulary.iter().map(|(token, id)| (token, *id)).chain(added);
        if let Some((token, id)) = all.find(|&(_, id)| id >= MAX_VOCABULARY) {
            return Err(TokenizeError::Malformed {
                origin: origin(),
                problem: format!("it gives {token:?} the id {id}, but ids must be below {MAX_VOCABULARY}"),
                advice: "take the file from the model again",
            });
        }
        let entries = match &self.model.vocab {
            Vocab::Missing => return Err(missing("vocabulary")),
            Vocab::List(tokens) if tokens.is_empty() => return Err(missing("tokens in its vocabulary")),
            Vocab::Ids(entries) if entries.is_empty() => return Err(missing("tokens in its vocabulary")),
            Vocab::List(_) => return Ok(()),
            Vocab::Ids(entries) => entries,
        };
        let mut ids: HashMap<u32, &str> = HashMap::with_capacity(entries.len());
        let mut tokens = HashSet::with_capacity(entries.len());
        for (token, id) in entries {
            let problem = if !tokens.insert(token.as_str()) {
                format!("its vocabulary holds the token {token:?} twice")
            } else if let Some(other) = ids.insert(*id, token) {
                format!("its vocabulary gives the id {id} to {other:?} and to {token:?}")
            } else {
                continue;
            };
            return Err(TokenizeError::Inconsistent {
                origin: origin(),
                problem,
                advice: "the file was edited or damaged: take it from the model again",
            });
        }
        Ok(())
    }
}

/// The reason in plain words why the `tokenizers` crate refused a file, if its own message does not say it.
pub(crate) fn diagnose(file: &File) -> Option<String> {
    const MODELS: [&str; 4] = ["BPE", "WordPiece", "WordLevel", "Unigram"];
    const PRE_TOKENIZERS: [&str; 12] = [
        "BertPreTokenizer",
        "ByteLevel",
        "CharDelimiterSplit",
        "Digits",
        "FixedLength",
        "Metaspace",
        "Punctuation",
        "Sequence",
        "Split",
        "UnicodeScripts",
        "Whitespace",
        "WhitespaceSplit",
    ];
    const NORMALIZERS: [&str; 14] = [
        "BertNormalizer",
        "ByteLevel",
        "Lowercase",
        "NFC",
        "NFD",
        "NFKC",
        "NFKD",
        "Nmt",
        "Precompiled",
        "Prepend",
        "Replace",
        "Sequence",
        "Strip",
        "StripAccents",
    ];
    if let Some(kind) = file.model.kind.as_deref().filter(|kind| !MODELS.contains(kind)) {
        return Some(format!("its model has the type {kind:?}, which is none of {}", MODELS.join(", ")));
    }
    unknown_part(&file.pre_tokenizer, "pre_tokenizer", &PRE_TOKENIZERS)
        .or_else(|| unknown_part(&file.normalizer, "normalizer", &NORMALIZERS))
        .or_else(|| bad_regex(&file.pre_tokenizer))
}

/// The parts of a `Sequence`, or the part itself, in order and without nesting; nothing for `null`.
pub(crate) fn parts(part: &Value) -> Vec<&Value> {
    let mut parts = Vec::new();
    flatten(part, &mut parts);
    parts
}

/// The type of a part.
pub(crate) fn kind(part: &Value) -> &str {
    let without = if part.is_null() { "none" } else { "untyped" };
    part.get("type").and_then(Value::as_str).unwrap_or(without)
}

/// The types of some parts, for a message.
pub(crate) fn kinds(parts: &[&Value]) -> String {
    if parts.is_empty() {
        return kind(&Value::Null).to_owned();
    }
    parts.iter().map(|part| kind(part)).collect::<Vec<_>>().join(" + ")
}

fn flatten<'a>(part: &'a Value, into: &mut Vec<&'a Value>) {
    if part.get("type").and_then(Value::as_str) != Some("Sequence") {
        if !part.is_null() {
            into.push(part);
        }
        return;
    }
    let members = ["pretokenizers", "normalizers", "processors", "decoders"]
        .iter()
        .find_map(|key| part.get(key)?.as_array());
    for member in members.into_iter().flatten() {
        flatten(member, into);
    }
}

fn unknown_part(part: &Value, role: &str, known: &[&str]) -> Option<String> {
    parts(part).into_iter().find_map(|part| match part.get("type").and_then(Value::as_str) {
        Some(kind) if known.contains(&kind) => None,
        Some(kind) => {
            Some(format!("its {role} has the type {kind:?}, which is none of {}", known.join(", ")))
        }
        None => Some(format!("its {role} has no type")),
    })
}

fn bad_regex(pre_tokenizer: &Value) -> Option<String> {
    use tokenizers::SplitDelimiterBehavior::Isolated;
    use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
    parts(pre_tokenizer).into_iter().find_map(|part| {
        let regex = part.pointer("/pattern/Regex")?.as_str()?;
        let error = Split::new(SplitPattern::Regex(regex.to_owned()), Isolated, false).err()?;
        Some(format!("the regular expression {regex:?} of its pre_tokenizer is not valid: {error}"))
    })
}
