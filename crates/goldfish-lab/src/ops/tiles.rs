//! Small matrices in panels as wide as a vector, and their products with a few rows at a time.
//!
//! An element of a product is summed on its own, its terms in their order. All is inlined into a closure that
//! `goldfish_backends::local::math::vectorized` runs.

use std::array::from_fn;
use std::ops::Range;

/// Columns of a panel.
pub(super) const LANES: usize = 16;
/// Rows that are multiplied at a time.
pub(super) const TILE: usize = 4;

/// Rows of a panel that are changed at a time.
const AT_ONCE: usize = 4;

/// A row of a panel.
pub(super) type Block = [f32; LANES];

/// A matrix in panels of [`LANES`] columns, within a panel row by row. Columns that fill up the last panel are 0.
#[derive(Default)]
pub(super) struct Panels {
    blocks: Vec<Block>,
    rows: usize,
}

impl Panels {
    #[inline(always)]
    pub(super) fn clear(&mut self, rows: usize, columns: usize) {
        self.blocks.clear();
        self.blocks.resize(rows * columns.div_ceil(LANES), [0.0; LANES]);
        self.rows = rows;
    }

    /// Takes rows of `columns` elements; rows after the last are 0, up to `count`.
    #[inline(always)]
    pub(super) fn pack<'a>(&mut self, rows: impl Iterator<Item = &'a [f32]>, [count, columns]: [usize; 2]) {
        self.clear(count, columns);
        for (index, row) in rows.enumerate() {
            for (panel, values) in row.chunks(LANES).enumerate() {
                self.blocks[panel * count + index][..values.len()].copy_from_slice(values);
            }
        }
    }

    /// Takes columns of `rows` elements; columns after the last are 0, up to `count`.
    #[inline(always)]
    pub(super) fn pack_columns<'a>(
        &mut self,
        columns: impl Iterator<Item = &'a [f32]>,
        [rows, count]: [usize; 2],
    ) {
        self.clear(rows, count);
        for (index, column) in columns.enumerate() {
            let panel = &mut self.blocks[index / LANES * rows..][..rows];
            for (block, value) in panel.iter_mut().zip(column) {
                block[index % LANES] = *value;
            }
        }
    }

    pub(super) fn panels(&self) -> usize {
        self.blocks.len().checked_div(self.rows).unwrap_or_default()
    }

    /// Writes the products of some rows `x`, whose elements meet the matrix's rows from `first` on, with some panels to `out`: for
    /// each row of `x` one block a panel, beginning with the first of these panels.
    #[inline(always)]
    pub(super) fn multiply(
        &self,
        x: [&[f32]; TILE],
        first: usize,
        panels: Range<usize>,
        out: [&mut [Block]; TILE],
    ) {
        let (mut at, mut out) = (0, out);
        while at < panels.len() {
            let blocks = &self.blocks[(panels.start + at) * self.rows + first..];
            match panels.len() - at {
                1 => store(&products::<1>(x, blocks, self.rows), &mut at, &mut out),
                2 | 3 => store(&products::<2>(x, blocks, self.rows), &mut at, &mut out),
                _ => store(&products::<4>(x, blocks, self.rows), &mut at, &mut out),
            }
        }
    }

    /// Adds the outer products of some factors and rows: the factors of a row meet the matrix's rows from `first` on, and a row has a
    /// block for each panel.
    #[inline(always)]
    pub(super) fn add(&mut self, factors: [&[f32]; TILE], first: usize, rows: [&[Block]; TILE]) {
        let count = factors[0].len();
        let factors = factors.map(|factors| &factors[..count]);
        for panel in 0..self.panels() {
            let rows = rows.map(|row| row[panel]);
            let blocks = &mut self.blocks[panel * self.rows + first..][..count];
            let (some, rest) = blocks.as_chunks_mut::<AT_ONCE>();
            let done = some.len() * AT_ONCE;
            for (number, blocks) in some.iter_mut().enumerate() {
                // A copy, whose elements are in registers.
                let mut sums = *blocks;
                for r in 0..TILE {
                    for n in 0..AT_ONCE {
                        let factor = factors[r][AT_ONCE * number + n];
                        for lane in 0..LANES {
                            sums[n][lane] = factor.mul_add(rows[r][lane], sums[n][lane]);
                        }
                    }
                }
                *blocks = sums;
            }
            for (n, block) in rest.iter_mut().enumerate() {
                for (factors, row) in factors.iter().zip(&rows) {
                    for (sum, x) in block.iter_mut().zip(row) {
                        *sum = factors[done + n].mul_add(*x, *sum);
                    }
                }
            }
        }
    }

    /// Copies a row.
    #[inline(always)]
    pub(super) fn copy_row(&self, row: usize, out: &mut [f32]) {
        for (panel, out) in out.chunks_mut(LANES).enumerate() {
            out.copy_from_slice(&self.blocks[panel * self.rows + row][..out.len()]);
        }
    }
}

/// Products with the first `N` of some panels of so many rows; returned, so that their sums are in registers.
#[inline(always)]
fn products<const N: usize>(x: [&[f32]; TILE], blocks: &[Block], rows: usize) -> [[Block; N]; TILE] {
    let count = x[0].len();
    let x = x.map(|x| &x[..count]);
    let panels: [&[Block]; N] = from_fn(|n| &blocks[n * rows..][..count]);
    let mut sums = [[[0f32; LANES]; N]; TILE];
    for k in 0..count {
        let blocks: [&Block; N] = from_fn(|n| &panels[n][k]);
        for r in 0..TILE {
            let x = x[r][k];
            for n in 0..N {
                for lane in 0..LANES {
                    sums[r][n][lane] = x.mul_add(blocks[n][lane], sums[r][n][lane]);
                }
            }
        }
    }
    sums
}

/// Writes products after others, and counts them.
#[inline(always)]
fn store<const N: usize>(sums: &[[Block; N]; TILE], at: &mut usize, out: &mut [&mut [Block]; TILE]) {
    for r in 0..TILE {
        out[r][*at..*at + N].copy_from_slice(&sums[r]);
    }
    *at += N;
}

/// Rows of whole blocks, `TILE` of which are taken at a time.
#[derive(Default)]
pub(super) struct Tiles {
    blocks: Vec<Block>,
    /// Blocks of a row.
    width: usize,
}

impl Tiles {
    /// Rows of at least so many elements, all 0; their number is rounded up to whole tiles.
    #[inline(always)]
    pub(super) fn clear(&mut self, rows: usize, elements: usize) {
        self.width = elements.div_ceil(LANES);
        self.blocks.clear();
        self.blocks.resize(rows.next_multiple_of(TILE) * self.width, [0.0; LANES]);
    }

    /// Takes rows of `elements`.
    #[inline(always)]
    pub(super) fn pack<'a>(&mut self, rows: impl Iterator<Item = &'a [f32]>, [count, elements]: [usize; 2]) {
        self.clear(count, elements);
        for (index, row) in rows.take(count).enumerate() {
            self.row_mut(index).as_flattened_mut()[..row.len()].copy_from_slice(row);
        }
    }

    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> &[Block] {
        &self.blocks[row * self.width..][..self.width]
    }

    #[inline(always)]
    pub(super) fn row_mut(&mut self, row: usize) -> &mut [Block] {
        &mut self.blocks[row * self.width..][..self.width]
    }

    /// The rows of a tile that begins at a row.
    #[inline(always)]
    pub(super) fn tile(&self, first: usize) -> [&[Block]; TILE] {
        from_fn(|r| self.row(first + r))
    }

    #[inline(always)]
    pub(super) fn tile_mut(&mut self, first: usize) -> [&mut [Block]; TILE] {
        let tile = &mut self.blocks[first * self.width..][..TILE * self.width];
        let (a, rest) = tile.split_at_mut(self.width);
        let (b, rest) = rest.split_at_mut(self.width);
        let (c, d) = rest.split_at_mut(self.width);
        [a, b, c, d]
    }
}

/// Some elements of the rows of a tile.
#[inline(always)]
pub(super) fn elements(tile: [&[Block]; TILE], range: Range<usize>) -> [&[f32]; TILE] {
    tile.map(|row| &row.as_flattened()[range.clone()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_definition_says() {
        for (rows, columns) in [(1, 1), (5, 16), (7, 40), (33, 130)] {
            let value = |row: usize, column: usize| (row * 31 + column * 17) as f32 % 11.0 - 5.0;
            let by_row: Vec<Vec<f32>> =
                (0..rows).map(|row| (0..columns).map(|column| value(row, column)).collect()).collect();
            let by_column: Vec<Vec<f32>> =
                (0..columns).map(|column| (0..rows).map(|row| value(row, column)).collect()).collect();
            let (mut matrix, mut same) = (Panels::default(), Panels::default());
            // A row more than there are, of zeros.
            matrix.pack(by_row.iter().map(Vec::as_slice), [rows + 1, columns]);
            same.pack_columns(by_column.iter().map(Vec::as_slice), [rows, columns]);
            let first = rows / 2;
            let x: Vec<Vec<f32>> = (0..3).map(|row| (first..rows).map(|k| value(row, k)).collect()).collect();
            let mut tiles = Tiles::default();
            tiles.pack(x.iter().map(Vec::as_slice), [3, rows - first]);
            let x = elements(tiles.tile(0), 0..rows - first);
            for matrix in [&matrix, &same] {
                let mut out = Tiles::default();
                out.clear(TILE, columns);
                matrix.multiply(x, first, 0..matrix.panels(), out.tile_mut(0));
                for (row, x) in x.iter().enumerate() {
                    for column in 0..columns {
                        let sum: f32 = (first..rows).map(|k| x[k - first] * value(k, column)).sum();
                        assert_eq!(out.row(row)[column / LANES][column % LANES], sum);
                    }
                }
            }
            let mut lines = Tiles::default();
            lines.pack((0..3).map(|row| by_row[row % rows].as_slice()), [3, columns]);
            matrix.add(x, first, lines.tile(0));
            let mut found = vec![0f32; columns];
            for row in 0..rows {
                matrix.copy_row(row, &mut found);
                for (column, found) in found.iter().enumerate() {
                    let outer = (0..3).map(|n| match row >= first {
                        true => x[n][row - first] * value(n % rows, column),
                        false => 0.0,
                    });
                    assert_eq!(*found, value(row, column) + outer.sum::<f32>());
                }
            }
        }
    }
}
