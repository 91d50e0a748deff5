//! The worst probes with their texts side by side.

use std::cmp::Ordering;
use std::collections::HashMap;

use goldfish_audit::evidence::EvidenceTokens;
use goldfish_audit::run::Run;
use goldfish_audit::score::position;
use goldfish_audit::{AuditError, ProbeRow, ResultRow};
use serde::Serialize;
use similar::{Algorithm, DiffOp, capture_diff_slices};

/// Turns token ids to text.
pub type Decode<'a> = dyn Fn(&[u32]) -> Option<String> + 'a;

const ROUGE_L: usize = position("rouge_l");
const LOSS: usize = position("loss");

/// Probes that are shown.
const SHOWN: usize = 20;

/// Tokens of a prefix that are shown: its last ones.
const PREFIX_TOKENS: usize = 120;

/// Tokens of a suffix or continuation that are shown.
const SUFFIX_TOKENS: usize = 240;

/// The worst probe of each of the worst passages: copies of one are one.
#[derive(Debug, Default)]
pub(super) struct Worst(Vec<ResultRow>);

impl Worst {
    /// Looks at a row of the audited set. A passage that is crowded out comes back with a worse probe.
    pub(super) fn offer(&mut self, row: ResultRow) {
        let same = self.0.iter().position(|kept| kept.cluster == row.cluster);
        if let Some(kept) = same.map(|at| &mut self.0[at]) {
            if compare(&row, kept) == Ordering::Less {
                *kept = row;
            }
        } else if self.0.len() < SHOWN {
            self.0.push(row);
        } else if self.0.last().is_some_and(|last| compare(&row, last) == Ordering::Less) {
            self.0.pop();
            self.0.push(row);
        }
        self.0.sort_by(compare);
    }
}

/// The worse one first: exact matches, those that no filter calls trivial, the longest, the most alike, the surest.
fn compare(a: &ResultRow, b: &ResultRow) -> Ordering {
    let number = |value: Option<f64>| value.unwrap_or(f64::NEG_INFINITY);
    let likelihood = |row: &ResultRow| number(row.scores[LOSS].map(|loss| -loss));
    let badness = |row: &ResultRow| (row.exact_match, row.trivial.is_empty(), row.match_length);
    badness(b)
        .cmp(&badness(a))
        .then(number(b.scores[ROUGE_L]).total_cmp(&number(a.scores[ROUGE_L])))
        .then(likelihood(b).total_cmp(&likelihood(a)))
        .then((&a.doc_id, a.offset, a.prefix_tokens).cmp(&(&b.doc_id, b.offset, b.prefix_tokens)))
}

/// A probe that is shown in full.
#[derive(Debug, Serialize)]
pub(super) struct WorstProbe {
    probe_id: String,
    doc_id: String,
    stratum: String,
    document_tokens: u64,
    offset: u64,
    prefix_tokens: u32,
    suffix_tokens: u32,
    copies: u64,
    trivial: String,
    exact_match: bool,
    match_length: u32,
    rouge_l: Option<f64>,
    loss: Option<f64>,
    dropped: Option<usize>,
    texts: Option<Texts>,
}

/// The texts of a probe.
#[derive(Debug, Serialize)]
struct Texts {
    /// Tokens of the prefix before what is shown.
    skipped: usize,
    prefix: Passage,
    truth: Passage,
    continuation: Option<Passage>,
}

/// A stretch of tokens.
#[derive(Debug, Serialize)]
struct Passage {
    pieces: Vec<Piece>,
    /// Tokens after what is shown.
    more: usize,
}

/// Tokens that are marked alike.
#[derive(Debug, PartialEq, Serialize)]
struct Piece {
    text: String,
    dropped: bool,
    same: bool,
}

impl Worst {
    /// Brings the probes' tokens, and their texts by `decode` or, without it, as far as the run holds them.
    pub(super) fn show(
        self,
        run: &Run,
        redact: bool,
        decode: Option<&Decode<'_>>,
    ) -> Result<Vec<WorstProbe>, AuditError> {
        let wanted: HashMap<&str, usize> =
            self.0.iter().enumerate().map(|(at, row)| (row.probe_id.as_str(), at)).collect();
        let mut probes: Vec<Option<ProbeRow>> = self.0.iter().map(|_| None).collect();
        for probe in run.probes()? {
            let probe = probe?;
            if let Some(at) = wanted.get(probe.probe_id.as_str()) {
                probes[*at] = Some(probe);
            }
        }
        let mut proofs: Vec<Option<EvidenceTokens>> = self.0.iter().map(|_| None).collect();
        if decode.is_none() && !redact && run.config.options.text {
            for proof in run.evidence()? {
                let proof = proof?;
                if let Some(at) = wanted.get(proof.probe_id.as_str()) {
                    proofs[*at] = proof.tokens;
                }
            }
        }
        let rows = self.0.iter().zip(probes).zip(proofs);
        Ok(rows.map(|((row, probe), proof)| shown(row, probe, proof, redact, decode)).collect())
    }
}

fn shown(
    row: &ResultRow,
    probe: Option<ProbeRow>,
    proof: Option<EvidenceTokens>,
    redact: bool,
    decode: Option<&Decode<'_>>,
) -> WorstProbe {
    let texts = probe.as_ref().filter(|_| !redact).and_then(|probe| texts(row, probe, proof, decode));
    WorstProbe {
        probe_id: row.probe_id.clone(),
        doc_id: row.doc_id.clone(),
        stratum: row.stratum.clone(),
        document_tokens: probe.as_ref().map_or(0, |probe| probe.document_tokens),
        offset: row.offset,
        prefix_tokens: row.prefix_tokens,
        suffix_tokens: row.suffix_tokens,
        copies: row.copies,
        trivial: row.trivial.replace(',', ", "),
        exact_match: row.exact_match,
        match_length: row.match_length,
        rouge_l: row.scores[ROUGE_L],
        loss: row.scores[LOSS],
        dropped: probe.and_then(|probe| probe.dropped).map(|dropped| dropped.len()),
        texts,
    }
}

/// Nothing if the run was redacted.
fn texts(
    row: &ResultRow,
    probe: &ProbeRow,
    proof: Option<EvidenceTokens>,
    decode: Option<&Decode<'_>>,
) -> Option<Texts> {
    let (prefix, truth) = (probe.prefix.as_ref()?, probe.suffix.as_ref()?);
    let mut dropped = vec![false; prefix.len() + truth.len()];
    for at in probe.dropped.iter().flatten() {
        if let Some(dropped) = dropped.get_mut(*at as usize) {
            *dropped = true;
        }
    }
    let (prefix_dropped, truth_dropped) = dropped.split_at(prefix.len());
    let continuation = row.generated.as_ref().or(row.exact_match.then_some(truth));
    let (in_truth, in_continuation) = match continuation {
        Some(continuation) => common(truth, continuation),
        None => (vec![false; truth.len()], Vec::new()),
    };
    let skipped = prefix.len().saturating_sub(PREFIX_TOKENS);
    let (nothing, none) = (vec![false; prefix.len()], vec![false; in_continuation.len()]);
    // The run's own text of an exact match has no token boundaries, but reads better than ids.
    if let (None, Some((prefix, truth))) =
        (decode, proof.and_then(|proof| proof.prompt_text.zip(proof.expected_text)))
    {
        let whole =
            |text: String, same| Passage { pieces: vec![Piece { text, dropped: false, same }], more: 0 };
        let continuation = row.exact_match.then(|| whole(truth.clone(), true));
        return Some(Texts {
            skipped: 0,
            prefix: whole(prefix, false),
            truth: whole(truth, row.exact_match),
            continuation,
        });
    }
    Some(Texts {
        skipped,
        prefix: passage(
            &prefix[skipped..],
            &prefix_dropped[skipped..],
            &nothing[skipped..],
            PREFIX_TOKENS,
            decode,
        ),
        truth: passage(truth, truth_dropped, &in_truth, SUFFIX_TOKENS, decode),
        continuation: continuation
            .map(|tokens| passage(tokens, &none, &in_continuation, SUFFIX_TOKENS, decode)),
    })
}

/// Which tokens of two sequences belong to their longest common subsequence.
fn common(truth: &[u32], continuation: &[u32]) -> (Vec<bool>, Vec<bool>) {
    let mut found = (vec![false; truth.len()], vec![false; continuation.len()]);
    for operation in capture_diff_slices(Algorithm::Myers, truth, continuation) {
        if let DiffOp::Equal { old_index, new_index, len } = operation {
            found.0[old_index..old_index + len].fill(true);
            found.1[new_index..new_index + len].fill(true);
        }
    }
    found
}

fn passage(
    ids: &[u32],
    dropped: &[bool],
    same: &[bool],
    limit: usize,
    decode: Option<&Decode<'_>>,
) -> Passage {
    let end = ids.len().min(limit);
    let mut pieces: Vec<Piece> = Vec::new();
    let mut start = 0;
    while start < end {
        let (next, text) = character(ids, start, end, decode);
        let piece = Piece {
            text,
            dropped: dropped[start..next].contains(&true),
            same: !same[start..next].contains(&false),
        };
        match pieces.last_mut() {
            // Dropped tokens are pieces of their own, so that each can be seen.
            Some(last) if !piece.dropped && (last.dropped, last.same) == (false, piece.same) => {
                last.text += &piece.text;
            }
            _ => pieces.push(piece),
        }
        start = next;
    }
    Passage { pieces, more: ids.len() - end }
}

/// Tokens that a character is split over at most.
const MOST_PARTS: usize = 4;

/// The text of a token, and of the next ones where a character is split over them; with the end of the last one.
fn character(ids: &[u32], start: usize, end: usize, decode: Option<&Decode<'_>>) -> (usize, String) {
    let Some(decode) = decode else { return (start + 1, format!("{} ", ids[start])) };
    for next in start + 1..=end.min(start + MOST_PARTS) {
        let text = text_of(ids, start..next, decode);
        if !text.ends_with(char::REPLACEMENT_CHARACTER) {
            return (next, text);
        }
    }
    (start + 1, text_of(ids, start..start + 1, decode))
}

/// The text of some tokens among others: some tokenizers write the space before a token only after another
/// one.
pub(super) fn text_of(ids: &[u32], range: std::ops::Range<usize>, decode: &Decode<'_>) -> String {
    let unknown = || ids[range.clone()].iter().map(|id| format!("<{id}> ")).collect();
    if range.start > 0 {
        let before = decode(&ids[range.start - 1..range.start]);
        let both = decode(&ids[range.start - 1..range.end]);
        if let Some((before, both)) = before.zip(both)
            && let Some(text) = both.strip_prefix(&before)
        {
            return text.to_owned();
        }
    }
    decode(&ids[range.clone()]).unwrap_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(doc_id: &str, exact_match: bool, match_length: u32) -> ResultRow {
        ResultRow {
            doc_id: doc_id.into(),
            cluster: doc_id.into(),
            exact_match,
            match_length,
            ..ResultRow::default()
        }
    }

    #[test]
    fn one_probe_a_passage_and_the_worst_ones() {
        let mut worst = Worst::default();
        for i in 0..100u32 {
            worst.offer(row(&format!("d{:02}", i % 50), false, i * 7 % 100));
        }
        worst.offer(row("d03", true, 5));
        let lengths: Vec<u32> = worst.0.iter().map(|row| row.match_length).collect();
        let mut best: Vec<u32> = (0..50).map(|i| (i * 7 % 100).max((i + 50) * 7 % 100)).collect();
        best[3] = 0;
        best.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(lengths[0], 5, "an exact match comes first, however short");
        assert_eq!(lengths[1..], best[..19]);
    }

    #[test]
    fn marks_follow_the_tokens() {
        let (truth, continuation) = common(&[1, 2, 3, 4, 5], &[1, 2, 9, 4, 5, 6]);
        assert_eq!(truth, [true, true, false, true, true]);
        assert_eq!(continuation, [true, true, false, true, true, false]);
        let decode = |ids: &[u32]| Some(ids.iter().map(|id| format!("w{id} ")).collect::<String>());
        let dropped = [false, false, true, true, false];
        let found = passage(&[1, 2, 3, 4, 5], &dropped, &truth, 4, Some(&decode));
        let piece = |text: &str, dropped, same| Piece { text: text.into(), dropped, same };
        assert_eq!(
            found.pieces,
            [piece("w1 w2 ", false, true), piece("w3 ", true, false), piece("w4 ", true, true)]
        );
        assert_eq!(found.more, 1);
    }

    #[test]
    fn a_divided_character_is_one_piece() {
        // Ids are the bytes of a text.
        let decode = |ids: &[u32]| {
            let bytes: Vec<u8> = ids.iter().map(|id| *id as u8).collect();
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        let ids: Vec<u32> = "aé\u{20AC}".bytes().map(u32::from).chain([0xFF]).collect();
        let dropped = [false, false, true, false, false, false, false];
        let found = passage(&ids, &dropped, &[false; 7], 10, Some(&decode));
        let piece = |text: &str, dropped| Piece { text: text.into(), dropped, same: false };
        assert_eq!(found.pieces, [piece("a", false), piece("é", true), piece("\u{20AC}\u{FFFD}", false)]);
    }

    #[test]
    fn spaces_between_tokens_are_kept() {
        // As SentencePiece does it: the space of a first word is left out.
        let decode =
            |ids: &[u32]| Some(ids.iter().map(|id| format!(" w{id}")).collect::<String>()[1..].to_owned());
        assert_eq!(text_of(&[1, 2, 3], 1..3, &decode), " w2 w3");
        assert_eq!(text_of(&[1, 2, 3], 0..1, &decode), "w1");
    }
}
