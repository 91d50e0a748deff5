//! Linear attention ([Katharopoulos et al. 2020](https://arxiv.org/abs/2006.16236)): the features are `elu + 1`.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use crate::local::family::ModelName;
use crate::local::features::{FeatureAttention, Features, Heads};
use crate::local::math::elu_plus_one;
use crate::local::mixer::{Mixer, MixerPlan};
use crate::local::recurrent_family::{LAB, RecurrentFamily};

pub(super) static FAMILY: RecurrentFamily = RecurrentFamily {
    name: ModelName::lab("linear"),
    mixer: |settings, hidden| Ok(Arc::new(Plan(Heads::of(settings, hidden)?))),
    ..LAB
};

#[derive(Debug)]
struct Plan(Heads);

impl MixerPlan for Plan {
    fn tensors(&self) -> Vec<(&'static str, Vec<usize>)> {
        self.0.projections()
    }

    fn build(&self, tensors: &[Tensor]) -> Result<Box<dyn Mixer>> {
        Ok(Box::new(FeatureAttention::new(self.0, tensors, Elu(self.0.dim))?))
    }
}

/// With the size of a head.
#[derive(Debug)]
struct Elu(usize);

impl Features for Elu {
    #[inline(always)]
    fn count(&self) -> usize {
        self.0
    }

    #[inline(always)]
    fn of(&self, _: usize, _: usize, x: &[f32], features: &mut [f32]) {
        for (feature, x) in features.iter_mut().zip(x) {
            *feature = elu_plus_one(*x);
        }
    }
}
