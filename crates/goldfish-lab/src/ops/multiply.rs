use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

/// Rows times a transposed matrix `[outputs, inputs]`, as linear layers are stored; the gradient comes back in that order.
pub(crate) struct Multiply;

impl CustomOp2 for Multiply {
    fn name(&self) -> &'static str {
        "multiply"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((rows, inputs), (outputs, width)) = (xl.shape().dims2()?, wl.shape().dims2()?);
        if inputs != width {
            bail!("rows of {inputs} for a matrix of {width} inputs");
        }
        let product = x.matmul(w, (1, rows, outputs, inputs), xl, &wl.transpose(0, 1)?)?;
        Ok((product, Shape::from((rows, outputs))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(grad.matmul(w)?), Some(grad.t()?.matmul(x)?)))
    }
}
