use candle_core::{Result, Tensor};

use super::operation::Operation;
use super::rows::inputs;

/// A vector as the only row of a matrix.
pub(crate) struct AsRow;

impl Operation for AsRow {
    fn forward(&self, all: &[&Tensor]) -> Result<Tensor> {
        let [x] = inputs(all)?;
        x.unsqueeze(0)
    }

    fn backward(&self, _: &[&Tensor], _: &Tensor, gradient: &Tensor) -> Result<Vec<Tensor>> {
        Ok(vec![gradient.squeeze(0)?])
    }
}
