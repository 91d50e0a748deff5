//! Long short-term memory (Hochreiter and Schmidhuber 1997), with the gates in the order of `torch.nn.LSTM`: input, forget,
//! candidate, output.

use std::sync::{Arc, OnceLock};

use candle_core::{Result, Tensor, bail};
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
        let weight = weight.t()?;
        let mut hidden = vec![0f32; x.count * width];
        let mut saved = Saved { gates: vec![0f32; x.count * x.width], cells: vec![0f32; x.count * width] };
        for (step, rows) in self.steps().iter().enumerate() {
            let recurrent = match step {
                0 => vec![0f32; rows.len() * x.width],
                _ => {
                    let last: Vec<f32> = rows
                        .iter()
                        .flat_map(|row| &hidden[(row - 1) * width..row * width])
                        .copied()
                        .collect();
                    matrix(last, rows.len(), width)?.matmul(&weight)?.flatten_all()?.to_vec1()?
                }
            };
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
                let product = matrix(step_gates, rows.len(), 4 * width)?.matmul(weight)?;
                of_hidden = product.flatten_all()?.to_vec1()?;
            }
        }
        Ok(of_gates)
    }
}

/// The gates of a row.
#[inline(always)]
fn activate([x, recurrent, first, second]: [&[f32]; 4], gates: &mut [f32]) {
    let width = gates.len() / 4;
    for (i, gate) in gates.iter_mut().enumerate() {
        *gate = x[i] + first[i] + (recurrent[i] + second[i]);
    }
    let (sigmoids, rest) = gates.split_at_mut(2 * width);
    let (candidates, outputs) = rest.split_at_mut(width);
    sigmoids.iter_mut().for_each(|gate| *gate = sigmoid(*gate));
    candidates.iter_mut().for_each(|gate| *gate = tanh(*gate));
    outputs.iter_mut().for_each(|gate| *gate = sigmoid(*gate));
}

/// Cells and hidden states from the gates and the cells before.
#[inline(always)]
fn advance(gates: &[f32], last: Option<&[f32]>, cells: &mut [f32], hidden: &mut [f32]) {
    let width = cells.len();
    for i in 0..width {
        let kept = last.map_or(0.0, |last| last[i] * gates[width + i]);
        cells[i] = gates[i].mul_add(gates[2 * width + i], kept);
        hidden[i] = gates[3 * width + i] * tanh(cells[i]);
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
    for i in 0..width {
        let [input, forget, candidate, output] =
            [gates[i], gates[width + i], gates[2 * width + i], gates[3 * width + i]];
        let squashed = tanh(cells[i]);
        let of_cell = (of_hidden[i] * output).mul_add(1.0 - squashed * squashed, of_cells[i]);
        let before = last.map_or(0.0, |last| last[i]);
        of_gates[i] = of_cell * candidate * input * (1.0 - input);
        of_gates[width + i] = of_cell * before * forget * (1.0 - forget);
        of_gates[2 * width + i] = of_cell * input * (1.0 - candidate * candidate);
        of_gates[3 * width + i] = of_hidden[i] * squashed * output * (1.0 - output);
        of_cells[i] = of_cell * forget;
    }
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
        let of_bias = of_gates.sum(0)?;
        Ok(vec![of_gates, of_weight, of_bias.clone(), of_bias])
    }
}
