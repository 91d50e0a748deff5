use candle_core::{Result, Tensor};
use goldfish_backends::local::math::{sigmoid, silu};

use super::operation::Operation;
use super::rows::{fill_rows, inputs, like, matrix, with_rows};

/// From the gradient of `silu(x)` to that of `x`.
#[inline(always)]
pub(super) fn silu_back(gradient: f32, x: f32) -> f32 {
    let logistic = sigmoid(x);
    gradient * logistic * x.mul_add(1.0 - logistic, 1.0)
}

/// `silu` of the first half of a row, times the second.
pub(crate) struct Gate;

impl Operation for Gate {
    fn forward(&self, all: &[&Tensor]) -> Result<Tensor> {
        let [x] = inputs(all)?;
        with_rows([x], |[input]| {
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
            matrix(values, input.count, width)
        })
    }

    fn backward(&self, all: &[&Tensor], _: &Tensor, gradient: &Tensor) -> Result<Vec<Tensor>> {
        let [x] = inputs(all)?;
        let values = with_rows([x, gradient], |[x, gradient]| {
            Ok(fill_rows(
                x.count,
                x.width,
                #[inline(always)]
                |row, out| {
                    let gradient = gradient.row(row);
                    let (gate, up) = x.row(row).split_at(gradient.len());
                    let (of_gate, of_up) = out.split_at_mut(gradient.len());
                    for i in 0..gradient.len() {
                        of_gate[i] = silu_back(gradient[i] * up[i], gate[i]);
                        of_up[i] = gradient[i] * gate[i] * sigmoid(gate[i]);
                    }
                },
            ))
        })?;
        Ok(vec![like(values, x)?])
    }
}
