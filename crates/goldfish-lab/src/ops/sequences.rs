//! Work on sequences of consecutive rows, divided by heads.

use std::ops::Range;

use candle_core::{Result, bail};
use goldfish_backends::local::math::vectorized;
use rayon::prelude::*;

use super::rows::Rows;

/// The rows of a sequence.
pub(crate) type Sequence = Range<usize>;

/// One sequence and one head, or another part of the columns.
pub(super) type Task = (Sequence, usize);

/// Calls `work` for each sequence and head, with what a thread keeps from task to task.
pub(super) fn tasks<S: Default, R: Send>(
    sequences: &[Sequence],
    heads: usize,
    work: impl Fn(&Task, &mut S) -> R + Sync,
) -> Vec<(Task, R)> {
    let tasks: Vec<Task> =
        sequences.iter().flat_map(|sequence| (0..heads).map(move |head| (sequence.clone(), head))).collect();
    let done = tasks.into_par_iter().map_init(S::default, |scratch, task| {
        let result = vectorized(
            #[inline(always)]
            || work(&task, scratch),
        );
        (task, result)
    });
    done.collect()
}

/// Checks that every row is in exactly one of consecutive sequences.
pub(super) fn covers(sequences: &[Sequence], rows: usize) -> Result<()> {
    let ends = sequences.iter().try_fold(0, |end, next| (next.start == end).then_some(next.end));
    if ends != Some(rows) {
        bail!("the sequences don't cover {rows} rows");
    }
    Ok(())
}

/// Some columns of a sequence's rows.
#[inline(always)]
pub(super) fn parts<'a>(
    rows: Rows<'a>,
    sequence: &Sequence,
    columns: &Range<usize>,
) -> impl Iterator<Item = &'a [f32]> {
    sequence.clone().map(move |row| &rows.row(row)[columns.clone()])
}

/// Puts some columns of a sequence's rows into a matrix of `width` columns.
pub(super) fn scatter(
    sequence: &Sequence,
    values: &[f32],
    columns: Range<usize>,
    width: usize,
    out: &mut [f32],
) {
    for (row, values) in sequence.clone().zip(values.chunks_exact(columns.len())) {
        out[row * width..][columns.clone()].copy_from_slice(values);
    }
}
