use candle_core::{Result, Tensor};

use super::operation::Operation;
use super::rows::inputs;

/// A matrix `[outputs, inputs]` that gets no gradient, plus the scaled product of `B` `[outputs, rank]` and `A` `[rank, inputs]`
/// ([Hu et al. 2021](https://arxiv.org/abs/2106.09685), section 4.1). The inputs are `A` and `B`.
pub(crate) struct AddLowRank {
    pub(crate) weight: Tensor,
    pub(crate) scale: f64,
}

impl Operation for AddLowRank {
    fn forward(&self, all: &[&Tensor]) -> Result<Tensor> {
        let [a, b] = inputs(all)?;
        &self.weight + (b.matmul(a)? * self.scale)?
    }

    fn backward(&self, all: &[&Tensor], _: &Tensor, gradient: &Tensor) -> Result<Vec<Tensor>> {
        let [a, b] = inputs(all)?;
        let gradient = gradient.contiguous()?;
        Ok(vec![(b.t()?.matmul(&gradient)? * self.scale)?, (gradient.matmul(&a.t()?)? * self.scale)?])
    }
}
