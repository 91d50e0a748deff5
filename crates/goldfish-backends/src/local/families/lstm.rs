//! LSTM (Hochreiter and Schmidhuber 1997), with the gates and the tensors of `torch.nn.LSTM`.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use crate::local::block::whole_product;
use crate::local::family::ModelName;
use crate::local::math::{sigmoid, tanh, vectorized};
use crate::local::mixer::{Mixer, MixerPlan, Reading};
use crate::local::product::Linear;
use crate::local::recurrent_family::{LAB, RecurrentFamily};

pub(super) static FAMILY: RecurrentFamily =
    RecurrentFamily { name: ModelName::lab("lstm"), mixer: |_, hidden| Ok(Arc::new(Plan(hidden))), ..LAB };

/// With the hidden size.
#[derive(Debug)]
struct Plan(usize);

impl MixerPlan for Plan {
    fn tensors(&self) -> Vec<(&'static str, Vec<usize>)> {
        vec![
            ("lstm.weight_ih_l0", vec![4 * self.0, self.0]),
            ("lstm.weight_hh_l0", vec![4 * self.0, self.0]),
            ("lstm.bias_ih_l0", vec![4 * self.0]),
            ("lstm.bias_hh_l0", vec![4 * self.0]),
        ]
    }

    fn build(&self, tensors: &[Tensor]) -> Result<Box<dyn Mixer>> {
        let gates = |index: usize| Linear::new(&tensors[index].t()?, Some(&tensors[index + 2]));
        Ok(Box::new(Lstm { of_input: gates(0)?, of_hidden: gates(1)?, width: self.0 }))
    }
}

/// Gates: input, forget, cell, output.
#[derive(Debug)]
struct Lstm {
    of_input: Linear,
    of_hidden: Linear,
    width: usize,
}

impl Lstm {
    /// One step of a sequence; the state is the output before it, then the cell.
    fn read(&self, of_input: &[f32], of_hidden: &[f32], state: &mut [f32], out: &mut [f32]) {
        let width = self.width;
        let (hidden, cell) = state.split_at_mut(width);
        vectorized(
            #[inline(always)]
            || {
                for at in 0..width {
                    let gate = |index: usize| of_input[index * width + at] + of_hidden[index * width + at];
                    let kept = sigmoid(gate(1)) * cell[at];
                    cell[at] = sigmoid(gate(0)).mul_add(tanh(gate(2)), kept);
                    hidden[at] = sigmoid(gate(3)) * tanh(cell[at]);
                }
            },
        );
        out.copy_from_slice(hidden);
    }
}

impl Mixer for Lstm {
    fn state_size(&self) -> usize {
        2 * self.width
    }

    fn mix(&self, x: &[f32], sequences: &mut [Reading<'_>]) -> Vec<f32> {
        let width = self.width;
        let of_input = whole_product(&self.of_input, x);
        let mut out = vec![0f32; x.len()];
        let longest = sequences.iter().map(|sequence| sequence.rows.len()).max().unwrap_or(0);
        for step in 0..longest {
            // One product for all sequences that have a token left.
            let mut reading: Vec<_> =
                sequences.iter_mut().filter(|sequence| sequence.rows.len() > step).collect();
            let hidden: Vec<&[f32]> = reading.iter().map(|sequence| &sequence.state[..width]).collect();
            let of_hidden = whole_product(&self.of_hidden, &hidden.concat());
            for (sequence, of_hidden) in reading.iter_mut().zip(of_hidden.chunks_exact(4 * width)) {
                let row = sequence.rows.start + step;
                let of_input = &of_input[row * 4 * width..][..4 * width];
                self.read(of_input, of_hidden, sequence.state, &mut out[row * width..][..width]);
            }
        }
        out
    }
}
