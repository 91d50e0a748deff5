//! The secret of a server.

use std::collections::HashSet;
use std::fmt;

/// The environment variable that holds the key.
pub const KEY_VARIABLE: &str = "GOLDFISH_API_KEY";

/// The replacement of a key.
const REDACTED: &str = "[key]";

/// Shortest part of a key that is replaced, in characters. A shorter key is replaced whole.
const SHORTEST_PART: usize = 8;

/// A server's API key. It can't be printed: both formats give `[key]`.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// Takes a key, without the white space around it. `None` if nothing is left.
    ///
    /// # Errors
    ///
    /// If it has characters that a header can't carry; the message doesn't show them.
    pub fn new(key: &str) -> Result<Option<Self>, &'static str> {
        let key = key.trim();
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the API key has characters other than visible ASCII");
        }
        Ok((!key.is_empty()).then(|| Self(key.to_owned())))
    }

    /// Reads it from the environment variable [`KEY_VARIABLE`], its only source.
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

    /// Text without the key: some servers repeat it when they refuse it, whole or in part. Every part of it with
    /// [`SHORTEST_PART`] characters is replaced, as written or as escaped in a JSON string or a URL.
    pub(super) fn scrub(&self, text: String) -> String {
        let plain: Read = |text, at| (text[at], 1);
        self.scrub_as(self.scrub_as(text, plain), unescaped)
    }

    fn scrub_as(&self, text: String, read: Read) -> String {
        let (key, bytes) = (self.0.as_bytes(), text.as_bytes());
        let shortest = key.len().min(SHORTEST_PART);
        let parts: HashSet<&[u8]> = key.windows(shortest).collect();
        // Where `wanted` ends in the text after `from`; an error where the text differs from it.
        let follow = |from: usize, wanted: &[u8]| {
            wanted.iter().try_fold(from, |at, byte| match bytes.get(at).map(|_| read(bytes, at)) {
                Some((found, width)) if found == *byte => Ok(at + width),
                _ => Err(at),
            })
        };
        let (mut scrubbed, mut kept, mut at) = (String::new(), 0, 0);
        let mut start = Vec::with_capacity(shortest);
        while at < bytes.len() {
            start.clear();
            let mut end = at;
            while start.len() < shortest && end < bytes.len() {
                let (byte, width) = read(bytes, end);
                start.push(byte);
                end += width;
                if !key.contains(&byte) {
                    break;
                }
            }
            if !parts.contains(start.as_slice()) {
                at += read(bytes, at).1;
                continue;
            }
            // The longest match with any position of the key that has this start.
            let positions = key.windows(shortest).enumerate().filter(|(_, part)| **part == *start);
            let ends = positions.map(|(at, _)| follow(end, &key[at + shortest..]).unwrap_or_else(|at| at));
            scrubbed.push_str(&text[kept..at]);
            scrubbed.push_str(REDACTED);
            at = ends.max().unwrap_or(end);
            kept = at;
        }
        if kept == 0 {
            return text;
        }
        scrubbed.push_str(&text[kept..]);
        scrubbed
    }
}

/// Reads the character at a position: its byte after unescaping, and the number of bytes that it takes.
type Read = fn(&[u8], usize) -> (u8, usize);

/// A character that may be escaped as in JSON or in a URL.
fn unescaped(text: &[u8], at: usize) -> (u8, usize) {
    let hex = |digits: usize, from: usize| {
        let digits =
            text.get(from..from + digits).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        u8::try_from(u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?).ok()
    };
    let found = match (text[at], text.get(at + 1)) {
        (b'%', _) => hex(2, at + 1).map(|byte| (byte, 3)),
        (b'\\', Some(b'u')) => hex(4, at + 2).map(|byte| (byte, 6)),
        (b'\\', Some(&byte @ (b'"' | b'\\' | b'/'))) => Some((byte, 2)),
        _ => None,
    };
    found.unwrap_or((text[at], 1))
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

    /// Whether a text shows `most` characters of a key in a row, read as plainly and as kindly as can be.
    fn shows(text: &str, key: &str, most: usize) -> bool {
        let (mut read, mut at) = (Vec::new(), 0);
        while at < text.len() {
            let (byte, width) = unescaped(text.as_bytes(), at);
            read.push(byte);
            at += width;
        }
        key.as_bytes().windows(most).any(|part| {
            [text.as_bytes(), &read].into_iter().any(|text| text.windows(most).any(|found| found == part))
        })
    }

    #[test]
    fn no_part_of_eight_characters_is_shown() {
        let long =
            "sk-proj-".to_owned() + &"Ab9_/+=\"\\%".repeat(3) + "0123456789abcdefghijKLMNOPQRSTUVwxyz-_~";
        for key in [long.as_str(), "secret", "exactly8", "aaaaaaaaaaaa", "%2B%2B%2B%2B"] {
            let api_key = ApiKey::new(key).unwrap().unwrap();
            let json = serde_json::Value::from(key).to_string();
            let points: String = key.bytes().map(|byte| format!("\\u{byte:04X}")).collect();
            let percent = |kept: fn(&u8) -> bool| -> String {
                let of =
                    |byte: u8| if kept(&byte) { char::from(byte).into() } else { format!("%{byte:02x}") };
                key.bytes().map(of).collect()
            };
            let forms = [
                key.to_owned(),
                json.trim_matches('"').replace('/', "\\/"),
                points,
                percent(u8::is_ascii_alphanumeric),
                percent(|_| false),
            ];
            for form in &forms {
                for (from, to) in [(0, form.len()), (0, form.len() - 1), (1, form.len()), (3, form.len() - 1)]
                {
                    // Twice, in what an error says, and in its middle.
                    let part = &form[from..to];
                    let text = format!("é Bearer {part}{part}: {{\"got\": \"{part}\"}} é");
                    let scrubbed = api_key.scrub(text);
                    let most = key.len().min(SHORTEST_PART);
                    assert!(!shows(&scrubbed, key, most), "{key} as {part}: {scrubbed}");
                    assert!(scrubbed.starts_with("é Bearer ") && scrubbed.ends_with(" é"), "{scrubbed}");
                }
            }
        }
        // What has no more than a few characters in common stays, to the byte.
        let key = ApiKey::new("secret-key-0123456789").unwrap().unwrap();
        for text in ["secret", "{\"a\": \"\\u00e9 %zz %\"}", "-0.1234567", "\\", "ends in \\u00"] {
            assert_eq!(key.scrub(text.into()), text);
        }
    }
}
