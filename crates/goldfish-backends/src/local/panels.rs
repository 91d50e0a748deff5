//! Weights in the order in which products read them, in the precision in which a checkpoint stores them.

use std::ops::Range;

use candle_core::{CpuStorage, Result, Storage, Tensor, bail};
use rayon::prelude::*;

use super::precision::{of_bf16, of_f16};

/// Outputs in a panel.
pub(super) const PANEL: usize = 64;
/// Bytes to which panels are aligned: those of a line of the cache.
const ALIGNMENT: usize = 64;
/// Inputs that are packed together: their lines stay in the cache while all outputs of a panel are written.
const STEP: usize = 32;

/// Numbers that start at a line of the cache.
#[derive(Debug)]
pub(super) struct Aligned<T> {
    buffer: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Copy + Default> Aligned<T> {
    /// So many zeros.
    pub(super) fn zeros(len: usize) -> Self {
        let room = ALIGNMENT / size_of::<T>();
        let buffer = vec![T::default(); len + room];
        // Without alignment it is slower, but correct.
        let start = Some(buffer.as_ptr().align_offset(ALIGNMENT)).filter(|start| *start < room).unwrap_or(0);
        Self { buffer, start, len }
    }

    #[inline(always)]
    pub(super) fn values(&self) -> &[T] {
        &self.buffer[self.start..][..self.len]
    }

    #[inline(always)]
    pub(super) fn values_mut(&mut self) -> &mut [T] {
        &mut self.buffer[self.start..][..self.len]
    }
}

/// Weights `[inputs, outputs]` in panels of 64 outputs, and within a panel input by input. Missing outputs of the last panel are 0.
#[derive(Debug)]
pub(super) struct Panels {
    values: Values,
    inputs: usize,
}

#[derive(Debug)]
enum Values {
    F32(Aligned<f32>),
    Bf16(Aligned<u16>),
    F16(Aligned<u16>),
}

impl Panels {
    /// Packs a matrix `[inputs, outputs]`, in any order in memory.
    ///
    /// # Errors
    ///
    /// If it is no matrix of `f32`, `bf16` or `f16` in memory.
    pub(super) fn pack(weight: &Tensor) -> Result<Self> {
        let (inputs, _) = weight.dims2()?;
        let (storage, _) = weight.storage_and_layout();
        let Storage::Cpu(storage) = &*storage else { bail!("weights are not in memory") };
        let values = match storage {
            CpuStorage::F32(values) => Values::F32(pack(weight, values, |value| value)?),
            CpuStorage::BF16(values) => Values::Bf16(pack(weight, values, half::bf16::to_bits)?),
            CpuStorage::F16(values) => Values::F16(pack(weight, values, half::f16::to_bits)?),
            _ => bail!("weights are of type {:?}", weight.dtype()),
        };
        Ok(Self { values, inputs })
    }

    /// Bytes of the weights.
    pub(super) fn bytes(&self) -> usize {
        match &self.values {
            Values::F32(values) => size_of_val(values.values()),
            Values::Bf16(values) | Values::F16(values) => size_of_val(values.values()),
        }
    }

    /// Room for so many inputs of a panel as `f32`, if they are not stored as such.
    pub(super) fn scratch(&self, inputs: usize) -> Aligned<f32> {
        match self.values {
            Values::F32(_) => Aligned::zeros(0),
            Values::Bf16(_) | Values::F16(_) => Aligned::zeros(inputs * PANEL),
        }
    }

    /// The weights of some inputs of a panel as `f32`, `[inputs, PANEL]`: those that are stored, or written to `scratch`.
    #[inline(always)]
    pub(super) fn widened<'a>(
        &'a self,
        panel: usize,
        inputs: Range<usize>,
        scratch: &'a mut Aligned<f32>,
    ) -> &'a [f32] {
        let start = panel * self.inputs * PANEL;
        let chosen = start + inputs.start * PANEL..start + inputs.end * PANEL;
        let widened = &mut scratch.values_mut()[..];
        match &self.values {
            Values::F32(values) => &values.values()[chosen],
            Values::Bf16(values) => widen(&values.values()[chosen], widened, of_bf16),
            Values::F16(values) => widen(&values.values()[chosen], widened, of_f16),
        }
    }

    /// The weights of one output, input by input, to `out` `[inputs]`.
    pub(super) fn read_output(&self, output: usize, out: &mut [f32]) {
        let first = output / PANEL * self.inputs * PANEL + output % PANEL;
        match &self.values {
            Values::F32(values) => each(&values.values()[first..], out, |value| value),
            Values::Bf16(values) => each(&values.values()[first..], out, of_bf16),
            Values::F16(values) => each(&values.values()[first..], out, of_f16),
        }
    }
}

/// Every value of a panel's output.
fn each<T: Copy>(values: &[T], out: &mut [f32], widened: impl Fn(T) -> f32) {
    for (out, value) in out.iter_mut().zip(values.iter().step_by(PANEL)) {
        *out = widened(*value);
    }
}

#[inline(always)]
fn widen<'a>(stored: &[u16], out: &'a mut [f32], widened: impl Fn(u16) -> f32) -> &'a [f32] {
    let out = &mut out[..stored.len()];
    for (out, stored) in out.iter_mut().zip(stored) {
        *out = widened(*stored);
    }
    out
}

fn pack<S: Copy + Sync, T: Copy + Default + Send>(
    weight: &Tensor,
    values: &[S],
    stored: impl Fn(S) -> T + Sync,
) -> Result<Aligned<T>> {
    let (inputs, outputs) = weight.dims2()?;
    let values = &values[weight.layout().start_offset()..];
    let [by_input, by_output] = *weight.layout().stride() else { bail!("weights are not a matrix") };
    let mut packed = Aligned::zeros(outputs.div_ceil(PANEL) * inputs * PANEL);
    if inputs > 0 {
        let panels = packed.values_mut().par_chunks_exact_mut(inputs * PANEL);
        panels.enumerate().for_each(|(panel, packed)| {
            for (step, packed) in packed.chunks_mut(STEP * PANEL).enumerate() {
                for output in panel * PANEL..outputs.min((panel + 1) * PANEL) {
                    let own = packed[output % PANEL..].iter_mut().step_by(PANEL);
                    let first = output * by_output + step * STEP * by_input;
                    for (packed, value) in own.zip(values[first..].iter().step_by(by_input)) {
                        *packed = stored(*value);
                    }
                }
            }
        });
    }
    Ok(packed)
}
