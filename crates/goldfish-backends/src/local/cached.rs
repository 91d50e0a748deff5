//! Scores and continuations of a decoder.

use std::collections::BTreeSet;

use candle_core::Result;
use goldfish_audit::backend::{Decoding, GenerateRequest, ScoreRequest, Scored, Wants};

use super::attention::Span;
use super::continuing::{Sequences, continue_all};
use super::decoder::{Cache, Decoder, Pass};
use super::pack::pack;
use super::scores::{Asked, append_scores, rows_of, unanswered};

/// Rows of one pass at most.
pub(super) const PASS_ROWS: usize = 2048;

/// Scores sequences that fit one pass together, in their order.
pub(super) fn score(decoder: &Decoder, requests: &[&ScoreRequest<'_>], wants: &Wants) -> Result<Vec<Scored>> {
    let sequences: Vec<&[u32]> = requests.iter().map(|request| request.ids).collect();
    let packed = pack(&sequences, usize::MAX);
    let mut answers = unanswered(requests);
    let Some(pass) = packed.passes.first() else { return Ok(answers) };
    let mut asked: Vec<Asked> = Vec::new();
    for (number, (request, path)) in requests.iter().zip(&packed.paths).enumerate() {
        let token = |at: usize| Asked { row: path[at - 1], request: number, token: request.ids[at] };
        asked.extend((request.from..request.ids.len()).map(token));
    }
    let rows = rows_of(&mut asked);
    if !rows.is_empty() {
        let hidden = decoder.states(pass, None, &rows)?;
        append_scores(decoder.vocabulary(), &hidden, &asked, wants, &mut answers)?;
    }
    Ok(answers)
}

/// Continues prompts together; each has its number among all requests.
pub(super) fn generate(
    decoder: &Decoder,
    requests: &[(usize, &GenerateRequest<'_>)],
    decoding: &Decoding,
) -> Result<Vec<Vec<u32>>> {
    let prompts: Vec<&[u32]> = requests.iter().map(|(_, request)| request.prompt).collect();
    let packed = pack(&prompts, PASS_ROWS);
    let tokens = requests.iter().map(|(_, request)| request.tokens);
    let rows = tokens.fold(packed.rows, usize::saturating_add);
    let mut cache = Cache::new(decoder.config(), rows)?;
    // The last rows of the prompts; prompts can share one.
    let lasts: BTreeSet<u32> = packed.paths.iter().filter_map(|path| path.last()).copied().collect();
    let width = decoder.config().hidden_size;
    let mut hidden = vec![0f32; prompts.len() * width];
    for pass in &packed.passes {
        let before = cache.rows() as u32;
        let here = lasts.range(before..before + pass.tokens.len() as u32).map(|row| row - before);
        let here: Vec<u32> = here.collect();
        let states = decoder.states(pass, Some(&mut cache), &here)?;
        for (path, own) in packed.paths.iter().zip(hidden.chunks_exact_mut(width)) {
            let row = path.last().and_then(|last| last.checked_sub(before));
            if let Some(index) = row.and_then(|row| here.binary_search(&row).ok()) {
                own.copy_from_slice(&states[index * width..][..width]);
            }
        }
    }
    let mut cached = Cached { decoder, cache, paths: packed.paths };
    continue_all(requests, decoding, decoder.vocabulary(), &hidden, &mut cached)
}

/// Sequences in a cache.
struct Cached<'a> {
    decoder: &'a Decoder,
    cache: Cache,
    /// For each sequence, the rows of its positions.
    paths: Vec<Vec<u32>>,
}

impl Sequences for Cached<'_> {
    fn append(&mut self, tokens: &[(usize, u32)]) -> Result<Vec<f32>> {
        let rows: Vec<u32> = (0..tokens.len() as u32).collect();
        let mut spans = Vec::with_capacity(tokens.len());
        for (row, (sequence, _)) in tokens.iter().enumerate() {
            let path = &mut self.paths[*sequence];
            path.push((self.cache.rows() + row) as u32);
            spans.push(Span { rows: row..row + 1, first: path.len() - 1, path: path.clone() });
        }
        let pass = Pass {
            tokens: tokens.iter().map(|(_, token)| *token).collect(),
            positions: spans.iter().map(|span| span.first as u32).collect(),
            spans: spans.into(),
        };
        self.decoder.states(&pass, Some(&mut self.cache), &rows)
    }
}
