//! Documents with texts, and what rules decide about them.

use goldfish_mask::{MaskRule, TokenSpan};
use proptest::prelude::*;

pub(crate) fn whole(rule: &dyn MaskRule, text: &str, spans: &[(usize, usize)]) -> Vec<u8> {
    let ids = vec![0; spans.len()];
    let mut mask = vec![9; spans.len()];
    rule.decide(&TokenSpan::document(&ids).with_text(text, spans), &mut mask);
    mask
}

/// Decides a document in pieces of `step` tokens. They bring the whole text, as much history as they like, and no more spans
/// than the rule asks for.
pub(crate) fn in_pieces(rule: &dyn MaskRule, text: &str, spans: &[(usize, usize)], step: usize) -> Vec<u8> {
    let ids = vec![0; spans.len()];
    let mut mask = vec![9; spans.len()];
    for start in (0..spans.len()).step_by(step) {
        let end = spans.len().min(start + step);
        let given = spans.len().min(end.saturating_add(rule.lookahead()));
        let history = start.min(step / 2);
        let span = TokenSpan::continued(&ids[start - history..end], history, start as u64);
        rule.decide(&span.with_text(text, &spans[..given]), &mut mask[start..end]);
    }
    mask
}

/// One span a character.
pub(crate) fn by_char(text: &str) -> Vec<(usize, usize)> {
    text.char_indices().map(|(at, c)| (at, at + c.len_utf8())).collect()
}

/// Spans of tokens that cut the text at the given bytes, or any spans at all.
pub(crate) fn spans_of(text: &str, cuts: &[prop::sample::Index], ordered: bool) -> Vec<(usize, usize)> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
    if ordered {
        at.extend([0, text.len()]);
        at.sort_unstable();
        return at.windows(2).map(|pair| (pair[0], pair[1])).collect();
    }
    at.chunks_exact(2).map(|pair| (pair[0].min(pair[1]), pair[0].max(pair[1]))).collect()
}
