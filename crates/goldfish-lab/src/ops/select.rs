use std::sync::Arc;

use candle_core::{Result, Tensor, bail};

use super::operation::Operation;
use super::rows::{fill_rows, inputs, like, matrix, with_rows};

/// Some rows of a matrix; a row can be taken several times.
pub(crate) struct Select(pub(crate) Arc<[u32]>);

impl Operation for Select {
    fn forward(&self, all: &[&Tensor]) -> Result<Tensor> {
        let [x] = inputs(all)?;
        with_rows([x], |[x]| {
            if let Some(row) = self.0.iter().find(|row| **row as usize >= x.count) {
                bail!("row {row} of {}", x.count);
            }
            let values = fill_rows(
                self.0.len(),
                x.width,
                #[inline(always)]
                |row, out| out.copy_from_slice(x.row(self.0[row] as usize)),
            );
            matrix(values, self.0.len(), x.width)
        })
    }

    fn backward(&self, all: &[&Tensor], _: &Tensor, gradient: &Tensor) -> Result<Vec<Tensor>> {
        let [x] = inputs(all)?;
        let width = x.dim(1)?;
        let mut values = vec![0f32; x.elem_count()];
        with_rows([gradient], |[gradient]| {
            for (index, row) in self.0.iter().enumerate() {
                let out = &mut values[*row as usize * width..][..width];
                out.iter_mut().zip(gradient.row(index)).for_each(|(out, gradient)| *out += gradient);
            }
            Ok(())
        })?;
        Ok(vec![like(values, x)?])
    }
}
