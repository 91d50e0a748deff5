//! Products and norms of rows in blocks, which threads divide among them.

use rayon::prelude::*;

use super::ops::Norm;
use super::product::Linear;

/// Rows of a block: few enough that their hidden states stay in the cache of a core.
pub(super) const BLOCK: usize = 60;

/// Whether there are fewer blocks than threads, so that the threads divide the products of a block.
pub(super) fn few(rows: usize) -> bool {
    rows.div_ceil(BLOCK) < rayon::current_num_threads()
}

/// The product of a block of rows with a layer's weights.
pub(super) fn product(weights: &Linear, x: &[f32], out: &mut [f32], few: bool) {
    if few { weights.multiply_shared(x, out) } else { weights.multiply(x, out) }
}

/// The product of any number of rows with weights, in blocks.
pub(super) fn whole_product(weights: &Linear, x: &[f32]) -> Vec<f32> {
    let (inputs, outputs) = (weights.inputs(), weights.outputs());
    let rows = x.len() / inputs;
    let mut out = vec![0f32; rows * outputs];
    let few = few(rows);
    let blocks = x.par_chunks(BLOCK * inputs).zip(out.par_chunks_mut(BLOCK * outputs));
    blocks.for_each(|(x, out)| product(weights, x, out, few));
    out
}

/// Normalized rows, in `scratch`.
pub(super) fn normalized<'a>(norm: &Norm, x: &[f32], scratch: &'a mut Vec<f32>) -> &'a [f32] {
    scratch.clear();
    scratch.extend_from_slice(x);
    norm.apply(scratch);
    scratch
}
