use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::rows::{Rows, fill_rows, matrix};

/// The sum of two matrices.
pub(crate) struct Add;

impl CustomOp2 for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        al: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (a, b) = (Rows::new(a, al)?, Rows::new(b, bl)?);
        b.has_shape_of(&a)?;
        let values = fill_rows(
            a.count,
            a.width,
            #[inline(always)]
            |row, out| {
                for ((out, a), b) in out.iter_mut().zip(a.row(row)).zip(b.row(row)) {
                    *out = a + b;
                }
            },
        );
        Ok(matrix(values, a.count, a.width))
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(grad.clone()), Some(grad.clone())))
    }
}
