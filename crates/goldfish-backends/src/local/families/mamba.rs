//! Mamba ([Gu and Dao 2023](https://arxiv.org/abs/2312.00752)), as `transformers` saves `MambaForCausalLM`.
//!
//! With inputs `u` after a convolution over the last tokens: `h = exp(Delta A) h + Delta B u`, `y = C h + D u`, times a gate.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use crate::local::block::whole_product;
use crate::local::config::{Activation, MAX_WIDTH, TensorNames};
use crate::local::convolution::Convolution;
use crate::local::error::CheckpointError;
use crate::local::family::{BASE, ModelName, activation};
use crate::local::math::{exp, softplus, vectorized};
use crate::local::mixer::{Mixer, MixerPlan, Reading, each_sequence};
use crate::local::ops::activate;
use crate::local::precision::elements;
use crate::local::product::Linear;
use crate::local::recurrent_family::RecurrentFamily;
use crate::local::settings::Settings;

/// The names of Mamba 2 too.
pub(super) const NAMES: TensorNames = TensorNames {
    embeddings: "backbone.embeddings",
    layers: "backbone.layers",
    final_norm: "backbone.norm_f",
    norms: ["norm", "", "", ""],
    ..BASE.tensors
};

pub(super) static FAMILY: RecurrentFamily = RecurrentFamily {
    name: ModelName::of("mamba"),
    norm_epsilon: "layer_norm_epsilon",
    mlp: false,
    tied: true,
    tensors: NAMES,
    mixer: |settings, hidden| Ok(Arc::new(Plan::of(settings, hidden)?)),
};

#[derive(Debug, Clone, Copy)]
struct Plan {
    hidden: usize,
    inner: usize,
    /// Numbers in the state of a channel.
    state: usize,
    /// Tokens that a convolution sees, its own included.
    kernel: usize,
    /// Rank of the time steps.
    rank: usize,
    bias: bool,
    conv_bias: bool,
    activation: Activation,
}

impl Plan {
    fn of(settings: &Settings, hidden: usize) -> std::result::Result<Self, CheckpointError> {
        let inner = match settings.count("intermediate_size", MAX_WIDTH)? {
            Some(inner) => inner,
            None => (settings.count("expand", MAX_WIDTH / hidden)?.unwrap_or(2) * hidden).min(MAX_WIDTH),
        };
        let rank = match settings.get("time_step_rank") {
            Some(value) if value == "auto" => None,
            _ => settings.count("time_step_rank", MAX_WIDTH)?,
        };
        Ok(Self {
            hidden,
            inner,
            state: settings.count("state_size", MAX_WIDTH)?.unwrap_or(16),
            kernel: settings.count("conv_kernel", MAX_WIDTH)?.unwrap_or(4),
            rank: rank.unwrap_or(hidden.div_ceil(16)),
            bias: settings.flag("use_bias")?,
            conv_bias: settings.flag_or("use_conv_bias", true)?,
            activation: activation(settings, &["hidden_act"], Some(Activation::Silu))?,
        })
    }
}

impl MixerPlan for Plan {
    fn tensors(&self) -> Vec<(&'static str, Vec<usize>)> {
        let Self { hidden, inner, state, kernel, rank, .. } = *self;
        let mut tensors = vec![
            ("mixer.in_proj.weight", vec![2 * inner, hidden]),
            ("mixer.conv1d.weight", vec![inner, 1, kernel]),
            ("mixer.x_proj.weight", vec![rank + 2 * state, inner]),
            ("mixer.dt_proj.weight", vec![inner, rank]),
            ("mixer.dt_proj.bias", vec![inner]),
            ("mixer.A_log", vec![inner, state]),
            ("mixer.D", vec![inner]),
            ("mixer.out_proj.weight", vec![hidden, inner]),
        ];
        if self.conv_bias {
            tensors.push(("mixer.conv1d.bias", vec![inner]));
        }
        if self.bias {
            tensors.push(("mixer.in_proj.bias", vec![2 * inner]));
            tensors.push(("mixer.out_proj.bias", vec![hidden]));
        }
        tensors
    }

    fn build(&self, tensors: &[Tensor]) -> Result<Box<dyn Mixer>> {
        let names = self.tensors();
        let optional = |name: &str| {
            let index = names.iter().position(|(own, _)| *own == format!("mixer.{name}"))?;
            tensors.get(index)
        };
        let linear = |index: usize, bias: &str| Linear::new(&tensors[index].t()?, optional(bias));
        let decay: Vec<f32> = elements(&tensors[5].t()?)?.into_iter().map(|log| -log.exp()).collect();
        Ok(Box::new(Mamba {
            plan: *self,
            input: linear(0, "in_proj.bias")?,
            convolution: Convolution::new(&tensors[1], optional("conv1d.bias"))?,
            select: linear(2, "")?,
            time_step: linear(3, "dt_proj.bias")?,
            decay,
            skip: elements(&tensors[6])?,
            out: linear(7, "out_proj.bias")?,
        }))
    }
}

#[derive(Debug)]
struct Mamba {
    plan: Plan,
    /// Outputs: the convolution's inputs, then the gates.
    input: Linear,
    convolution: Convolution,
    /// Outputs: the time steps in low rank, then `B`, then `C`.
    select: Linear,
    time_step: Linear,
    /// `A`, `[state, inner]`.
    decay: Vec<f32>,
    /// `D`.
    skip: Vec<f32>,
    out: Linear,
}

impl Mamba {
    /// Reads one token: `u`, the time steps, and `B` and `C`. Writes `y`.
    #[inline(always)]
    fn read(&self, u: &[f32], steps: &mut [f32], select: &[f32], state: &mut [f32], y: &mut [f32]) {
        let inner = self.plan.inner;
        let (b, c) = select.split_at(self.plan.state);
        for step in steps.iter_mut() {
            *step = softplus(*step);
        }
        for ((y, u), skip) in y.iter_mut().zip(u).zip(&self.skip) {
            *y = u * skip;
        }
        let states = state.chunks_exact_mut(inner).zip(self.decay.chunks_exact(inner));
        for ((state, decay), (b, c)) in states.zip(b.iter().zip(c)) {
            for at in 0..inner {
                let more = steps[at] * u[at] * b;
                state[at] = exp(steps[at] * decay[at]).mul_add(state[at], more);
                y[at] = state[at].mul_add(*c, y[at]);
            }
        }
    }
}

impl Mixer for Mamba {
    fn state_size(&self) -> usize {
        self.plan.inner * (self.plan.state + self.plan.kernel - 1)
    }

    fn mix(&self, x: &[f32], sequences: &mut [Reading<'_>]) -> Vec<f32> {
        let Plan { inner, rank, state, .. } = self.plan;
        let rows = x.len() / self.plan.hidden;
        let joined = whole_product(&self.input, x);
        let mut convolved = vec![0f32; rows * inner];
        each_sequence(
            sequences,
            &mut convolved,
            inner,
            || (),
            |(), sequence, out| {
                let rows = sequence.rows.start * 2 * inner..sequence.rows.end * 2 * inner;
                self.convolution.read(&joined[rows], 2 * inner, &mut sequence.state[state * inner..], out);
            },
        );
        let mut u = vec![0f32; rows * inner];
        activate(self.plan.activation, false, inner, &convolved, &mut u);
        let width = rank + 2 * state;
        let selected = whole_product(&self.select, &u);
        let low: Vec<&[f32]> = selected.chunks_exact(width).map(|row| &row[..rank]).collect();
        let steps = whole_product(&self.time_step, &low.concat());
        let mut seen = convolved;
        each_sequence(sequences, &mut seen, inner, Vec::new, |scratch: &mut Vec<f32>, sequence, out| {
            let state = &mut sequence.state[..state * inner];
            for (row, y) in sequence.rows.clone().zip(out.chunks_exact_mut(inner)) {
                scratch.clear();
                scratch.extend_from_slice(&steps[row * inner..][..inner]);
                let (u, select) =
                    (&u[row * inner..][..inner], &selected[row * width + rank..][..width - rank]);
                vectorized(
                    #[inline(always)]
                    || self.read(u, scratch, select, state, y),
                );
            }
        });
        // Gated: the second half of a row is the gate.
        let gates: Vec<&[f32]> = joined.chunks_exact(2 * inner).map(|row| &row[inner..]).collect();
        let mut gated = vec![0f32; rows * inner];
        activate(self.plan.activation, false, inner, &gates.concat(), &mut gated);
        for (gated, seen) in gated.iter_mut().zip(&seen) {
            *gated *= seen;
        }
        whole_product(&self.out, &gated)
    }
}
