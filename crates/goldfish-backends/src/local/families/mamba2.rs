//! Mamba 2 ([Dao and Gu 2024](https://arxiv.org/abs/2405.21060)), as `transformers` saves `Mamba2ForCausalLM`.
//!
//! Of each head, with inputs `u` after a convolution over the last tokens: `h = exp(Delta a) h + Delta B u`, `y = C h + D u`, where `Delta`,
//! `a` and `D` are one number a head and groups of heads have the same `B` and `C`; then a gate and a norm.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use rayon::prelude::*;
use serde_json::Value;

use super::mamba::NAMES;
use crate::local::block::{BLOCK, whole_product};
use crate::local::config::{Activation, MAX_WIDTH};
use crate::local::convolution::Convolution;
use crate::local::error::CheckpointError;
use crate::local::family::{ModelName, activation};
use crate::local::math::{exp, silu, softplus, vectorized};
use crate::local::mixer::{Mixer, MixerPlan, Reading, each_sequence};
use crate::local::ops::{Norm, activate};
use crate::local::precision::elements;
use crate::local::product::Linear;
use crate::local::recurrent_family::RecurrentFamily;
use crate::local::settings::Settings;

pub(super) static FAMILY: RecurrentFamily = RecurrentFamily {
    name: ModelName::of("mamba2"),
    norm_epsilon: "layer_norm_epsilon",
    mlp: false,
    tied: false,
    tensors: NAMES,
    mixer: |settings, hidden| Ok(Arc::new(Plan::of(settings, hidden)?)),
};

/// Most numbers in the state of a layer, for which a file has no tensor.
const MAX_STATE: usize = 1 << 24;

#[derive(Debug, Clone, Copy)]
struct Plan {
    hidden: usize,
    heads: usize,
    head_dim: usize,
    /// Numbers in the state of a channel.
    state: usize,
    /// Groups of heads with the same `B` and `C`.
    groups: usize,
    /// Tokens that a convolution sees, its own included.
    kernel: usize,
    bias: bool,
    conv_bias: bool,
    activation: Activation,
    epsilon: f32,
    /// Time steps are at least and at most these.
    limits: (f32, f32),
}

impl Plan {
    fn of(settings: &Settings, hidden: usize) -> std::result::Result<Self, CheckpointError> {
        let or = |key: &str, absent: usize| -> std::result::Result<usize, CheckpointError> {
            Ok(settings.count(key, MAX_WIDTH)?.unwrap_or(absent))
        };
        let (heads, head_dim, groups) = (or("num_heads", 128)?, or("head_dim", 64)?, or("n_groups", 8)?);
        let expand = or("expand", 2)?;
        if Some(heads * head_dim) != expand.checked_mul(hidden) || heads * head_dim > MAX_WIDTH {
            let reason = format!("is {heads}; times head_dim it must be {expand} times the hidden size");
            return Err(settings.wrong("num_heads", reason));
        }
        if heads % groups != 0 {
            return Err(
                settings.wrong("n_groups", format!("is {groups}, which doesn't divide {heads} heads"))
            );
        }
        let state = or("state_size", 128)?;
        if groups * state > MAX_WIDTH || heads * head_dim * state > MAX_STATE {
            let reason = format!("is {state}, which is too much for {} channels", heads * head_dim);
            return Err(settings.wrong("state_size", reason));
        }
        Ok(Self {
            hidden,
            heads,
            head_dim,
            state,
            groups,
            kernel: or("conv_kernel", 4)?,
            bias: settings.flag("use_bias")?,
            conv_bias: settings.flag_or("use_conv_bias", true)?,
            activation: activation(settings, &["hidden_act"], Some(Activation::Silu))?,
            epsilon: settings.positive("layer_norm_epsilon")?.unwrap_or(1e-5) as f32,
            limits: limits(settings)?,
        })
    }

    /// Channels of all heads.
    fn inner(&self) -> usize {
        self.heads * self.head_dim
    }

    /// What the convolution reads: the inputs, `B` and `C`.
    fn convolved(&self) -> usize {
        self.inner() + 2 * self.groups * self.state
    }
}

impl MixerPlan for Plan {
    fn tensors(&self) -> Vec<(&'static str, Vec<usize>)> {
        let (inner, convolved) = (self.inner(), self.convolved());
        let mut tensors = vec![
            ("mixer.in_proj.weight", vec![inner + convolved + self.heads, self.hidden]),
            ("mixer.conv1d.weight", vec![convolved, 1, self.kernel]),
            ("mixer.dt_bias", vec![self.heads]),
            ("mixer.A_log", vec![self.heads]),
            ("mixer.D", vec![self.heads]),
            ("mixer.norm.weight", vec![inner]),
            ("mixer.out_proj.weight", vec![self.hidden, inner]),
        ];
        if self.conv_bias {
            tensors.push(("mixer.conv1d.bias", vec![convolved]));
        }
        if self.bias {
            tensors.push(("mixer.in_proj.bias", vec![inner + convolved + self.heads]));
            tensors.push(("mixer.out_proj.bias", vec![self.hidden]));
        }
        tensors
    }

    fn build(&self, tensors: &[Tensor]) -> Result<Box<dyn Mixer>> {
        let names = self.tensors();
        let optional = |name: &str| {
            let index = names.iter().position(|(own, _)| *own == format!("mixer.{name}"))?;
            tensors.get(index)
        };
        let norm = Norm {
            weight: elements(&tensors[5])?,
            bias: None,
            width: self.inner() / self.groups,
            epsilon: self.epsilon,
            centered: false,
        };
        Ok(Box::new(Mamba2 {
            plan: *self,
            input: Linear::new(&tensors[0].t()?, optional("in_proj.bias"))?,
            convolution: Convolution::new(&tensors[1], optional("conv1d.bias"))?,
            step_bias: elements(&tensors[2])?,
            decay: elements(&tensors[3])?.into_iter().map(|log| -log.exp()).collect(),
            skip: elements(&tensors[4])?,
            norm,
            out: Linear::new(&tensors[6].t()?, optional("out_proj.bias"))?,
        }))
    }
}

#[derive(Debug)]
struct Mamba2 {
    plan: Plan,
    /// Outputs: the gates, what the convolution reads, the time steps.
    input: Linear,
    convolution: Convolution,
    /// Of the time steps, of each head.
    step_bias: Vec<f32>,
    /// `a` of each head.
    decay: Vec<f32>,
    /// `D` of each head.
    skip: Vec<f32>,
    norm: Norm,
    out: Linear,
}

impl Mamba2 {
    /// Reads one token: `u`, `B` and `C`, and the time steps. Writes `y`. The state of a head is `[state, head_dim]`.
    #[inline(always)]
    fn read(&self, token: &[f32], steps: &[f32], state: &mut [f32], y: &mut [f32]) {
        let Plan { heads, head_dim, state: size, groups, limits, .. } = self.plan;
        let (u, shared) = token.split_at(self.plan.inner());
        let (b, c) = shared.split_at(groups * size);
        let channels = u.chunks_exact(head_dim).zip(y.chunks_exact_mut(head_dim));
        for (head, ((u, y), state)) in channels.zip(state.chunks_exact_mut(size * head_dim)).enumerate() {
            let step = softplus(steps[head] + self.step_bias[head]).max(limits.0).min(limits.1);
            let kept = exp(step * self.decay[head]);
            let group = head / (heads / groups) * size;
            for (y, u) in y.iter_mut().zip(u) {
                *y = u * self.skip[head];
            }
            let lanes = b[group..group + size].iter().zip(&c[group..group + size]);
            for (state, (b, c)) in state.chunks_exact_mut(head_dim).zip(lanes) {
                let factor = step * b;
                for ((state, u), y) in state.iter_mut().zip(u).zip(y.iter_mut()) {
                    *state = kept.mul_add(*state, factor * u);
                    *y = state.mul_add(*c, *y);
                }
            }
        }
    }
}

impl Mixer for Mamba2 {
    fn state_size(&self) -> usize {
        self.plan.inner() * self.plan.state + (self.plan.kernel - 1) * self.plan.convolved()
    }

    fn mix(&self, x: &[f32], sequences: &mut [Reading<'_>]) -> Vec<f32> {
        let (inner, convolved) = (self.plan.inner(), self.plan.convolved());
        let rows = x.len() / self.plan.hidden;
        let joined = whole_product(&self.input, x);
        let width = self.input.outputs();
        let kept = inner * self.plan.state;
        let mut sums = vec![0f32; rows * convolved];
        each_sequence(
            sequences,
            &mut sums,
            convolved,
            || (),
            |(), sequence, out| {
                let rows = &joined[sequence.rows.start * width + inner..];
                self.convolution.read(rows, width, &mut sequence.state[kept..], out);
            },
        );
        let mut tokens = vec![0f32; rows * convolved];
        activate(self.plan.activation, false, convolved, &sums, &mut tokens);
        let mut seen = vec![0f32; rows * inner];
        each_sequence(
            sequences,
            &mut seen,
            inner,
            || (),
            |(), sequence, out| {
                let state = &mut sequence.state[..kept];
                for (row, y) in sequence.rows.clone().zip(out.chunks_exact_mut(inner)) {
                    let steps = &joined[row * width + inner + convolved..][..self.plan.heads];
                    let token = &tokens[row * convolved..][..convolved];
                    vectorized(
                        #[inline(always)]
                        || self.read(token, steps, state, y),
                    );
                }
            },
        );
        seen.par_chunks_mut(BLOCK * inner).zip(joined.par_chunks(BLOCK * width)).for_each(
            |(seen, joined)| {
                for (seen, joined) in seen.chunks_exact_mut(inner).zip(joined.chunks_exact(width)) {
                    vectorized(
                        #[inline(always)]
                        || seen.iter_mut().zip(joined).for_each(|(seen, gate)| *seen *= silu(*gate)),
                    );
                }
                self.norm.apply(seen);
            },
        );
        whole_product(&self.out, &seen)
    }
}

/// The least and the largest time step. `transformers` writes infinity as an object.
fn limits(settings: &Settings) -> std::result::Result<(f32, f32), CheckpointError> {
    let key = "time_step_limit";
    let number = |value: &Value| match value.get("__float__").and_then(Value::as_str) {
        Some("Infinity") => Some(f32::INFINITY),
        _ => value.as_f64().map(|number| number as f32),
    };
    let Some(value) = settings.get(key) else { return Ok((0.0, f32::INFINITY)) };
    if let Some([least, most]) = value.as_array().map(Vec::as_slice)
        && let (Some(least), Some(most)) = (number(least), number(most))
        && least <= most
    {
        return Ok((least, most));
    }
    Err(settings.wrong(key, "must be two numbers, the second no less than the first"))
}
