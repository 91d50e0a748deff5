//! A stretch of a document with its dropped tokens marked.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use goldfish_pipeline::Passage;
use goldfish_report::is_hidden;
use goldfish_tokenize::Tokenizer;

use crate::print::{self, FAINT};
use crate::terminal;

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

/// Largest width of the lines.
const WIDTH: usize = 96;

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
            None => ids[run.clone()].iter().map(|id| format!(" {id}")).collect(),
        };
        let text = printable(&text);
        words.push((mark, text));
    }
    if let (None, Some((_, first))) = (tokenizer, words.first_mut()) {
        first.remove(0);
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
    let mut text = String::from("  ");
    for (mark, word) in words {
        let (style, open, close) = match mark {
            Marked::Kept => (Style::new(), "", ""),
            Marked::Dropped => (DROPPED, "[", "]"),
            Marked::Leaked => (LEAKED, "{", "}"),
        };
        // A marked token keeps its leading space outside of the brackets, where it can be broken at.
        let (lead, body) = match mark {
            Marked::Kept => ("", word.as_str()),
            _ => word.split_at(word.len() - word.trim_start_matches(' ').len()),
        };
        // Writing into a string can't fail.
        let _ = write!(text, "{lead}{style}{open}{body}{close}{style:#}");
    }
    let width = terminal::width().map_or(WIDTH, |width| width.min(WIDTH));
    terminal::wrap_indented(&text, width, 2) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_tokens_are_in_brackets() {
        let shown = anstream::adapter::strip_str(&render(&[5, 6, 7, 8], &[1, 0, 0, 1], None)).to_string();
        assert_eq!(shown, "  5 [6] [7] 8\n");
    }

    #[test]
    fn control_characters_stay_out_of_the_terminal() {
        assert_eq!(printable("a\nb\tc\u{1b}[31m\u{202E}"), "a⏎b→c·[31m·");
    }
}
