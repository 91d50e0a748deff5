//! Hedgehog ([Zhang et al. 2024](https://arxiv.org/abs/2402.04347)): linear attention whose features are learned, `softmax(W x)` and `softmax(-W x)`.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use crate::local::family::ModelName;
use crate::local::features::{FeatureAttention, Features, Heads};
use crate::local::math::{mix, softmax};
use crate::local::mixer::{Mixer, MixerPlan};
use crate::local::precision::elements;
use crate::local::recurrent_family::{LAB, RecurrentFamily};

pub(super) static FAMILY: RecurrentFamily = RecurrentFamily {
    name: ModelName::lab("hedgehog"),
    mixer: |settings, hidden| Ok(Arc::new(Plan(Heads::of(settings, hidden)?))),
    ..LAB
};

#[derive(Debug)]
struct Plan(Heads);

impl MixerPlan for Plan {
    fn tensors(&self) -> Vec<(&'static str, Vec<usize>)> {
        let Heads { count, dim } = self.0;
        let mut tensors = self.0.projections();
        tensors.push(("self_attn.q_features.weight", vec![count, dim, dim]));
        tensors.push(("self_attn.k_features.weight", vec![count, dim, dim]));
        tensors
    }

    fn build(&self, tensors: &[Tensor]) -> Result<Box<dyn Mixer>> {
        let turned = |weights: &Tensor| elements(&weights.transpose(1, 2)?);
        let features = Softmax { dim: self.0.dim, weights: [turned(&tensors[4])?, turned(&tensors[5])?] };
        Ok(Box::new(FeatureAttention::new(self.0, tensors, features)?))
    }
}

#[derive(Debug)]
struct Softmax {
    dim: usize,
    /// Of queries and keys, `[heads, inputs, outputs]`.
    weights: [Vec<f32>; 2],
}

impl Features for Softmax {
    #[inline(always)]
    fn count(&self) -> usize {
        2 * self.dim
    }

    #[inline(always)]
    fn of(&self, which: usize, head: usize, x: &[f32], features: &mut [f32]) {
        let size = self.dim * self.dim;
        let (positive, negative) = features.split_at_mut(self.dim);
        positive.fill(0.0);
        mix(x, &self.weights[which][head * size..][..size], positive);
        negative.iter_mut().zip(positive.iter()).for_each(|(negative, y)| *negative = -y);
        softmax(positive);
        softmax(negative);
    }
}
