//! Sequences packed into rows, common prefixes once.

use std::sync::Arc;

use super::attention::Span;
use super::decoder::Pass;

/// Packed sequences.
#[derive(Debug)]
pub(super) struct Packed {
    /// The rows, in passes of a limited size.
    pub(super) passes: Vec<Pass>,
    /// For each sequence, the rows of its positions, counted over all passes.
    pub(super) paths: Vec<Vec<u32>>,
    /// Rows in all passes.
    pub(super) rows: usize,
}

/// Packs sequences that are sorted, or in which those with a common prefix follow each other.
pub(super) fn pack(sequences: &[&[u32]], rows_a_pass: usize) -> Packed {
    let mut packer = Packer { passes: Vec::new(), open: Open::default(), rows_a_pass: rows_a_pass.max(1) };
    let mut paths: Vec<Vec<u32>> = Vec::with_capacity(sequences.len());
    let mut rows = 0;
    let mut before: &[u32] = &[];
    for sequence in sequences {
        let shared = before.iter().zip(*sequence).take_while(|(a, b)| a == b).count();
        let mut path = paths.last().map_or(Vec::new(), |path| path[..shared].to_vec());
        path.extend((rows..rows + sequence.len() - shared).map(|row| row as u32));
        rows += sequence.len() - shared;
        packer.add(sequence, &path, shared);
        paths.push(path);
        before = sequence;
    }
    packer.close();
    Packed { passes: packer.passes, paths, rows }
}

/// The pass that is being filled.
#[derive(Default)]
struct Open {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    spans: Vec<Span>,
}

struct Packer {
    passes: Vec<Pass>,
    open: Open,
    rows_a_pass: usize,
}

impl Packer {
    fn add(&mut self, sequence: &[u32], path: &[u32], mut first: usize) {
        while first < sequence.len() {
            let room = self.rows_a_pass - self.open.tokens.len();
            let end = sequence.len().min(first + room);
            let start = self.open.tokens.len();
            self.open.tokens.extend(&sequence[first..end]);
            self.open.positions.extend((first..end).map(|position| position as u32));
            let rows = start..self.open.tokens.len();
            self.open.spans.push(Span { rows, first, path: path[..end].to_vec() });
            if self.open.tokens.len() == self.rows_a_pass {
                self.close();
            }
            first = end;
        }
    }

    fn close(&mut self) {
        let Open { tokens, positions, spans } = std::mem::take(&mut self.open);
        if !tokens.is_empty() {
            self.passes.push(Pass { tokens, positions: positions.into(), spans: Arc::from(spans) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_beginnings() {
        let packed = pack(&[&[1, 2, 3], &[1, 2, 3], &[1, 2, 4, 5], &[2]], 100);
        assert_eq!(packed.paths, [vec![0, 1, 2], vec![0, 1, 2], vec![0, 1, 3, 4], vec![5]]);
        let [pass] = packed.passes.as_slice() else { panic!("one pass") };
        assert_eq!(pass.tokens, [1, 2, 3, 4, 5, 2]);
        assert_eq!(*pass.positions, [0, 1, 2, 2, 3, 0]);
        assert_eq!(pass.spans[1], Span { rows: 3..5, first: 2, path: vec![0, 1, 3, 4] });
    }

    #[test]
    fn cut_into_passes() {
        let packed = pack(&[&[1, 2, 3], &[1, 5, 6]], 2);
        let tokens: Vec<_> = packed.passes.iter().map(|pass| pass.tokens.clone()).collect();
        assert_eq!(tokens, [vec![1, 2], vec![3, 5], vec![6]]);
        assert_eq!(packed.passes[1].spans[0], Span { rows: 0..1, first: 2, path: vec![0, 1, 2] });
        assert_eq!(packed.passes[1].spans[1], Span { rows: 1..2, first: 1, path: vec![0, 3] });
    }
}
