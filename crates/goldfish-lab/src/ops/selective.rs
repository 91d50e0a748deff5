//! The parts of Mamba ([Gu and Dao 2023](https://arxiv.org/abs/2312.00752), sections 3.2 to 3.4): a causal convolution and a state
//! space whose step and directions depend on the token.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Result, Tensor};
use goldfish_backends::local::math::{exp, inner, sigmoid, silu, softplus};

use super::gate::silu_back;
use super::operation::Operation;
use super::rows::{Rows, inputs, like, matrix, with_rows};
use super::sequences::{Sequence, Task, covers, scatter, tasks};

/// Channels of one task.
const CHANNELS: usize = 16;

/// The channels of a task, of so many.
fn channels(number: usize, all: usize) -> Range<usize> {
    number * CHANNELS..((number + 1) * CHANNELS).min(all)
}

/// `silu` of the sum of the last tokens' values in the same channel, each times a weight, and a bias. Inputs: rows
/// `[rows, channels]`, weights `[channels, 1, width]` of which the last is the token's own, biases `[channels]`.
pub(crate) struct Convolve {
    pub(crate) sequences: Arc<[Sequence]>,
}

impl Convolve {
    fn check(&self, x: Rows<'_>, weight: Rows<'_>, bias: Rows<'_>) -> Result<()> {
        covers(&self.sequences, x.count)?;
        weight.has_shape(x.width, weight.width)?;
        bias.has_shape(1, x.width)
    }

    /// The sum of a row's channel.
    #[inline(always)]
    fn sum(x: Rows<'_>, [first, row]: [usize; 2], channel: usize, weight: &[f32], bias: f32) -> f32 {
        let mut sum = bias;
        for (back, weight) in weight.iter().rev().enumerate().take(row - first + 1) {
            sum = weight.mul_add(x.row(row - back)[channel], sum);
        }
        sum
    }
}

impl Operation for Convolve {
    fn forward(&self, all: &[&Tensor]) -> Result<Tensor> {
        let [x, weight, bias] = inputs(all)?;
        with_rows([x, weight, bias], |[x, weight, bias]| {
            self.check(x, weight, bias)?;
            let done = tasks(
                &self.sequences,
                x.width.div_ceil(CHANNELS),
                #[inline(always)]
                |(sequence, number), (): &mut ()| {
                    let own = channels(*number, x.width);
                    let mut out = Vec::with_capacity(sequence.len() * own.len());
                    for row in sequence.clone() {
                        for channel in own.clone() {
                            let place = [sequence.start, row];
                            let bias = bias.row(0)[channel];
                            out.push(silu(Self::sum(x, place, channel, weight.row(channel), bias)));
                        }
                    }
                    out
                },
            );
            let mut out = vec![0f32; x.count * x.width];
            for ((sequence, number), values) in &done {
                scatter(sequence, values, channels(*number, x.width), x.width, &mut out);
            }
            matrix(out, x.count, x.width)
        })
    }

    fn backward(&self, all: &[&Tensor], _: &Tensor, gradient: &Tensor) -> Result<Vec<Tensor>> {
        let [x, weight, bias] = inputs(all)?;
        let mut of_x = vec![0f32; x.elem_count()];
        let mut of_weight = vec![0f32; weight.elem_count()];
        let mut of_bias = vec![0f32; bias.elem_count()];
        with_rows([x, weight, bias, gradient], |[x, weight, bias, gradient]| {
            self.check(x, weight, bias)?;
            gradient.has_shape_of(&x)?;
            let taps = weight.width;
            let done = tasks(
                &self.sequences,
                x.width.div_ceil(CHANNELS),
                #[inline(always)]
                |(sequence, number), (): &mut ()| {
                    let own = channels(*number, x.width);
                    let count = own.len();
                    let mut of_x = vec![0f32; sequence.len() * count];
                    let mut of_weight = vec![0f32; count * taps];
                    let mut of_bias = vec![0f32; count];
                    for (at, row) in sequence.clone().enumerate() {
                        for (lane, channel) in own.clone().enumerate() {
                            let weights = weight.row(channel);
                            let place = [sequence.start, row];
                            let sum = Self::sum(x, place, channel, weights, bias.row(0)[channel]);
                            let of_sum = silu_back(gradient.row(row)[channel], sum);
                            of_bias[lane] += of_sum;
                            for (back, weight) in weights.iter().rev().enumerate().take(at + 1) {
                                of_x[(at - back) * count + lane] += of_sum * weight;
                                of_weight[lane * taps + taps - 1 - back] +=
                                    of_sum * x.row(row - back)[channel];
                            }
                        }
                    }
                    (of_x, of_weight, of_bias)
                },
            );
            for ((sequence, number), (own_x, own_weight, own_bias)) in &done {
                let own = channels(*number, x.width);
                scatter(sequence, own_x, own.clone(), x.width, &mut of_x);
                add(&mut of_weight[own.start * taps..own.end * taps], own_weight);
                add(&mut of_bias[own], own_bias);
            }
            Ok(())
        })?;
        Ok(vec![like(of_x, x)?, like(of_weight, weight)?, like(of_bias, bias)?])
    }
}

fn add(sums: &mut [f32], parts: &[f32]) {
    sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
}

/// The selective scan: per channel `h_t = exp(step A) h_{t-1} + step B_t u_t` and `y_t = C_t . h_t + D u_t`, with `A = -exp(A_log)`
/// and `step = softplus(time + bias)`. Inputs: `u` and `time` `[rows, channels]`, `bc` `[rows, 2 * states]` (`B`, then `C`), the bias of
/// the time steps `[channels]`, `A_log` `[channels, states]` and `D` `[channels]`.
pub(crate) struct ScanSelective {
    pub(crate) sequences: Arc<[Sequence]>,
}

/// The inputs by their names.
#[derive(Clone, Copy)]
struct Parts<'a> {
    u: Rows<'a>,
    time: Rows<'a>,
    bc: Rows<'a>,
    bias: &'a [f32],
    a_log: Rows<'a>,
    d: &'a [f32],
}

/// Gradients of a task: `[rows, channels]` twice, `[rows, 2 * states]`, `[channels]`, `[channels, states]` and `[channels]`.
struct Gradients {
    u: Vec<f32>,
    time: Vec<f32>,
    bc: Vec<f32>,
    bias: Vec<f32>,
    a_log: Vec<f32>,
    d: Vec<f32>,
}

/// What a thread keeps: the states of one channel after each row, and the factors of the states before.
#[derive(Default)]
struct Scratch {
    states: Vec<f32>,
    decays: Vec<f32>,
    rates: Vec<f32>,
    state: Vec<f32>,
    slopes: Vec<f32>,
}

impl<'a> Parts<'a> {
    fn new([u, time, bc, bias, a_log, d]: [Rows<'a>; 6], sequences: &[Sequence]) -> Result<Self> {
        covers(sequences, u.count)?;
        time.has_shape_of(&u)?;
        a_log.has_shape(u.width, a_log.width)?;
        bc.has_shape(u.count, 2 * a_log.width)?;
        bias.has_shape(1, u.width)?;
        d.has_shape(1, u.width)?;
        Ok(Self { u, time, bc, bias: bias.row(0), a_log, d: d.row(0) })
    }

    fn states(&self) -> usize {
        self.a_log.width
    }

    /// The rates `A` of a channel.
    #[inline(always)]
    fn rates(&self, channel: usize, rates: &mut Vec<f32>) {
        rates.clear();
        rates.extend(self.a_log.row(channel).iter().map(|log| -exp(*log)));
    }

    /// Advances the state of a channel by a row, and returns its step; `decays` receives the factors of the state before.
    #[inline(always)]
    fn advance(
        &self,
        row: usize,
        channel: usize,
        rates: &[f32],
        state: &mut [f32],
        decays: &mut [f32],
    ) -> f32 {
        let step = softplus(self.time.row(row)[channel] + self.bias[channel]);
        let own = step * self.u.row(row)[channel];
        let count = rates.len();
        let (state, decays, b) = (&mut state[..count], &mut decays[..count], &self.bc.row(row)[..count]);
        for n in 0..count {
            decays[n] = exp(step * rates[n]);
            state[n] = decays[n].mul_add(state[n], own * b[n]);
        }
        step
    }

    #[inline(always)]
    fn outputs(&self, (sequence, number): &Task, scratch: &mut Scratch) -> Vec<f32> {
        let (own, states) = (channels(*number, self.u.width), self.states());
        let mut out = vec![0f32; sequence.len() * own.len()];
        let Scratch { rates, state, decays, .. } = scratch;
        decays.resize(states, 0.0);
        for (lane, channel) in own.clone().enumerate() {
            self.rates(channel, rates);
            state.clear();
            state.resize(states, 0.0);
            for (at, row) in sequence.clone().enumerate() {
                self.advance(row, channel, rates, state, &mut decays[..states]);
                let c = &self.bc.row(row)[states..];
                let seen = inner(c, state);
                out[at * own.len() + lane] = self.d[channel].mul_add(self.u.row(row)[channel], seen);
            }
        }
        out
    }

    #[inline(always)]
    fn gradients(&self, gradient: Rows<'_>, (sequence, number): &Task, scratch: &mut Scratch) -> Gradients {
        let (own, states, length) = (channels(*number, self.u.width), self.states(), sequence.len());
        let zeros = |count: usize| vec![0f32; count];
        let mut found = Gradients {
            u: zeros(length * own.len()),
            time: zeros(length * own.len()),
            bc: zeros(length * 2 * states),
            bias: zeros(own.len()),
            a_log: zeros(own.len() * states),
            d: zeros(own.len()),
        };
        for lane in 0..own.len() {
            self.channel_back(gradient, sequence, [own.start + lane, lane, own.len()], scratch, &mut found);
        }
        found
    }

    /// The gradients of one channel: its states again, then from the end.
    #[inline(always)]
    fn channel_back(
        &self,
        gradient: Rows<'_>,
        sequence: &Sequence,
        [channel, lane, lanes]: [usize; 3],
        scratch: &mut Scratch,
        found: &mut Gradients,
    ) {
        let (states, length) = (self.states(), sequence.len());
        let Scratch { states: all, decays, rates, state, slopes } = scratch;
        self.rates(channel, rates);
        state.clear();
        state.resize(states, 0.0);
        // The state before each row.
        all.resize(length * states, 0.0);
        decays.resize((length * states).max(states), 0.0);
        let mut steps = Vec::with_capacity(length);
        for (at, row) in sequence.clone().enumerate() {
            all[at * states..(at + 1) * states].copy_from_slice(state);
            let decays = &mut decays[at * states..(at + 1) * states];
            steps.push(self.advance(row, channel, rates, state, decays));
        }
        // `state` now holds the state after the last row, `slopes` the gradient of the state after each.
        slopes.clear();
        slopes.resize(states, 0.0);
        let of_rates = &mut found.a_log[lane * states..(lane + 1) * states];
        for (at, row) in sequence.clone().enumerate().rev() {
            let (g, u, step) = (gradient.row(row)[channel], self.u.row(row)[channel], steps[at]);
            let (b, c) = self.bc.row(row).split_at(states);
            let (of_b, of_c) = found.bc[at * 2 * states..(at + 1) * 2 * states].split_at_mut(states);
            let before = &all[at * states..(at + 1) * states];
            let decays = &decays[at * states..(at + 1) * states];
            let (mut of_step, mut along) = ([0f32; 16], [0f32; 16]);
            let (c, rates, state) = (&c[..states], &rates[..states], &mut state[..states]);
            let (of_c, of_rates, slopes) =
                (&mut of_c[..states], &mut of_rates[..states], &mut slopes[..states]);
            for n in 0..states {
                slopes[n] = g.mul_add(c[n], slopes[n]);
                of_c[n] = g.mul_add(state[n], of_c[n]);
                of_b[n] = slopes[n].mul_add(step * u, of_b[n]);
                let of_decay = slopes[n] * before[n] * decays[n];
                of_rates[n] = of_decay.mul_add(step, of_rates[n]);
                of_step[n % 16] = of_decay.mul_add(rates[n], of_step[n % 16]);
                along[n % 16] = slopes[n].mul_add(b[n], along[n % 16]);
                slopes[n] *= decays[n];
            }
            let along: f32 = along.iter().sum();
            let of_step = along.mul_add(u, of_step.iter().sum::<f32>());
            let time = self.time.row(row)[channel] + self.bias[channel];
            let of_time = of_step * sigmoid(time);
            found.u[at * lanes + lane] = step.mul_add(along, self.d[channel] * g);
            found.time[at * lanes + lane] = of_time;
            found.bias[lane] += of_time;
            found.d[lane] = g.mul_add(u, found.d[lane]);
            state.copy_from_slice(before);
        }
        // A = -exp(A_log) is its own slope.
        of_rates.iter_mut().zip(&*rates).for_each(|(of_rate, rate)| *of_rate *= rate);
    }
}

impl Operation for ScanSelective {
    fn forward(&self, all: &[&Tensor]) -> Result<Tensor> {
        let all: [&Tensor; 6] = inputs(all)?;
        with_rows(all, |rows| {
            let parts = Parts::new(rows, &self.sequences)?;
            let width = parts.u.width;
            let done = tasks(
                &self.sequences,
                width.div_ceil(CHANNELS),
                #[inline(always)]
                |task, scratch| parts.outputs(task, scratch),
            );
            let mut out = vec![0f32; parts.u.count * width];
            for ((sequence, number), values) in &done {
                scatter(sequence, values, channels(*number, width), width, &mut out);
            }
            matrix(out, parts.u.count, width)
        })
    }

    fn backward(&self, all: &[&Tensor], _: &Tensor, gradient: &Tensor) -> Result<Vec<Tensor>> {
        let all: [&Tensor; 6] = inputs(all)?;
        let [u, time, bc, bias, a_log, d] = all;
        let mut sums = all.map(|input| vec![0f32; input.elem_count()]);
        with_rows([u, time, bc, bias, a_log, d, gradient], |[u, time, bc, bias, a_log, d, gradient]| {
            let parts = Parts::new([u, time, bc, bias, a_log, d], &self.sequences)?;
            gradient.has_shape_of(&u)?;
            let done = tasks(
                &self.sequences,
                u.width.div_ceil(CHANNELS),
                #[inline(always)]
                |task, scratch| parts.gradients(gradient, task, scratch),
            );
            let states = parts.states();
            let [of_u, of_time, of_bc, of_bias, of_a_log, of_d] = &mut sums;
            for ((sequence, number), found) in &done {
                let own = channels(*number, u.width);
                scatter(sequence, &found.u, own.clone(), u.width, of_u);
                scatter(sequence, &found.time, own.clone(), u.width, of_time);
                add(&mut of_bc[sequence.start * 2 * states..sequence.end * 2 * states], &found.bc);
                add(&mut of_bias[own.clone()], &found.bias);
                add(&mut of_a_log[own.start * states..own.end * states], &found.a_log);
                add(&mut of_d[own], &found.d);
            }
            Ok(())
        })?;
        sums.into_iter().zip(all).map(|(values, input)| like(values, input)).collect()
    }
}
