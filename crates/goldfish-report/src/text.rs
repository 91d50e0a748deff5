//! Text of a corpus, made safe to look at.

use serde::Serialize;
use unicode_general_category::{GeneralCategory, get_general_category};

/// A text with its invisible characters told apart from the others.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Shown {
    /// What stands there, in order.
    parts: Vec<Part>,
    /// Characters that were cut off.
    cut: u64,
}

/// A stretch of a text.
#[derive(Debug, PartialEq, Serialize)]
struct Part {
    /// Characters to show as they are, or the sign for one that can't be seen.
    text: String,
    /// The code point behind a sign, as `U+202E`.
    code: Option<String>,
    /// Whether a line ends behind the sign.
    line_end: bool,
}

impl Shown {
    /// The same without marks, for places that hold no elements.
    pub(crate) fn plain(&self) -> String {
        let parts: String = self.parts.iter().map(|part| part.text.as_str()).collect();
        if self.cut > 0 { parts + "…" } else { parts }
    }
}

/// Takes the first `limit` characters of `text`.
pub(crate) fn shown(text: &str, limit: usize) -> Shown {
    let end = text.char_indices().nth(limit).map_or(text.len(), |(at, _)| at);
    let mut parts: Vec<Part> = Vec::new();
    for c in text[..end].chars() {
        match (sign(c), parts.last_mut()) {
            (None, Some(Part { text, code: None, .. })) => text.push(c),
            (None, _) => parts.push(Part { text: c.into(), code: None, line_end: false }),
            (Some(text), _) => {
                let code = Some(format!("U+{:04X}", u32::from(c)));
                parts.push(Part { text, code, line_end: c == '\n' });
            }
        }
    }
    Shown { parts, cut: text[end..].chars().count() as u64 }
}

/// What to show instead of a character that can't be seen or that orders the ones around it; `None` for all others.
fn sign(c: char) -> Option<String> {
    use GeneralCategory::{
        Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, Surrogate, Unassigned,
    };
    match (c, get_general_category(c)) {
        ('\n', _) => Some("↵".into()),
        ('\t', _) => Some("⇥".into()),
        (_, Control | Format | LineSeparator | ParagraphSeparator | PrivateUse | Surrogate | Unassigned) => {
            Some(format!("{:04X}", u32::from(c)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(shown: &Shown) -> String {
        let part = |part: &Part| match &part.code {
            Some(code) => format!("[{}={code}]", part.text),
            None => part.text.clone(),
        };
        shown.parts.iter().map(part).collect()
    }

    #[test]
    fn what_cannot_be_seen_is_named() {
        let text = "a\nb\tc\0\u{1b}[31m\u{202E}d\u{200D}\u{FEFF}\u{2028}\u{E000}\u{FFFE}é ß";
        assert_eq!(
            flat(&shown(text, 100)),
            "a[↵=U+000A]b[⇥=U+0009]c[0000=U+0000][001B=U+001B][31m[202E=U+202E]d[200D=U+200D][FEFF=U+FEFF]\
             [2028=U+2028][E000=U+E000][FFFE=U+FFFE]é ß"
        );
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let shown = shown(&"é".repeat(1_000_000), 3);
        assert_eq!((flat(&shown).as_str(), shown.cut), ("ééé", 999_997));
        assert_eq!(super::shown("ab", 2).cut, 0);
    }
}
