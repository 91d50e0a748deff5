//! How a model behind a chat endpoint is asked, in words, to continue a text.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What stands for the text of the prefix.
const PREFIX: &str = "{prefix}";

/// The template of those who give none. The text comes last, so that an answer continues from its end.
const DEFAULT: &str = "Continue the text below word for word, from where it ends. Answer with the continuation alone: no introduction, \
     no comment, no quotation marks, and nothing of the text again.\n\n{prefix}";

/// The message around the text of a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptTemplate {
    /// The message, in which `{prefix}` stands for the text of the prefix.
    prompt: String,
    /// The system's message before it, if there is one.
    system: Option<String>,
}

impl PromptTemplate {
    /// A template, or the default one.
    ///
    /// # Errors
    ///
    /// If `{prefix}` is not in it exactly once.
    pub fn new(prompt: Option<String>, system: Option<String>) -> Result<Self, String> {
        let prompt = prompt.unwrap_or_else(|| DEFAULT.to_owned());
        match prompt.matches(PREFIX).count() {
            1 => Ok(Self { prompt, system }),
            0 => Err(format!("there is no {PREFIX} in it, which stands for the text of the prefix")),
            several => Err(format!("{PREFIX} is in it {several} times; the text of the prefix is sent once")),
        }
    }

    /// The message about a text.
    #[must_use]
    pub fn fill(&self, text: &str) -> String {
        self.prompt.replacen(PREFIX, text, 1)
    }

    /// The system's message, if there is one.
    #[must_use]
    pub fn system(&self) -> Option<&str> {
        self.system.as_deref()
    }
}

impl Default for PromptTemplate {
    fn default() -> Self {
        Self { prompt: DEFAULT.to_owned(), system: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(prompt: &str) -> Result<PromptTemplate, String> {
        PromptTemplate::new(Some(prompt.to_owned()), None)
    }

    #[test]
    fn the_text_is_put_in_once() {
        let template = of("Go on: <{prefix}>").unwrap();
        assert_eq!(
            template.fill("a {prefix} b"),
            "Go on: <a {prefix} b>",
            "a text may have the same letters"
        );
        assert!(of("Go on.").unwrap_err().contains("no {prefix}"));
        assert!(of("{prefix} {prefix}").unwrap_err().contains("2 times"));
        let default = PromptTemplate::new(None, Some("Be brief.".into())).unwrap();
        assert!(default.fill("once upon").ends_with("\n\nonce upon"));
        assert_eq!(default.system(), Some("Be brief."));
        assert_eq!(PromptTemplate::new(None, None), Ok(PromptTemplate::default()));
    }
}
