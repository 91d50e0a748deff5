use candle_core::{Result, Tensor, bail};

use super::operation::Operation;
use super::rows::inputs;

/// Rows times a transposed matrix `[outputs, inputs]`, as linear layers are stored; the gradient comes back in that order.
pub(crate) struct Multiply;

impl Operation for Multiply {
    fn forward(&self, all: &[&Tensor]) -> Result<Tensor> {
        let [x, weight] = inputs(all)?;
        x.matmul(&weight.t()?)
    }

    fn backward(&self, all: &[&Tensor], _: &Tensor, gradient: &Tensor) -> Result<Vec<Tensor>> {
        let [x, weight] = inputs(all)?;
        Ok(vec![gradient.matmul(weight)?, gradient.t()?.matmul(x)?])
    }
}

/// Rows times a transposed matrix that gets no gradient.
pub(crate) struct MultiplyBy(pub(crate) Tensor);

impl Operation for MultiplyBy {
    fn forward(&self, all: &[&Tensor]) -> Result<Tensor> {
        let [x] = inputs(all)?;
        x.matmul(&self.0.t()?)
    }

    fn backward(&self, _: &[&Tensor], _: &Tensor, gradient: &Tensor) -> Result<Vec<Tensor>> {
        Ok(vec![gradient.matmul(&self.0)?])
    }
}

/// Matrices with the same number of columns, one below the other: linear layers with one input.
pub(crate) struct Join;

impl Operation for Join {
    fn forward(&self, all: &[&Tensor]) -> Result<Tensor> {
        Tensor::cat(all, 0)
    }

    fn backward(&self, all: &[&Tensor], output: &Tensor, gradient: &Tensor) -> Result<Vec<Tensor>> {
        let mut start = 0;
        let mut parts = Vec::with_capacity(all.len());
        for input in all {
            let rows = input.dim(0)?;
            parts.push(gradient.narrow(0, start, rows)?);
            start += rows;
        }
        if start != output.dim(0)? {
            bail!("{start} rows in {:?}", output.dims());
        }
        Ok(parts)
    }
}
