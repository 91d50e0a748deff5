//! Causal attention over packed rows.

use std::ops::Range;

use super::alibi::Alibi;
use super::config::Temperature;
use super::math::{dot, mix, softmax_beside, tanh, vectorized};
use super::ops::Rows;

/// Consecutive rows of one sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The rows among those that are computed.
    pub rows: Range<usize>,
    /// Position of the first of them in its sequence.
    pub first: usize,
    /// The rows with keys and values of positions 0 to the last row's: rows of the same pass, or of a cache.
    pub path: Vec<u32>,
}

/// Some rows of one span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Which of a pass's spans.
    pub(super) span: usize,
    /// The rows among those of the pass.
    pub(super) rows: Range<usize>,
}

/// Cuts ascending rows of a pass into blocks of at most `limit`, each made of pieces of spans.
pub(super) fn blocks(spans: &[Span], ranges: &[Range<usize>], limit: usize) -> Vec<Vec<Piece>> {
    let mut blocks: Vec<Vec<Piece>> = Vec::new();
    let (mut span, mut room) = (0, 0);
    for range in ranges {
        let mut start = range.start;
        while start < range.end {
            while spans[span].rows.end <= start {
                span += 1;
            }
            if room == 0 {
                blocks.push(Vec::new());
                room = limit;
            }
            let end = range.end.min(spans[span].rows.end).min(start + room);
            if let Some(block) = blocks.last_mut() {
                block.push(Piece { span, rows: start..end });
            }
            room -= end - start;
            start = end;
        }
    }
    blocks
}

/// Attention of queries `[rows, heads * head_dim]` over keys `[rows, kv_heads * head_dim]` and values `[rows, kv_heads * value_dim]`.
///
/// A query sees the positions up to its own along the path of its span, and sums in their order: what else is computed
/// together with it changes no bit.
pub(super) struct Attend<'a> {
    pub(super) spans: &'a [Span],
    pub(super) queries: Rows<'a>,
    pub(super) keys: Rows<'a>,
    pub(super) values: Rows<'a>,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    pub(super) value_dim: usize,
    pub(super) scale: f32,
    pub(super) softcap: Option<f32>,
    /// How many positions a query sees, its own included.
    pub(super) window: usize,
    /// Heads of which head `i`, from 0, sees `i + 1` positions at most.
    pub(super) growing_windows: usize,
    /// Positions of a chunk; a query sees those of its own.
    pub(super) chunk: usize,
    pub(super) temperature: Option<Temperature>,
    pub(super) alibi: Option<&'a Alibi>,
    /// One more score of each head, which takes weight from the keys.
    pub(super) sinks: Option<&'a [f32]>,
}

/// Keys of one head, transposed so that a query meets many of them at once, and values.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    keys: Vec<f32>,
    values: Vec<f32>,
    scores: Vec<f32>,
}

impl Attend<'_> {
    fn first_seen(&self, position: usize, head: usize) -> usize {
        let window = if head < self.growing_windows { self.window.min(head + 1) } else { self.window };
        (position + 1).saturating_sub(window).max(position - position % self.chunk)
    }

    /// Writes what the rows of a piece see to `out` `[rows, heads * value_dim]`.
    pub(super) fn piece(&self, piece: &Piece, out: &mut [f32], scratch: &mut Scratch) {
        vectorized(
            #[inline(always)]
            || {
                for kv_head in 0..self.kv_heads {
                    self.head(piece, kv_head, out, scratch);
                }
            },
        );
    }

    #[inline(always)]
    fn head(&self, piece: &Piece, kv_head: usize, out: &mut [f32], scratch: &mut Scratch) {
        let (dim, value_dim, group) = (self.head_dim, self.value_dim, self.heads / self.kv_heads);
        let span = &self.spans[piece.span];
        let first = span.first + piece.rows.start - span.rows.start;
        // The last head of a group sees most.
        let seen = self.first_seen(first, (kv_head + 1) * group - 1)..first + piece.rows.len();
        let length = seen.len();
        scratch.keys.clear();
        scratch.keys.resize(length * dim, 0.0);
        scratch.values.clear();
        let own = kv_head * dim..(kv_head + 1) * dim;
        let of_values = kv_head * value_dim..(kv_head + 1) * value_dim;
        for (index, row) in span.path[seen.clone()].iter().enumerate() {
            for (d, key) in self.keys.row(*row as usize)[own.clone()].iter().enumerate() {
                scratch.keys[d * length + index] = *key;
            }
            scratch.values.extend_from_slice(&self.values.row(*row as usize)[of_values.clone()]);
        }
        for (number, (row, out)) in
            piece.rows.clone().zip(out.chunks_exact_mut(self.heads * value_dim)).enumerate()
        {
            let position = first + number;
            let scale =
                self.temperature.map_or(self.scale, |temperature| self.scale * temperature.factor(position));
            let heads = kv_head * group..(kv_head + 1) * group;
            let queries = self.queries.row(row)[heads.start * dim..heads.end * dim].chunks_exact(dim);
            let outs = out[heads.start * value_dim..heads.end * value_dim].chunks_exact_mut(value_dim);
            for (index, (query, out)) in queries.zip(outs).enumerate() {
                let visible = self.first_seen(position, kv_head * group + index) - seen.start
                    ..position + 1 - seen.start;
                let scores = &mut scratch.scores;
                scores.clear();
                scores.resize(visible.len(), 0.0);
                dot(query, &scratch.keys, visible.start, scores);
                let head = kv_head * group + index;
                for score in scores.iter_mut() {
                    *score *= scale;
                }
                if let Some(alibi) = self.alibi {
                    alibi.add(head, seen.start + visible.start, position, scores);
                }
                soften(scores, self.softcap, self.sinks.map(|sinks| sinks[head]));
                out.fill(0.0);
                mix(scores, &scratch.values[visible.start * value_dim..visible.end * value_dim], out);
            }
        }
    }
}

/// Scores to weights that sum to 1, with that of the sink if there is one.
#[inline(always)]
pub(super) fn soften(scores: &mut [f32], softcap: Option<f32>, sink: Option<f32>) {
    if let Some(cap) = softcap {
        for score in scores.iter_mut() {
            *score = cap * tanh(*score / cap);
        }
    }
    softmax_beside(scores, sink);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_pieces() {
        let span = |rows: Range<usize>| Span { path: Vec::new(), first: 0, rows };
        let spans = [span(0..5), span(5..5), span(5..6), span(6..20)];
        let rows = |ranges: &[Range<usize>], limit| -> Vec<Vec<(usize, Range<usize>)>> {
            let plain = |block: Vec<Piece>| block.into_iter().map(|piece| (piece.span, piece.rows)).collect();
            blocks(&spans, ranges, limit).into_iter().map(plain).collect()
        };
        assert_eq!(
            rows(std::slice::from_ref(&(0..20)), 8),
            [vec![(0, 0..5), (2, 5..6), (3, 6..8)], vec![(3, 8..16)], vec![(3, 16..20)]]
        );
        assert_eq!(
            rows(&[2..4, 4..7, 19..20], 4),
            [vec![(0, 2..4), (0, 4..5), (2, 5..6)], vec![(3, 6..7), (3, 19..20)]]
        );
        assert!(rows(&[], 4).is_empty());
    }
}
