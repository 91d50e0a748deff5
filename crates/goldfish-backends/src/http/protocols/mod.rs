//! The kinds of servers, one file each.

mod chat;
mod llama_cpp;
mod ollama;
mod openai;
mod plain_text;
mod tgi;
#[cfg(test)]
mod toy;
mod vllm;

use std::fmt;
use std::str::FromStr;

use super::probe::Kind;

/// Every kind, in the order in which a server is asked. Kinds that any server with `/v1/completions` could be come last, and
/// after them the one that is only used by name.
pub(super) static KINDS: &[&Kind] = &[
    #[cfg(test)]
    &toy::KIND,
    &llama_cpp::KIND,
    &ollama::KIND,
    &tgi::KIND,
    &vllm::KIND,
    &openai::KIND,
    &plain_text::KIND,
    &chat::KIND,
];

/// The protocol of a server, by its name on the command line and in a run's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocol(pub(super) &'static str);

impl Protocol {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let mut names: Vec<&str> = KINDS.iter().map(|kind| kind.protocol).collect();
        names.sort_unstable();
        names.dedup();
        let found = KINDS.iter().find(|kind| kind.protocol == name);
        found
            .map(|kind| Self(kind.protocol))
            .ok_or_else(|| format!("unknown protocol {name:?}; known are {}", names.join(", ")))
    }
}
