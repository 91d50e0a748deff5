use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use goldfish_backends::local::math::{exp, silu};

use super::rows::{Rows, fill_rows, matrix, with_rows};

/// `silu` of the first half of a row, times the second.
pub(crate) struct Gate;

impl CustomOp1 for Gate {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let input = Rows::new(x, layout)?;
        let width = input.width / 2;
        let values = fill_rows(
            input.count,
            width,
            #[inline(always)]
            |row, out| {
                let (gate, up) = input.row(row).split_at(width);
                for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
                    *out = silu(*gate) * up;
                }
            },
        );
        Ok(matrix(values, input.count, width))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let values = with_rows([x, grad], |[x, grad]| {
            Ok(fill_rows(
                x.count,
                x.width,
                #[inline(always)]
                |row, out| {
                    let grad = grad.row(row);
                    let (gate, up) = x.row(row).split_at(grad.len());
                    let (of_gate, of_up) = out.split_at_mut(grad.len());
                    for i in 0..grad.len() {
                        let logistic = 1.0 / (1.0 + exp(-gate[i]));
                        of_gate[i] = grad[i] * up[i] * logistic * gate[i].mul_add(1.0 - logistic, 1.0);
                        of_up[i] = grad[i] * gate[i] * logistic;
                    }
                },
            ))
        })?;
        Tensor::from_vec(values, x.shape(), x.device()).map(Some)
    }
}
