//! What mixes the tokens of a sequence in a recurrent network.

use std::fmt::Debug;
use std::ops::Range;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

/// The mixer of each layer of a network, without weights.
pub(super) trait MixerPlan: Debug + Send + Sync {
    /// Names, within a layer, and shapes of its tensors.
    fn tensors(&self) -> Vec<(&'static str, Vec<usize>)>;

    /// The mixer with these tensors, in the order of their names.
    fn build(&self, tensors: &[Tensor]) -> Result<Box<dyn Mixer>>;
}

/// The mixer of a layer.
///
/// What it computes for a token depends on this sequence alone, and not on how many of its tokens are computed together.
pub(super) trait Mixer: Debug + Send + Sync {
    /// Numbers in the state of a sequence.
    fn state_size(&self) -> usize;

    /// Makes the state before the first token of zeros.
    fn begin(&self, _state: &mut [f32]) {}

    /// What tokens see, `[rows, hidden_size]`, of normalized hidden states `x` of the same shape: consecutive tokens of
    /// one sequence after the other.
    fn mix(&self, x: &[f32], sequences: &mut [Reading<'_>]) -> Vec<f32>;
}

/// A sequence that reads tokens.
pub(super) struct Reading<'a> {
    /// The rows of its next tokens.
    pub(super) rows: Range<usize>,
    /// The state of one layer.
    pub(super) state: &'a mut [f32],
}

/// Calls `read` with each sequence and its rows of `out`, `width` numbers each, in parallel, and with what `scratch` makes for a thread.
pub(super) fn each_sequence<S>(
    sequences: &mut [Reading<'_>],
    out: &mut [f32],
    width: usize,
    scratch: impl Fn() -> S + Sync + Send,
    read: impl Fn(&mut S, &mut Reading<'_>, &mut [f32]) + Sync + Send,
) {
    let mut remaining = out;
    let mut tasks = Vec::with_capacity(sequences.len());
    for sequence in sequences {
        let (own, rest) = remaining.split_at_mut(sequence.rows.len() * width);
        tasks.push((sequence, own));
        remaining = rest;
    }
    tasks.into_par_iter().for_each_init(scratch, |scratch, (sequence, out)| read(scratch, sequence, out));
}
