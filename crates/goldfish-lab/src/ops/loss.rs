//! The log-probabilities of targets, and the loss of training.

use std::sync::OnceLock;

use candle_core::{Device, Result, Tensor, bail};
use goldfish_backends::local::math::{exp, highest, sum, vectorized};
use rayon::prelude::*;

use super::operation::Operation;
use super::rows::{Rows, fill_rows, inputs, like, matrix, with_rows};

/// Log-probabilities `[rows, 1]`, in nats, by logits `[rows, vocab_size]` of one target a row.
///
/// Rows without a target have to be left out before, which saves their logits too. The gradient weighs each target on its own,
/// with either sign.
pub(crate) struct LogProbs {
    targets: Vec<u32>,
    /// The logarithm of the sum of each row's exponentials.
    normalizers: OnceLock<Vec<f32>>,
}

impl LogProbs {
    pub(crate) fn new(targets: &[u32]) -> Self {
        Self { targets: targets.to_vec(), normalizers: OnceLock::new() }
    }

    fn normalizers(&self, logits: Rows<'_>) -> Vec<f32> {
        let rows = (0..logits.count).into_par_iter().map(|row| {
            vectorized(
                #[inline(always)]
                || {
                    let logits = logits.row(row);
                    let highest = highest(logits);
                    highest + sum(logits, |logit| exp(logit - highest)).ln()
                },
            )
        });
        rows.collect()
    }
}

impl Operation for LogProbs {
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
            let targets = normalizers.iter().zip(&self.targets).enumerate();
            let values =
                targets.map(|(row, (normalizer, target))| logits.row(row)[*target as usize] - normalizer);
            matrix(values.collect(), logits.count, 1)
        })
    }

    fn backward(&self, all: &[&Tensor], _: &Tensor, gradient: &Tensor) -> Result<Vec<Tensor>> {
        let [logits] = inputs(all)?;
        let values = with_rows([logits, gradient], |[logits, gradient]| {
            gradient.has_shape(logits.count, 1)?;
            let normalizers = self.normalizers.get_or_init(|| self.normalizers(logits));
            Ok(fill_rows(
                logits.count,
                logits.width,
                #[inline(always)]
                |row, out| {
                    let (normalizer, weight) = (normalizers[row], -gradient.row(row)[0]);
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

/// The mean of log-probabilities `[targets, 1]` with its sign changed, a scalar: the cross entropy.
pub(crate) struct CrossEntropy;

impl Operation for CrossEntropy {
    fn forward(&self, all: &[&Tensor]) -> Result<Tensor> {
        let [log_probs] = inputs(all)?;
        with_rows([log_probs], |[log_probs]| {
            log_probs.has_shape(log_probs.count, 1)?;
            let total: f64 = (0..log_probs.count).map(|row| -f64::from(log_probs.row(row)[0])).sum();
            Tensor::new((total / log_probs.count as f64) as f32, &Device::Cpu)
        })
    }

    fn backward(&self, all: &[&Tensor], _: &Tensor, gradient: &Tensor) -> Result<Vec<Tensor>> {
        let [log_probs] = inputs(all)?;
        let count = log_probs.elem_count();
        let weight = gradient.to_scalar::<f32>()? / count as f32;
        Ok(vec![like(vec![-weight; count], log_probs)?])
    }
}
