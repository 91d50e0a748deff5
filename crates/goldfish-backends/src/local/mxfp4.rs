//! Weights in MXFP4 ([OCP Microscaling Formats 1.0](https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf)): numbers of
//! 4 bits, of which 32 share a power of 2.
//!
//! A tensor `[matrices, inputs, outputs]` is stored as bytes `NAME_blocks` `[matrices, outputs, inputs / 32, 16]`, the even inputs in the
//! lower half of a byte, and `NAME_scales` `[matrices, outputs, inputs / 32]`.

use candle_core::{Device, Tensor};
use half::bf16;

use super::error::CheckpointError;
use super::folder::TensorFiles;

/// Numbers with one power of 2.
const BLOCK: usize = 32;
/// The exponent of that power, less than the byte that is stored.
const BIAS: i32 = 127;
/// The numbers of 3 bits; a fourth bit is the sign.
const MAGNITUDES: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

impl TensorFiles {
    /// The names of what a tensor in MXFP4 is stored as, if it is.
    pub(super) fn mxfp4_names(&self, name: &str) -> Option<[String; 2]> {
        let names = ["blocks", "scales"].map(|part| format!("{name}_{part}"));
        names.iter().all(|name| self.shape(name).is_some()).then_some(names)
    }

    /// A tensor in MXFP4 as `bf16`, which holds every such number.
    pub(super) fn read_mxfp4(&self, names: &[String; 2], shape: &[usize]) -> Result<Tensor, CheckpointError> {
        let [blocks_name, scales_name] = names;
        let wrong = |name: &str, reason: &str| CheckpointError::tensor(self.path_of(name), name, reason);
        let &[matrices, inputs, outputs] = shape else {
            return Err(wrong(blocks_name, "is not of matrices"));
        };
        if inputs % BLOCK != 0 {
            return Err(wrong(blocks_name, "has inputs that are no multiple of 32"));
        }
        let blocks = self.read_bytes(blocks_name, &[matrices, outputs, inputs / BLOCK, BLOCK / 2])?;
        let scales = self.read_bytes(scales_name, &[matrices, outputs, inputs / BLOCK])?;
        let mut values = Vec::with_capacity(2 * blocks.len());
        for (block, scale) in blocks.chunks_exact(BLOCK / 2).zip(&scales) {
            let scale = f64::from(i32::from(*scale) - BIAS).exp2();
            let number = |bits: u8| {
                let magnitude = f64::from(MAGNITUDES[usize::from(bits & 7)]) * scale;
                bf16::from_f64(if bits & 8 == 0 { magnitude } else { -magnitude })
            };
            values.extend(block.iter().flat_map(|byte| [number(byte & 15), number(byte >> 4)]));
        }
        if values.iter().any(|value| !value.is_finite()) {
            return Err(wrong(scales_name, "has a power of 2 that is too large"));
        }
        let values = Tensor::from_vec(values, (matrices, outputs, inputs), &Device::Cpu)?;
        Ok(values.transpose(1, 2)?)
    }
}
