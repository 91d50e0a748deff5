//! Pre-tokenizers of byte-level models: expressions for the text, bytes, and expressions for the bytes.

use std::sync::LazyLock;

use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};
use serde_json::Value;
use unicode_categories::UnicodeCategories;

use crate::file::{kind, kinds, parts};
use crate::regex::Regex;
use crate::segments::Declined;
use crate::split::Splitter;
use crate::symbols::{ByteAlphabet, ByteSymbols, Symbols};

/// The expression that `ByteLevel` has built in.
const BYTE_LEVEL: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// A pre-tokenizer with one `ByteLevel`.
pub(crate) struct PreTokenizer {
    /// Whether a space is put before a text that begins with none.
    pub(crate) prefix_space: bool,
    words: Splitter,
    symbols: Symbols,
}

/// What cuts the words of a [`PreTokenizer`] up further, by their bytes.
pub(crate) struct Parts {
    splitter: Splitter,
    symbols: ByteSymbols,
}

impl PreTokenizer {
    /// The pre-tokenizer of a file, in its two halves, or why it is not one of these.
    pub(crate) fn new(pre_tokenizer: &Value) -> Result<(Self, Option<Parts>), String> {
        let steps = parts(pre_tokenizer);
        if steps.is_empty() {
            return Err("it has no pre-tokenizer".to_owned());
        }
        let (mut before, mut after, mut prefix_space) = (Vec::new(), Vec::new(), None);
        for step in &steps {
            let regexes = if prefix_space.is_some() { &mut after } else { &mut before };
            match kind(step) {
                "ByteLevel" if prefix_space.is_none() => {
                    let adds = flag(step, "add_prefix_space") != Some(false);
                    if adds && !regexes.is_empty() {
                        return Err(
                            "its ByteLevel pre-tokenizer adds a space before each piece of text".to_owned()
                        );
                    }
                    prefix_space = Some(adds);
                    if flag(step, "use_regex").unwrap_or(true) {
                        regexes.push(Regex::parse(BYTE_LEVEL)?);
                    }
                }
                "Split" => regexes.push(split(step)?),
                "Digits" => {
                    let individual = flag(step, "individual_digits").unwrap_or(false);
                    regexes.push(Regex::class(NUMERIC.clone(), individual.then_some(1)));
                }
                "Punctuation" => regexes.push(match behavior(step).unwrap_or("Isolated") {
                    "Isolated" => Regex::class(PUNCTUATION.clone(), Some(1)),
                    "Contiguous" => Regex::class(PUNCTUATION.clone(), None),
                    other => return Err(format!("its Punctuation pre-tokenizer has the behavior {other}")),
                }),
                _ => return Err(format!("its pre-tokenizer is {}", kinds(&steps))),
            }
        }
        let prefix_space = prefix_space.ok_or("its pre-tokenizer has no ByteLevel")?;
        let (words, symbols) = Splitter::new(&before)?;
        Ok((Self { prefix_space, words, symbols }, Parts::new(&after)?))
    }

    /// Calls `word` with the start and end of each word of `text`, in order, without gaps.
    #[inline(always)]
    pub(crate) fn split(&self, text: &str, mut word: impl FnMut(usize, usize)) -> Result<(), Declined> {
        self.words.split(&self.symbols, text.as_bytes(), 0, &mut word)
    }
}

impl Parts {
    fn new(regexes: &[Regex]) -> Result<Option<Self>, String> {
        if regexes.is_empty() {
            return Ok(None);
        }
        let (splitter, symbols) = Splitter::new(regexes)?;
        let mut of_byte = [0; 256];
        for (c, byte) in ByteAlphabet::new().iter() {
            of_byte[usize::from(byte)] = symbols.of(c);
        }
        Ok(Some(Self { splitter, symbols: ByteSymbols(of_byte) }))
    }

    /// Calls `part` with the start and end of each part of a word, in order, without gaps.
    pub(crate) fn split(&self, word: &[u8], mut part: impl FnMut(usize, usize)) -> Result<(), Declined> {
        self.splitter.split(&self.symbols, word, 0, &mut part)
    }
}

fn flag(step: &Value, name: &str) -> Option<bool> {
    step.get(name).and_then(Value::as_bool)
}

fn behavior(step: &Value) -> Option<&str> {
    step.get("behavior").and_then(Value::as_str)
}

/// The expression of a `Split` that leaves no text out.
fn split(step: &Value) -> Result<Regex, String> {
    let pattern = |name: &str| step.pointer(name).and_then(Value::as_str);
    let regex = match (pattern("/pattern/Regex"), pattern("/pattern/String")) {
        (Some(regex), _) => Regex::parse(regex)?,
        (None, Some(text)) => Regex::parse(&regex_syntax::escape(text))?,
        (None, None) => return Err("its Split pre-tokenizer has no pattern".to_owned()),
    };
    match (behavior(step), flag(step, "invert")) {
        (Some("Isolated"), _) => Ok(regex),
        (Some("Removed"), Some(true)) if Splitter::new(std::slice::from_ref(&regex))?.0.covers() => Ok(regex),
        (Some("Removed"), _) => Err("its Split pre-tokenizer leaves text out".to_owned()),
        (other, _) => Err(format!("its Split pre-tokenizer has the behavior {}", other.unwrap_or("null"))),
    }
}

/// What `Digits` splits off.
static NUMERIC: LazyLock<ClassUnicode> = LazyLock::new(|| class(char::is_numeric));

/// What `Punctuation` splits off.
static PUNCTUATION: LazyLock<ClassUnicode> =
    LazyLock::new(|| class(|c| c.is_ascii_punctuation() || UnicodeCategories::is_punctuation(c)));

fn class(member: impl Fn(char) -> bool) -> ClassUnicode {
    ClassUnicode::new(('\0'..=char::MAX).filter(|&c| member(c)).map(|c| ClassUnicodeRange::new(c, c)))
}
