//! The loss of preferences between continuations.

use std::ops::Range;

use candle_core::{Device, Result, Tensor, bail};

use super::operation::Operation;
use super::rows::{inputs, like, with_rows};

/// Two continuations of a prefix, of which one is preferred.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pair {
    /// The targets that are tokens of the preferred continuation.
    pub(crate) preferred: Range<usize>,
    /// Those of the other one.
    pub(crate) other: Range<usize>,
    /// By how much the reference's log-probability of the preferred continuation is above that of the other.
    pub(crate) reference: f64,
}

/// The loss of direct preference optimization ([Rafailov et al. 2023](https://arxiv.org/abs/2305.18290), equation 7) of
/// log-probabilities `[targets, 1]`, and a cross entropy beside it; a scalar.
///
/// The margin of a pair is `beta` times by how much more the model prefers its preferred continuation than the reference does. The loss
/// is the mean of `ln(1 + exp(-margin))` over pairs, plus `keep` times the cross entropy of the targets in `kept`.
pub(crate) struct Preference {
    pub(crate) pairs: Vec<Pair>,
    pub(crate) beta: f64,
    pub(crate) kept: Range<usize>,
    pub(crate) keep: f64,
}

impl Preference {
    /// The margin of each pair.
    pub(crate) fn margins(&self, log_probs: &Tensor) -> Result<Vec<f64>> {
        with_rows([log_probs], |[log_probs]| {
            log_probs.has_shape(log_probs.count, 1)?;
            let ends = self.pairs.iter().flat_map(|pair| [pair.preferred.end, pair.other.end]);
            if ends.chain([self.kept.end]).any(|end| end > log_probs.count) {
                bail!("a pair has targets beyond {}", log_probs.count);
            }
            let total = |targets: &Range<usize>| -> f64 {
                targets.clone().map(|target| f64::from(log_probs.row(target)[0])).sum()
            };
            let margin =
                |pair: &Pair| self.beta * (total(&pair.preferred) - total(&pair.other) - pair.reference);
            Ok(self.pairs.iter().map(margin).collect())
        })
    }
}

impl Operation for Preference {
    fn forward(&self, all: &[&Tensor]) -> Result<Tensor> {
        let [log_probs] = inputs(all)?;
        let losses: f64 = self.margins(log_probs)?.into_iter().map(softplus_of_negative).sum();
        let kept: f64 = with_rows([log_probs], |[log_probs]| {
            Ok(self.kept.clone().map(|target| -f64::from(log_probs.row(target)[0])).sum())
        })?;
        let loss = losses / self.pairs.len().max(1) as f64 + self.keep * kept / self.kept.len().max(1) as f64;
        Tensor::new(loss as f32, &Device::Cpu)
    }

    fn backward(&self, all: &[&Tensor], _: &Tensor, gradient: &Tensor) -> Result<Vec<Tensor>> {
        let [log_probs] = inputs(all)?;
        let gradient = f64::from(gradient.to_scalar::<f32>()?);
        let mut weights = vec![0f32; log_probs.elem_count()];
        for (pair, margin) in self.pairs.iter().zip(self.margins(log_probs)?) {
            // The derivative of the loss is minus the logistic function of minus the margin.
            let weight = gradient * self.beta / (1.0 + margin.exp()) / self.pairs.len() as f64;
            weights[pair.preferred.clone()].fill(-weight as f32);
            weights[pair.other.clone()].fill(weight as f32);
        }
        if !self.kept.is_empty() {
            let weight = gradient * self.keep / self.kept.len() as f64;
            weights[self.kept.clone()].fill(-weight as f32);
        }
        Ok(vec![like(weights, log_probs)?])
    }
}

/// `ln(1 + exp(-margin))`, whatever the margin.
fn softplus_of_negative(margin: f64) -> f64 {
    (-margin).max(0.0) + (-margin.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preference() -> Preference {
        let pairs = vec![
            Pair { preferred: 0..2, other: 2..4, reference: 0.5 },
            Pair { preferred: 6..8, other: 4..6, reference: -1.5 },
        ];
        Preference { pairs, beta: 0.4, kept: 8..11, keep: 0.7 }
    }

    fn log_probs() -> Vec<f32> {
        vec![-1.0, -2.0, -0.5, -0.25, -3.0, -0.125, -4.0, -1.0, -2.0, -1.0, -3.0]
    }

    fn loss(log_probs: &[f32]) -> f64 {
        let log_probs = Tensor::from_slice(log_probs, (log_probs.len(), 1), &Device::Cpu).unwrap();
        f64::from(preference().forward(&[&log_probs]).unwrap().to_scalar::<f32>().unwrap())
    }

    #[test]
    fn by_hand() {
        let tensor = Tensor::from_slice(&log_probs(), (11, 1), &Device::Cpu).unwrap();
        let margins = preference().margins(&tensor).unwrap();
        // 0.4 (-3 + 0.75 - 0.5) and 0.4 (-5 + 3.125 + 1.5).
        assert!((margins[0] + 1.1).abs() < 1e-12 && (margins[1] + 0.15).abs() < 1e-12);
        let expected = ((1.0 + 1.1f64.exp()).ln() + (1.0 + 0.15f64.exp()).ln()) / 2.0 + 0.7 * 2.0;
        assert!((loss(&log_probs()) - expected).abs() < 1e-6);
        let short = Tensor::from_slice(&log_probs()[..7], (7, 1), &Device::Cpu).unwrap();
        assert!(preference().forward(&[&short]).is_err());
        assert_eq!(softplus_of_negative(-1000.0), 1000.0);
        assert_eq!(softplus_of_negative(1000.0), 0.0);
    }

    #[test]
    fn gradients_are_what_losses_differ_by() {
        let values = log_probs();
        let tensor = Tensor::from_slice(&values, (11, 1), &Device::Cpu).unwrap();
        let one = Tensor::new(1f32, &Device::Cpu).unwrap();
        let found = preference().backward(&[&tensor], &one, &one).unwrap().remove(0);
        let found: Vec<f32> = found.flatten_all().unwrap().to_vec1().unwrap();
        for (target, found) in found.into_iter().enumerate() {
            let at = |by: f32| {
                let mut moved = values.clone();
                moved[target] += by;
                loss(&moved)
            };
            // A power of two, so that the points are exact.
            let step = 0.015_625;
            let slope = (at(step) - at(-step)) / (2.0 * f64::from(step));
            assert!((slope - f64::from(found)).abs() < 2e-5, "{target}: {slope} {found}");
        }
    }
}
