//! The secret of a server.

use std::fmt;

/// The environment variable that holds the key.
pub const KEY_VARIABLE: &str = "GOLDFISH_API_KEY";

/// What stands where a key stood.
const REDACTED: &str = "[key]";

/// A server's API key. It can't be printed: both formats give `[key]`.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// Takes a key, without the white space around it. `None` if nothing is left.
    ///
    /// # Errors
    ///
    /// If it holds characters that no header can carry; the message doesn't show them.
    pub fn new(key: &str) -> Result<Option<Self>, &'static str> {
        let key = key.trim();
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the API key has characters other than visible ASCII");
        }
        Ok((!key.is_empty()).then(|| Self(key.to_owned())))
    }

    /// Reads it from the environment variable [`KEY_VARIABLE`], the only place it is taken from.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn from_environment() -> Result<Option<Self>, &'static str> {
        match std::env::var(KEY_VARIABLE) {
            Ok(key) => Self::new(&key),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err("the API key has characters other than visible ASCII")
            }
        }
    }

    /// The value of the `Authorization` header.
    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// A server's words without the key: some repeat it when they refuse it.
    pub(super) fn scrub(&self, text: String) -> String {
        // As it is, and as it stands in a JSON string.
        let escaped = serde_json::Value::from(self.0.as_str()).to_string();
        let escaped = &escaped[1..escaped.len() - 1];
        [self.0.as_str(), escaped].into_iter().fold(text, |text, key| match text.contains(key) {
            true => text.replace(key, REDACTED),
            false => text,
        })
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_shown() {
        let key = ApiKey::new(" s\"k-1\n").unwrap().unwrap();
        assert_eq!(format!("{key} {key:?}"), "[key] [key]");
        assert_eq!(key.header(), "Bearer s\"k-1");
        assert_eq!(
            key.scrub("bad s\"k-1, {\"key\": \"s\\\"k-1\"}".into()),
            "bad [key], {\"key\": \"[key]\"}"
        );
        assert!(ApiKey::new(" ").unwrap().is_none());
        assert!(!ApiKey::new("a\u{7f}b").unwrap_err().contains("a\u{7f}b"));
    }
}
