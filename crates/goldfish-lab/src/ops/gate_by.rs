use candle_core::{Result, Tensor};
use goldfish_backends::local::math::silu;

use super::gate::silu_back;
use super::operation::Operation;
use super::rows::{fill_rows, inputs, like, with_rows};

/// Rows times `silu` of other rows.
pub(crate) struct GateBy;

impl Operation for GateBy {
    fn forward(&self, all: &[&Tensor]) -> Result<Tensor> {
        let [x, gate] = inputs(all)?;
        let values = with_rows([x, gate], |[x, gate]| {
            gate.has_shape_of(&x)?;
            Ok(fill_rows(
                x.count,
                x.width,
                #[inline(always)]
                |row, out| {
                    for ((out, x), gate) in out.iter_mut().zip(x.row(row)).zip(gate.row(row)) {
                        *out = x * silu(*gate);
                    }
                },
            ))
        })?;
        like(values, x)
    }

    fn backward(&self, all: &[&Tensor], _: &Tensor, gradient: &Tensor) -> Result<Vec<Tensor>> {
        let [x, gate] = inputs(all)?;
        let gradients = with_rows([x, gate, gradient], |[x, gate, gradient]| {
            let of_x = fill_rows(
                x.count,
                x.width,
                #[inline(always)]
                |row, out| {
                    for ((out, g), gate) in out.iter_mut().zip(gradient.row(row)).zip(gate.row(row)) {
                        *out = g * silu(*gate);
                    }
                },
            );
            let of_gate = fill_rows(
                x.count,
                x.width,
                #[inline(always)]
                |row, out| {
                    let (x, gate, g) = (x.row(row), gate.row(row), gradient.row(row));
                    for (i, out) in out.iter_mut().enumerate() {
                        *out = silu_back(g[i] * x[i], gate[i]);
                    }
                },
            );
            Ok([of_x, of_gate])
        })?;
        let [of_x, of_gate] = gradients;
        Ok(vec![like(of_x, x)?, like(of_gate, gate)?])
    }
}
