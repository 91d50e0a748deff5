use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::rows::{Rows, fill_rows, matrix, with_rows};

/// Some rows of a matrix; a row can be taken several times.
pub(crate) struct Select(pub(crate) std::sync::Arc<[u32]>);

impl CustomOp1 for Select {
    fn name(&self) -> &'static str {
        "select"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = Rows::new(x, layout)?;
        if let Some(row) = self.0.iter().find(|row| **row as usize >= x.count) {
            bail!("row {row} of {}", x.count);
        }
        let values = fill_rows(
            self.0.len(),
            x.width,
            #[inline(always)]
            |row, out| out.copy_from_slice(x.row(self.0[row] as usize)),
        );
        Ok(matrix(values, self.0.len(), x.width))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let width = x.dim(1)?;
        let mut values = vec![0f32; x.elem_count()];
        with_rows([grad], |[grad]| {
            for (index, row) in self.0.iter().enumerate() {
                let out = &mut values[*row as usize * width..][..width];
                out.iter_mut().zip(grad.row(index)).for_each(|(out, grad)| *out += grad);
            }
            Ok(())
        })?;
        Tensor::from_vec(values, x.shape(), x.device()).map(Some)
    }
}
