//! Long short-term memory (Hochreiter and Schmidhuber 1997), with the gates in the order of `torch.nn.LSTM`: input, forget,
//! candidate, output.

use std::sync::{Arc, OnceLock};

use candle_core::{Result, Tensor, bail};
use goldfish_backends::local::Linear;
use goldfish_backends::local::math::{sigmoid, tanh, vectorized};

use super::operation::Operation;
use super::rows::{Rows, inputs, like, matrix, with_rows};
use super::sequences::{Sequence, covers};

/// The hidden states `[rows, width]` of sequences. Inputs: rows `[rows, 4 * width]` of what the layer's input gives each gate, the
/// matrix `[4 * width, width]` of the last hidden state, and the two biases `[4 * width]`.
pub(crate) struct Recur {
    sequences: Arc<[Sequence]>,
    saved: OnceLock<Saved>,
}

/// Gates after their functions `[rows, 4 * width]`, and cells `[rows, width]`.
struct Saved {
    gates: Vec<f32>,
    cells: Vec<f32>,
}

impl Recur {
    pub(crate) fn new(sequences: &Arc<[Sequence]>) -> Self {
        Self { sequences: Arc::clone(sequences), saved: OnceLock::new() }
    }

    /// For each time step the rows that are computed in it, those of the same sequences in the same order every time.
    fn steps(&self) -> Vec<Vec<usize>> {
        let mut longest_first: Vec<&Sequence> = self.sequences.iter().collect();
        longest_first.sort_by_key(|sequence| std::cmp::Reverse(sequence.len()));
        let steps = longest_first.first().map_or(0, |sequence| sequence.len());
        let rows = |step: usize| {
            let active = longest_first.iter().take_while(|sequence| sequence.len() > step);
            active.map(|sequence| sequence.start + step).collect()
        };
        (0..steps).map(rows).collect()
    }

    fn run(&self, x: Rows<'_>, weight: &Tensor, biases: [Rows<'_>; 2]) -> Result<(Vec<f32>, Saved)> {
        let width = x.width / 4;
        let weight = Linear::new(&weight.t()?, None)?;
        let mut hidden = vec![0f32; x.count * width];
        let mut saved = Saved { gates: vec![0f32; x.count * x.width], cells: vec![0f32; x.count * width] };
        let (mut last, mut recurrent) = (Vec::new(), Vec::new());
        for (step, rows) in self.steps().iter().enumerate() {
            recurrent.resize(rows.len() * x.width, 0f32);
            if step > 0 {
                last.clear();
                rows.iter().for_each(|row| last.extend_from_slice(&hidden[(row - 1) * width..row * width]));
                weight.multiply_shared(&last, &mut recurrent);
            }
            vectorized(
                #[inline(always)]
                || {
                    for (row, recurrent) in rows.iter().zip(recurrent.chunks_exact(x.width)) {
                        let gates = &mut saved.gates[row * x.width..(row + 1) * x.width];
                        let known = [x.row(*row), recurrent, biases[0].row(0), biases[1].row(0)];
                        activate(known, gates);
                        let (before, cells) = saved.cells.split_at_mut(row * width);
                        let last = (step > 0).then(|| &before[(row - 1) * width..]);
                        let out = &mut hidden[row * width..(row + 1) * width];
                        advance(gates, last, &mut cells[..width], out);
                    }
                },
            );
        }
        Ok((hidden, saved))
    }

    fn check(&self, x: Rows<'_>, weight: &Tensor, biases: [Rows<'_>; 2]) -> Result<()> {
        covers(&self.sequences, x.count)?;
        if weight.dims() != [x.width, x.width / 4] || !x.width.is_multiple_of(4) {
            bail!("rows of {} for a matrix {:?}", x.width, weight.dims());
        }
        biases.iter().try_for_each(|bias| bias.has_shape(1, x.width))
    }

    /// The gradients of what the gates take in, `[rows, 4 * width]`, from the end.
    fn gates_back(&self, saved: &Saved, weight: &Tensor, gradient: Rows<'_>) -> Result<Vec<f32>> {
        let width = gradient.width;
        let weight = Linear::new(weight, None)?;
        let mut of_gates = vec![0f32; gradient.count * 4 * width];
        // Of the hidden state and cell of each sequence; those of longer sequences come first.
        let mut of_hidden: Vec<f32> = Vec::new();
        let mut of_cells: Vec<f32> = Vec::new();
        for (step, rows) in self.steps().iter().enumerate().rev() {
            of_hidden.resize(rows.len() * width, 0.0);
            of_cells.resize(rows.len() * width, 0.0);
            let mut step_gates = vec![0f32; rows.len() * 4 * width];
            vectorized(
                #[inline(always)]
                || {
                    for (number, row) in rows.iter().enumerate() {
                        let own = number * width..(number + 1) * width;
                        for (sum, g) in of_hidden[own.clone()].iter_mut().zip(gradient.row(*row)) {
                            *sum += g;
                        }
                        let gates = &saved.gates[row * 4 * width..(row + 1) * 4 * width];
                        let cells = &saved.cells[row * width..(row + 1) * width];
                        let last = (step > 0).then(|| &saved.cells[(row - 1) * width..row * width]);
                        let out = &mut step_gates[number * 4 * width..(number + 1) * 4 * width];
                        retreat(gates, cells, last, &of_hidden[own.clone()], &mut of_cells[own], out);
                    }
                },
            );
            for (row, values) in rows.iter().zip(step_gates.chunks_exact(4 * width)) {
                of_gates[row * 4 * width..(row + 1) * 4 * width].copy_from_slice(values);
            }
            if step > 0 {
                weight.multiply_shared(&step_gates, &mut of_hidden);
            }
        }
        Ok(of_gates)
    }
}

/// The gates of a row.
#[inline(always)]
fn activate(known: [&[f32]; 4], gates: &mut [f32]) {
    let [x, recurrent, first, second] = known.map(|values| &values[..gates.len()]);
    for (i, gate) in gates.iter_mut().enumerate() {
        *gate = x[i] + first[i] + (recurrent[i] + second[i]);
    }
    let [inputs, forgets, candidates, outputs] = quarters_mut(gates);
    for gates in [inputs, forgets, outputs] {
        gates.iter_mut().for_each(|gate| *gate = sigmoid(*gate));
    }
    candidates.iter_mut().for_each(|gate| *gate = tanh(*gate));
}

/// Cells and hidden states from the gates and the cells before.
#[inline(always)]
fn advance(gates: &[f32], last: Option<&[f32]>, cells: &mut [f32], hidden: &mut [f32]) {
    let [inputs, forgets, candidates, outputs] = quarters(gates, cells.len());
    match last {
        None => cells.fill(0.0),
        Some(last) => {
            cells.iter_mut().zip(last).zip(forgets).for_each(|((cell, last), forget)| *cell = last * forget);
        }
    }
    let hidden = &mut hidden[..cells.len()];
    for (i, cell) in cells.iter_mut().enumerate() {
        *cell = inputs[i].mul_add(candidates[i], *cell);
        hidden[i] = outputs[i] * tanh(*cell);
    }
}

/// The gradients of a row's gates, and from those of its cells to those of the cells before.
#[inline(always)]
fn retreat(
    gates: &[f32],
    cells: &[f32],
    last: Option<&[f32]>,
    of_hidden: &[f32],
    of_cells: &mut [f32],
    of_gates: &mut [f32],
) {
    let width = cells.len();
    let [inputs, forgets, candidates, outputs] = quarters(gates, width);
    let [of_inputs, of_forgets, of_candidates, of_outputs] = quarters_mut(&mut of_gates[..4 * width]);
    let (of_hidden, of_cells) = (&of_hidden[..width], &mut of_cells[..width]);
    // The part of a forget gate's gradient without the cell before, which is 0 at first.
    for i in 0..width {
        let [input, forget, candidate, output] = [inputs[i], forgets[i], candidates[i], outputs[i]];
        let squashed = tanh(cells[i]);
        let of_cell = (of_hidden[i] * output).mul_add(1.0 - squashed * squashed, of_cells[i]);
        of_inputs[i] = of_cell * candidate * input * (1.0 - input);
        of_forgets[i] = of_cell * forget * (1.0 - forget);
        of_candidates[i] = of_cell * input * (1.0 - candidate * candidate);
        of_outputs[i] = of_hidden[i] * squashed * output * (1.0 - output);
        of_cells[i] = of_cell * forget;
    }
    match last {
        None => of_forgets.fill(0.0),
        Some(last) => of_forgets.iter_mut().zip(last).for_each(|(of_forget, last)| *of_forget *= last),
    }
}

/// The four gates of a row, `width` elements each.
#[inline(always)]
fn quarters(gates: &[f32], width: usize) -> [&[f32]; 4] {
    std::array::from_fn(|part| &gates[part * width..(part + 1) * width])
}

#[inline(always)]
fn quarters_mut(gates: &mut [f32]) -> [&mut [f32]; 4] {
    let width = gates.len() / 4;
    let (inputs, rest) = gates.split_at_mut(width);
    let (forgets, rest) = rest.split_at_mut(width);
    let (candidates, outputs) = rest.split_at_mut(width);
    [inputs, forgets, candidates, &mut outputs[..width]]
}

impl Operation for Recur {
    fn forward(&self, all: &[&Tensor]) -> Result<Tensor> {
        let [x, weight, first, second] = inputs(all)?;
        with_rows([x, first, second], |[x, first, second]| {
            self.check(x, weight, [first, second])?;
            let (hidden, saved) = self.run(x, weight, [first, second])?;
            let _ = self.saved.set(saved);
            matrix(hidden, x.count, x.width / 4)
        })
    }

    fn backward(&self, all: &[&Tensor], hidden: &Tensor, gradient: &Tensor) -> Result<Vec<Tensor>> {
        let [x, weight, ..] = inputs::<4>(all)?;
        let Some(saved) = self.saved.get() else { bail!("no hidden states were computed") };
        let of_gates = with_rows([gradient], |[gradient]| self.gates_back(saved, weight, gradient))?;
        let mut of_bias = vec![0f32; x.dim(1)?];
        for row in of_gates.chunks_exact(of_bias.len().max(1)) {
            of_bias.iter_mut().zip(row).for_each(|(sum, gate)| *sum += gate);
        }
        let of_bias = Tensor::new(of_bias, x.device())?;
        let of_gates = like(of_gates, x)?;
        // The hidden state before each row; zeros before a sequence.
        let (rows, width) = hidden.dims2()?;
        let mut before = vec![0f32; rows * width];
        with_rows([hidden], |[hidden]| {
            for sequence in self.sequences.iter() {
                for row in sequence.clone().skip(1) {
                    before[row * width..(row + 1) * width].copy_from_slice(hidden.row(row - 1));
                }
            }
            Ok(())
        })?;
        let of_weight = of_gates.t()?.matmul(&matrix(before, rows, width)?)?;
        Ok(vec![of_gates, of_weight, of_bias.clone(), of_bias])
    }
}
