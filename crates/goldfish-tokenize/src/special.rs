//! Which tokens open and close a document.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::TokenizeError;
use crate::file;

/// Names that models give to the token before a document, the more telling ones first.
const BOS: [&str; 9] = [
    "<|begin_of_text|>",
    "<|startoftext|>",
    "<|beginoftext|>",
    "<｜begin▁of▁sentence｜>",
    "<s>",
    "<bos>",
    "[BOS]",
    "[CLS]",
    "<|endoftext|>",
];
/// The same for the token after a document.
const EOS: [&str; 8] = [
    "<|end_of_text|>",
    "<|endoftext|>",
    "<｜end▁of▁sentence｜>",
    "</s>",
    "<eos>",
    "[EOS]",
    "[SEP]",
    "<|im_end|>",
];

/// What the string of a special token is, such as `<|endoftext|>`, where a text spells it.
///
/// The unknown token is none of them: it stands for text that no other token has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum SpecialInText {
    /// The special token, as with the `tokenizers` crate.
    #[default]
    Token,
    /// Text like any other (`encode_special_tokens` of the `tokenizers` crate). A text that only a special token spells is an error.
    Text,
    /// An error.
    Reject,
}

impl SpecialInText {
    /// The name in manifests and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Text => "text",
            Self::Reject => "reject",
        }
    }
}

/// The ids of the BOS and EOS tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) bos: Option<u32>,
    pub(crate) eos: Option<u32>,
}

/// What a file beside the tokenizer.json says about a token.
enum Named {
    Silent,
    /// `null`: the model has no such token.
    Absent,
    Token(String, PathBuf),
}

/// Looks for both tokens, in this order: files beside the tokenizer.json, its post-processor, well-known names.
pub(crate) fn find(
    directory: Option<&Path>,
    origin: &str,
    post_processor: &Value,
    special_tokens: &[(u32, String)],
    id_of: impl Fn(&str) -> Option<u32>,
) -> Result<Ends, TokenizeError> {
    let configs = match directory {
        Some(directory) => read_configs(directory)?,
        None => Vec::new(),
    };
    let template = template(post_processor);
    let pick = |role: &'static str, from_template: Option<&str>, names: &[&str]| {
        match named(&configs, role) {
            Named::Absent => return Ok(None),
            Named::Token(token, path) => {
                return id_of(&token).map(Some).ok_or_else(|| TokenizeError::UnknownToken {
                    path,
                    origin: origin.to_owned(),
                    role,
                    token,
                });
            }
            Named::Silent => {}
        }
        let known = |name: &&str| special_tokens.iter().find(|(_, token)| token == name).map(|&(id, _)| id);
        Ok(from_template.and_then(&id_of).or_else(|| names.iter().find_map(known)))
    };
    let (before, after) = template;
    Ok(Ends {
        bos: pick("bos_token", before.as_deref(), &BOS)?,
        eos: pick("eos_token", after.as_deref(), &EOS)?,
    })
}

fn read_configs(directory: &Path) -> Result<Vec<(PathBuf, Value)>, TokenizeError> {
    let mut configs = Vec::new();
    for name in ["tokenizer_config.json", "special_tokens_map.json"] {
        let path = directory.join(name);
        let bytes = match file::read(&path) {
            Ok(bytes) => bytes,
            Err(TokenizeError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                continue;
            }
            Err(error) => return Err(error),
        };
        let value = serde_json::from_slice(&bytes).map_err(|error| TokenizeError::Malformed {
            origin: path.display().to_string(),
            problem: error.to_string(),
            advice: "repair it, or move the tokenizer.json to a directory of its own",
        })?;
        configs.push((path, value));
    }
    Ok(configs)
}

fn named(configs: &[(PathBuf, Value)], role: &str) -> Named {
    let mut answer = Named::Silent;
    for (path, config) in configs {
        let Some(value) = config.get(role) else { continue };
        // Either the token itself or the whole added token.
        match value.as_str().or_else(|| value.get("content")?.as_str()) {
            Some(token) => return Named::Token(token.to_owned(), path.clone()),
            None if value.is_null() => answer = Named::Absent,
            None => {}
        }
    }
    answer
}

/// The first special token before the text and the last one after it in the template for a single text.
fn template(post_processor: &Value) -> (Option<String>, Option<String>) {
    for part in file::parts(post_processor) {
        match part.get("type").and_then(Value::as_str) {
            Some("TemplateProcessing") => {
                let Some(pieces) = part.get("single").and_then(Value::as_array) else { continue };
                let Some(text) = pieces.iter().position(|piece| piece.get("Sequence").is_some()) else {
                    continue;
                };
                let special = |piece: &Value| {
                    piece.pointer("/SpecialToken/id").and_then(Value::as_str).map(str::to_owned)
                };
                let before = pieces[..text].iter().find_map(special);
                let after = pieces[text..].iter().rev().find_map(special);
                return (before, after);
            }
            Some("BertProcessing" | "RobertaProcessing") => {
                let name = |key: &str| part.get(key)?.get(0)?.as_str().map(str::to_owned);
                return (name("cls"), name("sep"));
            }
            _ => {}
        }
    }
    (None, None)
}
