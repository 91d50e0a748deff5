use std::sync::Arc;

use candle_core::{Result, Tensor, bail};
use goldfish_backends::local::RotarySpeeds;

use super::operation::Operation;
use super::rows::{Rows, fill_rows, inputs, like, with_rows};

/// Cosines and sines of each pair of a head's elements at each position.
#[derive(Debug)]
pub(crate) struct Angles {
    pairs: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Angles {
    /// Of positions from 0 on. An angle is rounded as `transformers` does it: position times speed in single precision.
    pub(crate) fn new(rotation: &RotarySpeeds, positions: usize) -> Self {
        let angles = (0..positions).flat_map(|p| rotation.speeds.iter().map(move |speed| p as f32 * speed));
        let (cos, sin) = angles
            .map(|angle| {
                let (sin, cos) = f64::from(angle).sin_cos();
                (cos as f32 * rotation.factor, sin as f32 * rotation.factor)
            })
            .unzip();
        Self { pairs: rotation.speeds.len(), cos, sin }
    }

    fn at(&self, position: usize) -> (&[f32], &[f32]) {
        let own = position * self.pairs..(position + 1) * self.pairs;
        (&self.cos[own.clone()], &self.sin[own])
    }
}

/// Turns the heads in the first columns of each row by the angles of its position: queries and keys, but not values.
pub(crate) struct Rotate {
    pub(crate) angles: Arc<Angles>,
    pub(crate) positions: Arc<[u32]>,
    pub(crate) head_dim: usize,
    /// Columns that turn.
    pub(crate) columns: usize,
}

impl Rotate {
    /// `way` is 1, or -1 to turn backwards.
    fn turn(&self, input: Rows<'_>, way: f32) -> Result<Vec<f32>> {
        let known = self.angles.cos.len() / self.angles.pairs.max(1);
        if !self.columns.is_multiple_of(self.head_dim)
            || self.columns > input.width
            || self.positions.len() != input.count
            || self.positions.iter().any(|position| *position as usize >= known)
        {
            bail!("{} rows of {} don't fit the positions", input.count, input.width);
        }
        Ok(fill_rows(
            input.count,
            input.width,
            #[inline(always)]
            |row, out| {
                let (cos, sin) = self.angles.at(self.positions[row] as usize);
                let half = cos.len();
                let (turned, kept) = input.row(row).split_at(self.columns);
                let (out, out_kept) = out.split_at_mut(self.columns);
                out_kept.copy_from_slice(kept);
                let heads = turned.chunks_exact(self.head_dim);
                for (head, out) in heads.zip(out.chunks_exact_mut(self.head_dim)) {
                    let (first, rest) = head.split_at(half);
                    let (second, rest) = rest.split_at(half);
                    let (out_first, out_rest) = out.split_at_mut(half);
                    let (out_second, out_rest) = out_rest.split_at_mut(half);
                    for i in 0..half {
                        let sin = way * sin[i];
                        out_first[i] = first[i] * cos[i] - second[i] * sin;
                        out_second[i] = second[i] * cos[i] + first[i] * sin;
                    }
                    out_rest.copy_from_slice(rest);
                }
            },
        ))
    }
}

impl Operation for Rotate {
    fn forward(&self, all: &[&Tensor]) -> Result<Tensor> {
        let [x] = inputs(all)?;
        like(with_rows([x], |[x]| self.turn(x, 1.0))?, x)
    }

    fn backward(&self, all: &[&Tensor], _: &Tensor, gradient: &Tensor) -> Result<Vec<Tensor>> {
        let [x] = inputs(all)?;
        Ok(vec![like(with_rows([gradient], |[gradient]| self.turn(gradient, -1.0))?, x)?])
    }
}
