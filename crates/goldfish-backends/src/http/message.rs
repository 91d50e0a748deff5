//! Messages that continue a text, joined to that text.
//!
//! What the true continuation is plays no part in this.

/// Fewest letters and digits of the end of a text that count as said again, unless the whole text is.
const FEWEST_AGAIN: usize = 16;

/// The white space between a text and the word after it, if `text` is a beginning of `whole` that ends beside white space. What
/// white space there is at the end of `whole`, where more may follow, is left to the message.
pub(super) fn seam<'a>(text: &str, whole: &'a str) -> Option<&'a str> {
    let rest = whole.strip_prefix(text)?;
    let word = rest.trim_start();
    let seam = &rest[..rest.len() - word.len()];
    let beside = !seam.is_empty() || text.ends_with(char::is_whitespace);
    (beside && !word.is_empty() && !text.trim().is_empty()).then_some(seam)
}

/// What a message adds to a text, and whether it said the end of the text again, which is left out. With a [`seam`] that
/// comes between the two; without one the text ends within a word, and the message continues it directly.
pub(super) fn continuation(text: &str, seam: Option<&str>, message: &str) -> (String, bool) {
    let mut message = unwrapped(message);
    if seam.is_some() {
        message = message.trim_start();
        let cut = message.strip_prefix("...").or_else(|| message.strip_prefix('…'));
        message = cut.unwrap_or(message).trim_start();
    }
    let rest = after_again(text, message);
    let (rest, again) = (rest.unwrap_or(message), rest.is_some());
    (seam.map_or_else(|| rest.to_owned(), |seam| format!("{seam}{}", rest.trim_start())), again)
}

/// A message without the code fence or quotation marks around it. Marks around a part of it belong to the text.
fn unwrapped(message: &str) -> &str {
    let inside = message.trim_start();
    if let Some(fenced) = inside.strip_prefix("```") {
        let is_name = |line: &str| !line.contains(|c: char| c.is_whitespace() || c == '`');
        let fenced = match fenced.split_once('\n') {
            Some((line, rest)) if is_name(line.trim_end()) => rest,
            _ => fenced,
        };
        return fenced.split_once("```").map_or(fenced, |(inside, _)| inside);
    }
    let mut characters = inside.chars();
    let closing: &[char] = match characters.next() {
        Some('"') => &['"'],
        Some('“') => &['”'],
        Some('„') => &['“', '”'],
        Some('«') => &['»'],
        Some('「') => &['」'],
        _ => return message,
    };
    let quoted = characters.as_str();
    match quoted.find(closing) {
        None => quoted,
        Some(end) if quoted[end..].trim_end().chars().count() == 1 => &quoted[..end],
        Some(_) => message,
    }
}

/// What follows in a message after the longest end of a text that it begins with.
fn after_again<'a>(text: &str, message: &'a str) -> Option<&'a str> {
    let text = text.trim();
    let letters = text.char_indices().rev().filter(|(_, c)| c.is_alphanumeric());
    let last = letters.map(|(at, _)| at).nth(FEWEST_AGAIN - 1).unwrap_or(0);
    let starts = text.char_indices().map(|(at, _)| at).take_while(|at| *at <= last);
    starts.map(|at| &text[at..]).find_map(|end| after(message.trim_start(), end))
}

/// What follows after a beginning, whatever white space there is between its words.
fn after<'a>(message: &'a str, beginning: &str) -> Option<&'a str> {
    let mut rest = message;
    for (number, word) in beginning.split_whitespace().enumerate() {
        if number > 0 {
            let next = rest.trim_start();
            if next.len() == rest.len() {
                return None;
            }
            rest = next;
        }
        rest = rest.strip_prefix(word)?;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "It was the best of times,\nit was the worst of times, it was the age";

    fn joined(message: &str) -> (String, bool) {
        continuation(TEXT, Some(" "), message)
    }

    #[test]
    fn texts_are_cut_beside_white_space() {
        assert_eq!(seam("the cat", "the cat sat"), Some(" "));
        assert_eq!(seam("the cat", "the cat\n\n    sat"), Some("\n\n    "));
        assert_eq!(seam("the cat ", "the cat sat"), Some(""));
        let nowhere = [
            ("the cat", "the cats"),
            ("the cat", "the cat"),
            ("the cat", "the cat "),
            ("the cat ", "the cat "),
            ("", " cat"),
            (" ", " cat"),
            ("x", "y z"),
        ];
        for (text, whole) in nowhere {
            assert_eq!(seam(text, whole), None, "{text:?} {whole:?}");
        }
    }

    #[test]
    fn the_white_space_is_that_of_the_text() {
        for message in ["of wisdom", " of wisdom", "\n\nof wisdom", "...of wisdom", "… of wisdom"] {
            assert_eq!(joined(message), (" of wisdom".into(), false), "{message:?}");
        }
        assert_eq!(
            continuation("def f():", Some("\n    "), "return 1\n"),
            ("\n    return 1\n".into(), false)
        );
        assert_eq!(joined(""), (" ".into(), false));
    }

    #[test]
    fn within_a_word_a_message_goes_on_directly() {
        assert_eq!(continuation("abc", None, "def"), ("def".into(), false));
        assert_eq!(continuation("abc", None, " def"), (" def".into(), false), "the server's own white space");
        assert_eq!(continuation("春眠不覺曉", None, "處處聞啼鳥"), ("處處聞啼鳥".into(), false));
        assert_eq!(continuation("春眠不覺曉", None, "「處處聞啼鳥」"), ("處處聞啼鳥".into(), false));
    }

    #[test]
    fn what_is_around_a_message_is_taken_off() {
        for message in [
            "\"of wisdom\"",
            " \"of wisdom\" \n",
            "\"of wisdom",
            "“of wisdom”",
            "„of wisdom“",
            "«of wisdom»",
            "```of wisdom```",
            "```\nof wisdom```",
            "```text\nof wisdom```\nThis is the continuation.",
            "```text\r\nof wisdom",
        ] {
            assert_eq!(joined(message), (" of wisdom".into(), false), "{message:?}");
        }
        // A quotation in the text, an apostrophe.
        for message in ["\"Ah,\" he said, \"wisdom.\"", "\"Ah,\" he said", "'tis", "of \"wisdom\""] {
            assert_eq!(joined(message), (format!(" {message}"), false));
        }
    }

    #[test]
    fn what_is_said_again_is_left_out() {
        for again in [TEXT, "it was the worst of times, it was the age", "worst of times,  it\nwas the age"] {
            assert_eq!(joined(&format!("{again} of wisdom")), (" of wisdom".into(), true), "{again:?}");
            assert_eq!(joined(&format!("\"{again}\nof wisdom")), (" of wisdom".into(), true), "{again:?}");
        }
        assert_eq!(joined(TEXT), (" ".into(), true), "and nothing more");
        // Too short, not the end, or not the beginning of the message.
        for message in [
            "the age of wisdom",
            "it was the age of wisdom",
            "It was the best of times",
            "Sure: it was the worst of times, it was the age of",
        ] {
            assert_eq!(joined(message), (format!(" {message}"), false));
        }
        // The whole of a short text.
        assert_eq!(continuation("It is", Some(" "), "It is what it is"), (" what it is".into(), true));
        assert_eq!(continuation("春眠不覺曉", None, "春眠不覺曉處處聞啼鳥"), ("處處聞啼鳥".into(), true));
        let long = "春眠不覺曉處處聞啼鳥夜來風雨聲花落知多少";
        assert_eq!(continuation(&format!("詩{long}"), None, &format!("{long}詩")), ("詩".into(), true));
    }
}
