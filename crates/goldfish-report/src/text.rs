//! Text of a corpus, made safe to look at: on pages, and on a terminal.

use serde::Serialize;
use unicode_general_category::{GeneralCategory, get_general_category};

use crate::number::count;

/// A text with its invisible characters marked.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Shown {
    /// Its parts in order.
    parts: Vec<Part>,
    /// Characters that were cut off.
    cut: u64,
}

/// A stretch of a text.
#[derive(Debug, PartialEq, Serialize)]
struct Part {
    /// Characters to show as they are, or the sign for one that can't be seen.
    text: String,
    /// The code point of a sign, as `U+202E`.
    code: Option<String>,
    /// Whether a line ends after the sign.
    line_end: bool,
}

/// `text` on one line, for a terminal: each [hidden](is_hidden) character as `\n`, `\u{1b}` or `\u{202e}`. Of a longer one the first
/// `limit` characters, and how many there are.
///
/// ```
/// assert_eq!(goldfish_report::escaped("a\nb\u{202e}", 100), "a\\nb\\u{202e}");
/// assert_eq!(goldfish_report::escaped(&"a".repeat(2000), 3), "aaa… (2,000 characters)");
/// ```
#[must_use]
pub fn escaped(text: &str, limit: usize) -> String {
    let (shown, cut) = visible(text, limit);
    if cut == 0 { shown } else { format!("{shown}… ({} characters)", count((limit + cut) as u64)) }
}

/// The same for parts of a page that have no elements.
pub(crate) fn plain(text: &str, limit: usize) -> String {
    let (shown, cut) = visible(text, limit);
    if cut == 0 { shown } else { shown + "…" }
}

/// The first characters with the hidden ones escaped, and how many are left.
fn visible(text: &str, limit: usize) -> (String, usize) {
    let mut characters = text.chars();
    let mut shown = String::new();
    for c in characters.by_ref().take(limit) {
        if is_hidden(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    (shown, characters.count())
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

/// What to show instead of a hidden character; `None` for all others.
fn sign(c: char) -> Option<String> {
    match c {
        '\n' => Some("↵".into()),
        '\t' => Some("⇥".into()),
        c => is_hidden(c).then(|| format!("{:04X}", u32::from(c))),
    }
}

/// Whether a character can't be seen, ends a line, steers a terminal, or turns the order of the ones around it.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    use GeneralCategory::{
        Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, Surrogate, Unassigned,
    };
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    matches!(
        get_general_category(c),
        Control | Format | LineSeparator | ParagraphSeparator | PrivateUse | Surrogate | Unassigned
    )
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
    fn a_terminal_gets_one_line_of_visible_characters() {
        // New lines, controls of both sets, bidi marks, separators, zero-width characters, tags.
        let marks =
            ["\r", "\n", "\u{7}", "\u{1b}", "\u{7f}", "\u{85}", "\u{9b}", "\u{61c}", "\u{feff}", "\u{e0041}"];
        let ranges = ["\u{200b}\u{200f}", "\u{2028}\u{202e}", "\u{2060}\u{2069}"].map(|ends| {
            let mut ends = ends.chars();
            ends.next().unwrap()..=ends.next().unwrap()
        });
        let marks =
            marks.map(str::to_owned).into_iter().chain(ranges.into_iter().flatten().map(String::from));
        for mark in marks {
            let escape: String = mark.chars().flat_map(char::escape_default).collect();
            for found in [escaped(&format!("a{mark}b"), 9), plain(&format!("a{mark}b"), 9)] {
                assert_eq!(found, format!("a{escape}b"));
                assert!(found.is_ascii() && !found.bytes().any(|byte| byte.is_ascii_control()), "{found:?}");
            }
        }
        for seen in ["é ß", "\u{2019}", "雪", "\u{1f420}", "a\u{300}", "\\n"] {
            assert_eq!(escaped(seen, 9), seen);
        }
        assert_eq!(escaped(&"é".repeat(10_000_000), 3), "ééé… (10,000,000 characters)");
        assert_eq!(plain("abc", 2), "ab…");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let shown = shown(&"é".repeat(1_000_000), 3);
        assert_eq!((flat(&shown).as_str(), shown.cut), ("ééé", 999_997));
        assert_eq!(super::shown("ab", 2).cut, 0);
    }
}
