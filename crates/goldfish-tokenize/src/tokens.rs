//! The tokens of a model and their ids.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// The tokens of a vocabulary, found by their text and by their id. A token takes about 45 bytes and its text.
#[derive(Default)]
pub(crate) struct Tokens {
    /// All tokens, one after the other.
    text: String,
    entries: Vec<Entry>,
    by_text: HashTable<Entry>,
    /// For each id the index of its entry, or [`NONE`].
    by_id: Vec<u32>,
    hasher: DefaultHashBuilder,
}

#[derive(Clone, Copy)]
struct Entry {
    start: u32,
    end: u32,
    id: u32,
}

const NONE: u32 = u32::MAX;

/// What a vocabulary has twice.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Repeated {
    Token(String),
    /// An id and two tokens that have it.
    Id(u32, String, String),
}

impl Tokens {
    /// Adds a token. It is found after [`Tokens::index`]. All tokens together have less than 4 GiB.
    pub(crate) fn push(&mut self, token: &str, id: u32) {
        let start = self.text.len() as u32;
        self.text.push_str(token);
        self.entries.push(Entry { start, end: self.text.len() as u32, id });
    }

    /// Makes the tokens be found: of equal tokens and of equal ids the last one.
    ///
    /// # Errors
    /// The first token or id that was there before.
    pub(crate) fn index(&mut self) -> Result<(), Repeated> {
        let ids = self.entries.iter().map(|entry| entry.id as usize + 1).max().unwrap_or(0);
        let Self { text, entries, by_text, by_id, hasher } = self;
        let token = |entry: &Entry| &text[entry.start as usize..entry.end as usize];
        *by_id = vec![NONE; ids];
        by_text.clear();
        by_text.reserve(entries.len(), |entry| hasher.hash_one(token(entry)));
        let mut repeated = Ok(());
        for (index, entry) in (0u32..).zip(entries.iter()) {
            let this = token(entry);
            let hash = hasher.hash_one(this);
            match by_text.find_mut(hash, |other| token(other) == this) {
                Some(before) => {
                    *before = *entry;
                    repeated = repeated.and_then(|()| Err(Repeated::Token(this.to_owned())));
                }
                None => {
                    by_text.insert_unique(hash, *entry, |entry| hasher.hash_one(token(entry)));
                }
            }
            let before = std::mem::replace(&mut by_id[entry.id as usize], index);
            if before != NONE {
                let before = token(&entries[before as usize]);
                let error = || Repeated::Id(entry.id, before.to_owned(), this.to_owned());
                repeated = repeated.and_then(|()| Err(error()));
            }
        }
        repeated
    }

    /// The id of a token.
    pub(crate) fn id(&self, token: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(token);
        self.by_text.find(hash, |entry| self.text_of(*entry) == token).map(|entry| entry.id)
    }

    /// The token `<0xAB>` of a byte, for byte fallback.
    pub(crate) fn byte(&self, byte: u8) -> Option<u32> {
        self.id(&format!("<0x{byte:02X}>"))
    }

    /// A byte that has no such token, although byte fallback may need it: not for an ASCII character that is a token, except for the space, which
    /// normalizers replace, and UTF-8 never uses some.
    pub(crate) fn missing_byte(&self) -> Option<u8> {
        let is_token = |byte: u8| {
            byte.is_ascii() && byte != b' ' && self.id(char::from(byte).encode_utf8(&mut [0; 4])).is_some()
        };
        (0..=u8::MAX).find(|&byte| self.byte(byte).is_none() && !is_token(byte) && in_utf8(byte))
    }

    /// The token of an id.
    pub(crate) fn token(&self, id: u32) -> Option<&str> {
        let index = self.by_id.get(id as usize).filter(|index| **index != NONE)?;
        Some(self.text_of(self.entries[*index as usize]))
    }

    fn text_of(&self, entry: Entry) -> &str {
        &self.text[entry.start as usize..entry.end as usize]
    }

    /// All tokens with their ids, in the order of the file.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u32)> + Clone {
        self.entries.iter().map(|&entry| (self.text_of(entry), entry.id))
    }

    /// How many tokens there are, repeated ones too.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The largest id plus one.
    pub(crate) fn end(&self) -> u32 {
        self.by_id.len() as u32
    }
}

/// Whether UTF-8 uses a byte.
pub(crate) fn in_utf8(byte: u8) -> bool {
    !matches!(byte, 0xC0 | 0xC1 | 0xF5..)
}

/// Says that a byte has no token.
pub(crate) fn no_token(byte: u8) -> String {
    format!("its vocabulary has no token for the byte {byte:#04X}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(entries: &[(&str, u32)]) -> (Tokens, Result<(), Repeated>) {
        let mut tokens = Tokens::default();
        entries.iter().for_each(|(token, id)| tokens.push(token, *id));
        let indexed = tokens.index();
        (tokens, indexed)
    }

    #[test]
    fn tokens_are_found_by_text_and_id() {
        let (tokens, indexed) = tokens(&[("a", 3), ("", 0), ("é", 1)]);
        assert_eq!(indexed, Ok(()));
        assert_eq!(["a", "", "é", "e"].map(|token| tokens.id(token)), [Some(3), Some(0), Some(1), None]);
        assert_eq!([0, 1, 2, 3, 4].map(|id| tokens.token(id)), [Some(""), Some("é"), None, Some("a"), None]);
        assert_eq!((tokens.len(), tokens.end(), tokens.is_empty()), (3, 4, false));
        assert!(tokens.iter().eq([("a", 3), ("", 0), ("é", 1)]));
    }

    #[test]
    fn of_repeated_ones_the_last_is_found() {
        let (of_text, indexed) = tokens(&[("a", 0), ("b", 1), ("a", 2)]);
        assert_eq!(indexed, Err(Repeated::Token("a".into())));
        assert_eq!((of_text.id("a"), of_text.token(0)), (Some(2), Some("a")));
        let (of_id, indexed) = tokens(&[("a", 0), ("b", 0)]);
        assert_eq!(indexed, Err(Repeated::Id(0, "a".into(), "b".into())));
        assert_eq!(of_id.token(0), Some("b"));
    }

    #[test]
    fn without_tokens_nothing_is_found() {
        let (none, indexed) = tokens(&[]);
        assert_eq!((indexed, none.id(""), none.token(0), none.end()), (Ok(()), None, None, 0));
    }
}
