//! Added tokens with the ids that the `tokenizers` crate gives them.

use std::collections::HashMap;

use tokenizers::{AddedToken, NormalizedString, Normalizer, NormalizerWrapper};

use crate::error::TokenizeError;
use crate::file::File;
use crate::tokens::Tokens;

/// The added tokens of a file.
pub(crate) struct AddedTokens {
    by_id: HashMap<u32, AddedToken>,
    ids: HashMap<String, u32>,
    /// What the normalizer makes of those that are found after it, where that is something else.
    normalized: HashMap<u32, String>,
}

impl AddedTokens {
    /// The crate numbers added tokens itself: one that is in the vocabulary has its id, the others follow the vocabulary.
    ///
    /// # Errors
    /// [`TokenizeError::Inconsistent`] if the file gives an added token another id; the crate only warns.
    pub(crate) fn new(
        file: &File<'_>,
        normalizer: Option<&NormalizerWrapper>,
        origin: &str,
    ) -> Result<Self, TokenizeError> {
        let mut added = Self { by_id: HashMap::new(), ids: HashMap::new(), normalized: HashMap::new() };
        let vocabulary = file.model.vocab.tokens();
        let mut next = vocabulary.map_or(0, Tokens::len) as u32;
        for token in file.added_tokens.iter().map(|added| &added.token) {
            let AddedToken { content, .. } = token;
            if content.is_empty() {
                continue;
            }
            let known = added.ids.get(content).copied();
            let id = known.or_else(|| vocabulary?.id(content)).unwrap_or_else(|| {
                next += 1;
                next - 1
            });
            added.ids.insert(content.clone(), id);
            added.by_id.insert(id, token.clone());
        }
        for token in file.added_tokens.iter().filter(|added| !added.token.content.is_empty()) {
            let (content, id) = (&token.token.content, token.id);
            let given = added.ids.get(content).copied();
            if given != Some(id) {
                let given = given.map_or("none".to_owned(), |given| given.to_string());
                return Err(TokenizeError::Inconsistent {
                    origin: origin.to_owned(),
                    problem: format!(
                        "it gives the added token {content:?} the id {id}, but by its vocabulary that token has the id \
                         {given} (a gap or a double in the ids)"
                    ),
                    advice: "take the tokenizer.json from the model again, or number its added tokens without gaps",
                });
            }
        }
        for (id, token) in added.by_id.iter().filter(|(_, token)| token.normalized) {
            let mut content = NormalizedString::from(token.content.as_str());
            let Some(Ok(())) = normalizer.map(|normalizer| normalizer.normalize(&mut content)) else {
                continue;
            };
            if content.get() != token.content {
                added.normalized.insert(*id, content.get().to_owned());
            }
        }
        Ok(added)
    }

    /// All of them, by their ids.
    pub(crate) fn by_id(&self) -> &HashMap<u32, AddedToken> {
        &self.by_id
    }

    /// The id of a token by its content.
    pub(crate) fn id(&self, content: &str) -> Option<u32> {
        self.ids.get(content).copied()
    }

    /// The string of an id that the decoder gets.
    pub(crate) fn token(&self, id: u32) -> Option<&str> {
        let content = || self.by_id.get(&id).map(|token| token.content.as_str());
        self.normalized.get(&id).map(String::as_str).or_else(content)
    }

    /// The largest id plus one, 0 without any.
    pub(crate) fn end(&self) -> u32 {
        self.by_id.keys().max().map_or(0, |id| id.saturating_add(1))
    }
}
