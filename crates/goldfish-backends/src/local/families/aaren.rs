//! Aaren ([Feng et al. 2024](https://arxiv.org/abs/2405.13956)): attention with one learned query a layer, as a recurrence.
//!
//! With scores `s`: `L = logaddexp(L, s)`, `w = exp(s - L)`, `o += w (v - o)`, from `L = -inf` on.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use crate::local::block::whole_product;
use crate::local::family::ModelName;
use crate::local::features::Heads;
use crate::local::math::{inner, vectorized};
use crate::local::mixer::{Mixer, MixerPlan, Reading, each_sequence};
use crate::local::precision::{elements, joined};
use crate::local::product::Linear;
use crate::local::recurrent_family::{LAB, RecurrentFamily};

pub(super) static FAMILY: RecurrentFamily = RecurrentFamily {
    name: ModelName::lab("aaren"),
    mixer: |settings, hidden| Ok(Arc::new(Plan(Heads::of(settings, hidden)?))),
    ..LAB
};

#[derive(Debug)]
struct Plan(Heads);

impl MixerPlan for Plan {
    fn tensors(&self) -> Vec<(&'static str, Vec<usize>)> {
        let mut tensors = self.0.projections();
        tensors.push(("self_attn.query", vec![self.0.width()]));
        tensors
    }

    fn build(&self, tensors: &[Tensor]) -> Result<Box<dyn Mixer>> {
        let mut queries = vec![0f32; self.0.width()];
        Linear::new(&tensors[0].t()?, None)?.multiply(&elements(&tensors[4])?, &mut queries);
        let scale = (self.0.dim as f32).powf(-0.5);
        queries.iter_mut().for_each(|query| *query *= scale);
        let key_value = Linear::new(&joined(&tensors[1..3])?.t()?, None)?;
        Ok(Box::new(Aaren { heads: self.0, queries, key_value, out: Linear::new(&tensors[3].t()?, None)? }))
    }
}

#[derive(Debug)]
struct Aaren {
    heads: Heads,
    /// Of all heads, scaled.
    queries: Vec<f32>,
    key_value: Linear,
    out: Linear,
}

impl Aaren {
    /// Reads the keys and values of one token. The state is what is seen, then the logarithm of the weights' sum of each head.
    #[inline(always)]
    fn read(&self, row: &[f32], state: &mut [f32]) {
        let (seen, totals) = state.split_at_mut(self.heads.width());
        let (keys, values) = row.split_at(self.heads.width());
        let heads = self.queries.chunks_exact(self.heads.dim).zip(keys.chunks_exact(self.heads.dim));
        let seen = seen.chunks_exact_mut(self.heads.dim).zip(values.chunks_exact(self.heads.dim));
        for (((query, key), (seen, values)), total) in heads.zip(seen).zip(totals) {
            let score = inner(query, key);
            *total = total.max(score) + (-(*total - score).abs()).exp().ln_1p();
            let weight = (score - *total).exp();
            for (seen, value) in seen.iter_mut().zip(values) {
                *seen = weight.mul_add(value - *seen, *seen);
            }
        }
    }
}

impl Mixer for Aaren {
    fn state_size(&self) -> usize {
        self.heads.width() + self.heads.count
    }

    fn begin(&self, state: &mut [f32]) {
        state[self.heads.width()..].fill(f32::NEG_INFINITY);
    }

    fn mix(&self, x: &[f32], sequences: &mut [Reading<'_>]) -> Vec<f32> {
        let width = self.heads.width();
        let joined = whole_product(&self.key_value, x);
        let mut seen = vec![0f32; joined.len() / 2];
        each_sequence(
            sequences,
            &mut seen,
            width,
            || (),
            |(), sequence, out| {
                let rows = joined[2 * width * sequence.rows.start..].chunks_exact(2 * width);
                vectorized(
                    #[inline(always)]
                    || {
                        for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
                            self.read(row, sequence.state);
                            out.copy_from_slice(&sequence.state[..width]);
                        }
                    },
                );
            },
        );
        whole_product(&self.out, &seen)
    }
}
