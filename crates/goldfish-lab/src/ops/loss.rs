//! The loss of training.

use std::sync::OnceLock;

use candle_core::{Device, Result, Tensor, bail};
use goldfish_backends::local::math::{exp, sum, vectorized};
use rayon::prelude::*;

use super::operation::Operation;
use super::rows::{Rows, fill_rows, inputs, like, with_rows};

/// Mean cross entropy in nats of logits `[rows, vocab_size]`, one target a row; a scalar.
///
/// Rows without a target have to be left out before, which saves their logits too.
pub(crate) struct CrossEntropy {
    targets: Vec<u32>,
    /// The logarithm of the sum of each row's exponentials.
    normalizers: OnceLock<Vec<f32>>,
}

impl CrossEntropy {
    pub(crate) fn new(targets: &[u32]) -> Self {
        Self { targets: targets.to_vec(), normalizers: OnceLock::new() }
    }

    fn normalizers(&self, logits: Rows<'_>) -> Vec<f32> {
        let rows = (0..logits.count).into_par_iter().map(|row| {
            vectorized(
                #[inline(always)]
                || {
                    let logits = logits.row(row);
                    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    highest + sum(logits, |logit| exp(logit - highest)).ln()
                },
            )
        });
        rows.collect()
    }
}

impl Operation for CrossEntropy {
    fn forward(&self, all: &[&Tensor]) -> Result<Tensor> {
        let [logits] = inputs(all)?;
        with_rows([logits], |[logits]| {
            if logits.count != self.targets.len() || logits.count == 0 {
                bail!("{} rows of logits for {} targets", logits.count, self.targets.len());
            }
            if let Some(target) = self.targets.iter().find(|target| **target as usize >= logits.width) {
                bail!("target {target} is not among {} ids", logits.width);
            }
            let normalizers = self.normalizers.get_or_init(|| self.normalizers(logits));
            let losses = normalizers.iter().zip(&self.targets).enumerate();
            let total: f64 = losses
                .map(|(row, (normalizer, target))| f64::from(normalizer - logits.row(row)[*target as usize]))
                .sum();
            Tensor::new((total / logits.count as f64) as f32, &Device::Cpu)
        })
    }

    fn backward(&self, all: &[&Tensor], _: &Tensor, gradient: &Tensor) -> Result<Vec<Tensor>> {
        let [logits] = inputs(all)?;
        let weight = gradient.to_scalar::<f32>()? / self.targets.len() as f32;
        let values = with_rows([logits], |[logits]| {
            let normalizers = self.normalizers.get_or_init(|| self.normalizers(logits));
            Ok(fill_rows(
                logits.count,
                logits.width,
                #[inline(always)]
                |row, out| {
                    let normalizer = normalizers[row];
                    for (out, logit) in out.iter_mut().zip(logits.row(row)) {
                        *out = weight * exp(logit - normalizer);
                    }
                    out[self.targets[row] as usize] -= weight;
                },
            ))
        })?;
        Ok(vec![like(values, logits)?])
    }
}
