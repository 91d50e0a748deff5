//! What can go wrong with a tokenizer.

use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use goldfish_remedy::{Remedies, Remedy, Setting};

/// An error of this crate. Every message names the file, if there is one; most end with what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizeError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}; {}", path.display(), read_advice(path, source))]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The file is larger than any tokenizer.
    #[error(
        "{origin} has {bytes} bytes, more than the {limit} of the largest tokenizer.json that is read; give the \
         tokenizer.json of a model, not a data file"
    )]
    TooLarge {
        /// The file, or `tokenizer.json` for bytes in memory.
        origin: String,
        /// Its size.
        bytes: u64,
        /// The largest size allowed.
        limit: u64,
    },
    /// The file is not a tokenizer.json.
    #[error("{origin} is not a tokenizer.json: {problem}; {advice}")]
    Malformed {
        /// The file, or `tokenizer.json` for bytes in memory.
        origin: String,
        /// What is wrong, with its position.
        problem: String,
        /// What to do next.
        advice: &'static str,
    },
    /// The file is well-formed JSON, but contradicts itself, so that its ids could not be trusted.
    #[error("{origin} contradicts itself: {problem}; {advice}")]
    Inconsistent {
        /// The file, or `tokenizer.json` for bytes in memory.
        origin: String,
        /// The contradiction.
        problem: String,
        /// What to do next.
        advice: &'static str,
    },
    /// The `tokenizers` crate refuses the tokenizer.
    #[error(
        "{origin} cannot be loaded: {problem}; check the file with Python's tokenizers.Tokenizer.from_file, or save \
         it again with save_pretrained of a recent transformers"
    )]
    Unsupported {
        /// The file, or `tokenizer.json` for bytes in memory.
        origin: String,
        /// The message of the crate.
        problem: String,
    },
    /// The model drops merges at random (BPE dropout), so that the same text would give different ids each time.
    #[error(
        "{origin} sets BPE dropout to {dropout}, which gives the same text different ids each time; set \
         model.dropout to null in the file"
    )]
    Dropout {
        /// The file, or `tokenizer.json` for bytes in memory.
        origin: String,
        /// The probability.
        dropout: f64,
    },
    /// A file beside the tokenizer.json names a BOS or EOS token that the vocabulary lacks.
    #[error(
        "{} gives {token:?} as {role}, which {origin} does not have; correct the name there, or move the \
         tokenizer.json to a directory of its own", path.display()
    )]
    UnknownToken {
        /// The file beside the tokenizer.json.
        path: PathBuf,
        /// The tokenizer.json.
        origin: String,
        /// `bos_token` or `eos_token`.
        role: &'static str,
        /// The name that was not found.
        token: String,
    },
    /// A text could not be tokenized.
    #[error(
        "cannot tokenize a text of {bytes} bytes with {origin}: {problem}; if the message does not say what to \
         change in the tokenizer, leave this document out"
    )]
    Encode {
        /// The file, or `tokenizer.json` for bytes in memory.
        origin: String,
        /// Length of the text.
        bytes: usize,
        /// The message of the `tokenizers` crate.
        problem: String,
    },
    /// A text spells a special token, and that is not allowed.
    #[error(
        "the text spells the special token {token:?}{}{}",
        at.map(|at| format!(" at byte {at}")).unwrap_or_default(),
        if *as_text { ", which the tokenizer has no other tokens for" } else { "" }
    )]
    SpellsSpecial {
        /// The token.
        token: String,
        /// Where it is first, in bytes of the text, if it is there as it is.
        at: Option<usize>,
        /// Whether it was to be text like any other.
        as_text: bool,
    },
    /// The exact text of the tokens is unknown.
    #[error("{origin} does not determine the exact text of token ids: {problem}; mask the raw text instead")]
    NoText {
        /// The file, or `tokenizer.json` for bytes in memory.
        origin: String,
        /// Why it is unknown.
        problem: String,
    },
    /// Ids could not be turned into text.
    #[error("cannot decode {count} ids with {origin}: {problem}; check that they come from this tokenizer")]
    Decode {
        /// The file, or `tokenizer.json` for bytes in memory.
        origin: String,
        /// How many ids.
        count: usize,
        /// What is wrong.
        problem: String,
    },
}

/// What to do where a file can't be read.
fn read_advice(path: &Path, source: &std::io::Error) -> String {
    let in_name = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let on_hub = path.to_str().filter(|name| {
        source.kind() == ErrorKind::NotFound
            && path.extension().is_none_or(|end| end != "json")
            && path.components().count() <= 2
            && path.components().all(|component| matches!(component, Component::Normal(_)))
            && name.chars().all(in_name)
            && !name.starts_with('-')
    });
    match on_hub {
        Some(name) => format!(
            "a file is needed: if this is a model on the Hugging Face Hub, `hf download {name} tokenizer.json` gets its \
             file; then the same name is enough"
        ),
        None => "give the path of a tokenizer.json that this user may read".to_owned(),
    }
}

impl Remedies for TokenizeError {
    fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::NoText { .. } => vec![Remedy::give(Setting::Rule).value("anchor").to("decide by ids only")],
            Self::SpellsSpecial { as_text, .. } => {
                let option = || Remedy::give(Setting::SpecialInText);
                let text = (!as_text).then(|| option().value("text").to("read it as text"));
                text.into_iter().chain([option().value("token").to("make it that token")]).collect()
            }
            _ => Vec::new(),
        }
    }
}
