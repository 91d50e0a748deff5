//! What a tokenizer.json says, as far as this crate must know: its vocabulary, checked, and its parts.

use std::borrow::Cow;
use std::fmt;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokenizers::AddedToken;

use crate::error::TokenizeError;
use crate::tokens::{Repeated, Tokens};

/// Largest tokenizer.json (and file beside it) that is read, in bytes; vocabularies of a million tokens stay below it.
pub const MAX_TOKENIZER_BYTES: u64 = 1 << 27;

/// Ids must be below this: tables have an entry for each, used or not.
pub const MAX_VOCABULARY: u32 = 1 << 24;

const SAVE_AGAIN: &str = "copy or download the file again";

/// A tokenizer.json.
pub(crate) struct File<'a> {
    pub(crate) added_tokens: Vec<NumberedToken>,
    pub(crate) normalizer: Value,
    pub(crate) pre_tokenizer: Value,
    pub(crate) post_processor: Value,
    pub(crate) decoder: Value,
    pub(crate) model: Model<'a>,
    /// All of it but the model.
    parts: Map<String, Value>,
}

/// One entry of `added_tokens`.
#[derive(Deserialize)]
pub(crate) struct NumberedToken {
    pub(crate) id: u32,
    #[serde(flatten)]
    pub(crate) token: AddedToken,
}

/// The model, of whatever type.
pub(crate) struct Model<'a> {
    pub(crate) vocab: Vocab,
    /// Not parsed yet: there are hundreds of thousands, and [`Merges`](crate::merges::Merges) needs their ids only.
    pub(crate) merges: Option<&'a RawValue>,
    pub(crate) fields: Fields,
    /// All of it but the vocabulary and the merges.
    parts: Map<String, Value>,
}

/// The fields of a model that are short.
#[derive(Deserialize)]
pub(crate) struct Fields {
    #[serde(rename = "type", default)]
    pub(crate) kind: Option<String>,
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

impl Fields {
    /// Whether the strings of the vocabulary carry marks that are no text.
    pub(crate) fn marks_words(&self) -> bool {
        [&self.continuing_subword_prefix, &self.end_of_word_suffix]
            .into_iter()
            .any(|affix| affix.as_ref().is_some_and(|affix| !affix.is_empty()))
    }
}

/// The vocabulary as written in the file.
#[derive(Default)]
pub(crate) enum Vocab {
    /// No vocabulary at all.
    #[default]
    Missing,
    /// An object of tokens and ids (`BPE`, `WordPiece`, `WordLevel`).
    Ids(Tokens),
    /// A list of tokens and scores; the ids are the indices (`Unigram`).
    Scores(Tokens, Vec<f64>),
}

impl Vocab {
    /// The tokens with their ids.
    pub(crate) fn tokens(&self) -> Option<&Tokens> {
        match self {
            Self::Missing => None,
            Self::Ids(tokens) | Self::Scores(tokens, _) => Some(tokens),
        }
    }

    /// The same, without the rest.
    pub(crate) fn into_tokens(self) -> Tokens {
        match self {
            Self::Missing => Tokens::default(),
            Self::Ids(tokens) | Self::Scores(tokens, _) => tokens,
        }
    }
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
                let mut tokens = Tokens::default();
                while let Some((Text(token), id)) = map.next_entry()? {
                    tokens.push(&token, id);
                }
                Ok(Vocab::Ids(tokens))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vocab, A::Error> {
                let (mut tokens, mut scores) = (Tokens::default(), Vec::new());
                while let Some((Text(token), score)) = list.next_element()? {
                    // A file has fewer bytes than there are ids.
                    tokens.push(&token, scores.len() as u32);
                    scores.push(score);
                }
                Ok(Vocab::Scores(tokens, scores))
            }
        }
        deserializer.deserialize_any(Entries)
    }
}

/// A string that is borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// The file as it is written.
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    model: WrittenModel<'a>,
    #[serde(flatten)]
    others: Others,
}

/// The model as it is written.
#[derive(Deserialize)]
struct WrittenModel<'a> {
    #[serde(default)]
    vocab: Vocab,
    #[serde(borrow, default)]
    merges: Option<&'a RawValue>,
    #[serde(flatten)]
    others: Others,
}

/// The other fields of an object, none of them twice.
struct Others(Map<String, Value>);

impl<'de> Deserialize<'de> for Others {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Others;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("fields")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Others, A::Error> {
                let mut fields = Map::new();
                while let Some((name, value)) = map.next_entry::<String, _>()? {
                    if fields.contains_key(&name) {
                        return Err(A::Error::custom(format!("duplicate field `{name}`")));
                    }
                    fields.insert(name, value);
                }
                Ok(Others(fields))
            }
        }
        deserializer.deserialize_map(Fields)
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

impl<'a> File<'a> {
    /// Parses a file and checks what the `tokenizers` crate would let pass.
    pub(crate) fn parse(json: &'a [u8], origin: &str) -> Result<Self, TokenizeError> {
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
        let text = str::from_utf8(json).map_err(|error| {
            malformed(error.to_string(), "give the tokenizer.json of the model, as it was downloaded")
        })?;
        let mut file = serde_json::from_str(text).and_then(Self::new).map_err(|error| {
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

    fn new(written: Written<'a>) -> serde_json::Result<Self> {
        let Written {
            model: WrittenModel { vocab, merges, others: Others(of_model) },
            others: Others(parts),
        } = written;
        let fields = Fields::deserialize(Value::Object(of_model.clone()))?;
        let part = |name: &str| parts.get(name).cloned().unwrap_or_default();
        let added_tokens = match part("added_tokens") {
            Value::Null => Vec::new(),
            tokens => Vec::deserialize(tokens)?,
        };
        Ok(Self {
            added_tokens,
            normalizer: part("normalizer"),
            pre_tokenizer: part("pre_tokenizer"),
            post_processor: part("post_processor"),
            decoder: part("decoder"),
            model: Model { vocab, merges, fields, parts: of_model },
            parts,
        })
    }

    fn check(&mut self, origin: &str) -> Result<(), TokenizeError> {
        let origin = || origin.to_owned();
        let fields = &self.model.fields;
        if let Some(dropout) = fields.dropout.filter(|&dropout| dropout != 0.0) {
            return Err(TokenizeError::Dropout { origin: origin(), dropout });
        }
        let missing = |what: &str| TokenizeError::Malformed {
            origin: origin(),
            problem: format!("its model has no {what}"),
            advice: "give the tokenizer.json of the model, as it was downloaded",
        };
        if fields.kind.as_deref() == Some("BPE") && self.model.merges.is_none() {
            return Err(missing("merges"));
        }
        let added = self.added_tokens.iter().map(|added| (added.token.content.as_str(), added.id));
        let tokens = self.model.vocab.tokens().ok_or_else(|| missing("vocabulary"))?;
        if let Some((token, id)) = tokens.iter().chain(added).find(|&(_, id)| id >= MAX_VOCABULARY) {
            return Err(TokenizeError::Malformed {
                origin: origin(),
                problem: format!("it gives {token:?} the id {id}, but ids must be below {MAX_VOCABULARY}"),
                advice: "take the file from the model again",
            });
        }
        if tokens.is_empty() {
            return Err(missing("tokens in its vocabulary"));
        }
        let repeated = match &mut self.model.vocab {
            Vocab::Missing => return Ok(()),
            Vocab::Ids(tokens) => tokens.index(),
            // Here equal tokens are allowed, and the last one counts, as in the `tokenizers` crate.
            Vocab::Scores(tokens, _) => tokens.index().or(Ok(())),
        };
        let problem = match repeated {
            Ok(()) => return Ok(()),
            Err(Repeated::Token(token)) => format!("its vocabulary holds the token {token:?} twice"),
            Err(Repeated::Id(id, one, other)) => {
                format!("its vocabulary gives the id {id} to {one:?} and to {other:?}")
            }
        };
        Err(TokenizeError::Inconsistent {
            origin: origin(),
            problem,
            advice: "the file was edited or damaged: take it from the model again",
        })
    }

    /// The same file with an empty vocabulary, which the `tokenizers` crate loads at once: it checks all other parts.
    pub(crate) fn without_vocabulary(&self) -> String {
        let mut model = self.model.parts.clone();
        let vocab = match &self.model.vocab {
            Vocab::Missing | Vocab::Ids(_) => json!({}),
            Vocab::Scores(..) => json!([["", 0.0]]),
        };
        model.insert("vocab".to_owned(), vocab);
        if self.model.merges.is_some() {
            model.insert("merges".to_owned(), json!([]));
        }
        let mut parts = self.parts.clone();
        parts.insert("model".to_owned(), Value::Object(model));
        Value::Object(parts).to_string()
    }
}

/// The reason in plain words why the `tokenizers` crate refused a file, if its own message does not say it.
pub(crate) fn diagnose(file: &File<'_>) -> Option<String> {
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
    if let Some(kind) = file.model.fields.kind.as_deref().filter(|kind| !MODELS.contains(kind)) {
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
