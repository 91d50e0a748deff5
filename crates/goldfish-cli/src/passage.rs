//! A stretch of a document with its dropped tokens marked.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use goldfish_pipeline::Passage;
use goldfish_report::is_hidden;
use goldfish_tokenize::Tokenizer;

use crate::print::{self, FAINT};

const DROPPED: Style = AnsiColor::Red.on_default().underline();
const LEAKED: Style = AnsiColor::Yellow.on_default().bold().underline();

/// The outcome for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marked {
    /// It is in the loss.
    Kept,
    /// It is dropped: `[`so`]`.
    Dropped,
    /// It is dropped, and another copy trains on it: `{`so`}`.
    Leaked,
}

/// Width of the shown text, in characters.
const WIDTH: usize = 92;

/// The first tokens of a document, with its id above them.
pub(crate) fn example(passage: &Passage, tokenizer: Option<&Tokenizer>) -> String {
    format!(
        "\n{FAINT}{}, first {} tokens, the dropped ones in brackets:{FAINT:#}\n{}",
        print::name(&passage.doc_id),
        passage.ids.len(),
        render(&passage.ids, &passage.mask, tokenizer).trim_end_matches('\n'),
    )
}

/// Renders tokens with `[`brackets`]` around the dropped ones; as text if there is a tokenizer, else as ids.
pub(crate) fn render(ids: &[u32], mask: &[u8], tokenizer: Option<&Tokenizer>) -> String {
    let mut words = Vec::new();
    for run in runs(mask) {
        let mark = if mask[run.start] == 0 { Marked::Dropped } else { Marked::Kept };
        let text = match tokenizer {
            Some(tokenizer) => tokenizer.decode(&ids[run.clone()]).unwrap_or_default(),
            None => ids[run.clone()].iter().map(|id| format!("{id} ")).collect(),
        };
        let text = printable(&text);
        words.push((mark, text));
    }
    wrap(&words)
}

/// Runs of tokens with the same decision; a dropped token is a run of its own.
fn runs(mask: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for (i, &keep) in mask.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if keep == 1 && mask[run.start] == 1 => run.end = i + 1,
            _ => runs.push(i..i + 1),
        }
    }
    runs
}

/// Line breaks become visible, other control characters and direction marks harmless.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' => '⏎',
            '\t' => '→',
            c if is_hidden(c) => '·',
            c => c,
        })
        .collect()
}

/// Breaks the text into indented lines.
pub(crate) fn wrap(words: &[(Marked, String)]) -> String {
    let mut lines = String::from("  ");
    let mut column = 0;
    for (mark, text) in words {
        // A marked token keeps its leading space outside of the brackets, where it can be broken at.
        let (style, open, close) = match mark {
            Marked::Kept => (Style::new(), None, None),
            Marked::Dropped => (DROPPED, Some('['), Some(']')),
            Marked::Leaked => (LEAKED, Some('{'), Some('}')),
        };
        let (lead, body) = match mark {
            Marked::Kept => ("", text.as_str()),
            _ => text.split_at(text.len() - text.trim_start_matches(' ').len()),
        };
        let mut emit = |c: char, lines: &mut String| {
            if column >= WIDTH && c == ' ' {
                lines.push_str("\n  ");
                column = 0;
            } else {
                lines.push(c);
                column += 1;
            }
        };
        lead.chars().for_each(|c| emit(c, &mut lines));
        // Writing into a string can't fail.
        let _ = write!(lines, "{style}");
        open.into_iter().chain(body.chars()).chain(close).for_each(|c| emit(c, &mut lines));
        let _ = write!(lines, "{style:#}");
    }
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_tokens_are_in_brackets() {
        let shown = anstream::adapter::strip_str(&render(&[5, 6, 7, 8], &[1, 0, 0, 1], None)).to_string();
        assert_eq!(shown, "  5 [6 ][7 ]8 \n");
    }

    #[test]
    fn control_characters_stay_out_of_the_terminal() {
        assert_eq!(printable("a\nb\tc\u{1b}[31m\u{202E}"), "a⏎b→c·[31m·");
    }
}
