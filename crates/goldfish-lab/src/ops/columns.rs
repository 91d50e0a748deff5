use std::ops::Range;

use candle_core::{Result, Tensor, bail};

use super::operation::Operation;
use super::rows::{inputs, like, with_rows};

/// Some columns of a matrix.
pub(crate) struct Columns(pub(crate) Range<usize>);

impl Operation for Columns {
    fn forward(&self, all: &[&Tensor]) -> Result<Tensor> {
        let [x] = inputs(all)?;
        x.narrow(1, self.0.start, self.0.len())
    }

    fn backward(&self, all: &[&Tensor], _: &Tensor, gradient: &Tensor) -> Result<Vec<Tensor>> {
        let [x] = inputs(all)?;
        let mut values = vec![0f32; x.elem_count()];
        with_rows([x, gradient], |[x, gradient]| {
            gradient.has_shape(x.count, self.0.len())?;
            let Some(rows) = (x.width > 0).then(|| values.chunks_exact_mut(x.width)) else {
                bail!("a matrix without columns");
            };
            for (row, out) in rows.enumerate() {
                out[self.0.clone()].copy_from_slice(gradient.row(row));
            }
            Ok(())
        })?;
        Ok(vec![like(values, x)?])
    }
}
