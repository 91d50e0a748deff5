//! `AdamW`, its schedule, and the initial weights.

use candle_core::{Device, Result, Tensor, bail};
use rayon::prelude::*;

use crate::options::OptimizerOptions;
use crate::parameter::Parameter;

/// Weights with the means of their gradients, all parameters one after the other in flat buffers.
#[derive(Debug, PartialEq)]
pub(crate) struct Weights {
    pub(crate) values: Vec<f32>,
    pub(crate) means: Vec<f32>,
    pub(crate) squares: Vec<f32>,
}

/// Elements that one thread takes at a time; sums are taken over as many.
const CHUNK: usize = 1 << 15;

impl Weights {
    /// The initial weights. Those of a parameter depend on the seed, its name and its shape.
    pub(crate) fn new(parameters: &[Parameter], seed: u64) -> Self {
        let parts: Vec<Vec<f32>> =
            parameters.par_iter().map(|parameter| parameter.initial_values(seed)).collect();
        Self::of(parts.concat())
    }

    /// Given initial weights.
    pub(crate) fn of(values: Vec<f32>) -> Self {
        let zeros = || vec![0f32; values.len()];
        Self { means: zeros(), squares: zeros(), values }
    }

    /// The weights as tensors, in the order of the parameters.
    pub(crate) fn tensors(&self, parameters: &[Parameter]) -> Result<Vec<Tensor>> {
        let mut rest = self.values.as_slice();
        let tensor = |parameter: &Parameter| {
            let (own, after) = rest.split_at(parameter.elements());
            rest = after;
            Tensor::from_slice(own, parameter.shape.as_slice(), &Device::Cpu)
        };
        parameters.iter().map(tensor).collect()
    }

    /// One step of the optimizer with the gradients of a loss; `step` counts from 1. Returns the norm of the gradients.
    pub(crate) fn update(
        &mut self,
        parameters: &[Parameter],
        gradients: &Gradients,
        options: &OptimizerOptions,
        [step, steps]: [u64; 2],
    ) -> f64 {
        let norm = gradients.norm();
        if !norm.is_finite() {
            return norm;
        }
        let adam = Adam::new(options, [step, steps], norm);
        let mut buffers =
            (self.values.as_mut_slice(), self.means.as_mut_slice(), self.squares.as_mut_slice());
        for (parameter, gradient) in parameters.iter().zip(&gradients.0) {
            let (values, means, squares) = buffers;
            let count = gradient.len();
            let (values, rest_values) = values.split_at_mut(count);
            let (means, rest_means) = means.split_at_mut(count);
            let (squares, rest_squares) = squares.split_at_mut(count);
            buffers = (rest_values, rest_means, rest_squares);
            let decay = if parameter.decays { adam.decay } else { 1.0 };
            values
                .par_chunks_mut(CHUNK)
                .zip(means.par_chunks_mut(CHUNK))
                .zip(squares.par_chunks_mut(CHUNK))
                .zip(gradient.par_chunks(CHUNK))
                .for_each(|(((values, means), squares), gradient)| {
                    adam.update([values, means, squares], gradient, decay);
                });
        }
        norm
    }
}

/// One step's factors, in single precision and in the order of torch's `AdamW`.
struct Adam {
    clip: f32,
    betas: [f32; 2],
    rate: f32,
    root: f32,
    epsilon: f32,
    decay: f32,
}

impl Adam {
    fn new(options: &OptimizerOptions, [step, steps]: [u64; 2], norm: f64) -> Self {
        let rate = learning_rate(options, [step, steps]);
        let left = |beta: f64| 1.0 - beta.powf(step as f64);
        let clips = options.clip > 0.0 && norm > options.clip;
        Self {
            clip: if clips { (options.clip / norm) as f32 } else { 1.0 },
            betas: [options.beta1 as f32, options.beta2 as f32],
            rate: (rate / left(options.beta1)) as f32,
            root: left(options.beta2).sqrt().recip() as f32,
            epsilon: options.epsilon as f32,
            decay: (1.0 - rate * options.weight_decay) as f32,
        }
    }

    fn update(&self, [values, means, squares]: [&mut [f32]; 3], gradient: &[f32], decay: f32) {
        let [beta1, beta2] = self.betas;
        let moments = means.iter_mut().zip(squares);
        for ((value, gradient), (mean, square)) in values.iter_mut().zip(gradient).zip(moments) {
            let gradient = gradient * self.clip;
            *mean = beta1 * *mean + (1.0 - beta1) * gradient;
            *square = beta2 * *square + (1.0 - beta2) * gradient * gradient;
            *value = *value * decay - self.rate * *mean / (square.sqrt() * self.root + self.epsilon);
        }
    }
}

/// The learning rate of a step, counted from 1: up in a line, then down in half a cosine to its final fraction.
pub(crate) fn learning_rate(options: &OptimizerOptions, [step, steps]: [u64; 2]) -> f64 {
    let warmup = options.warmup.min(steps);
    if step <= warmup {
        return options.learning_rate * step as f64 / warmup as f64;
    }
    let done = (step - warmup) as f64 / (steps - warmup).max(1) as f64;
    let fraction =
        options.final_share + (1.0 - options.final_share) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
    options.learning_rate * fraction
}

/// The gradient of each parameter, in their order.
pub(crate) struct Gradients(Vec<Vec<f32>>);

impl Gradients {
    /// Of tensors, one a parameter.
    pub(crate) fn of(parameters: &[Parameter], found: &[Tensor]) -> Result<Self> {
        let gradient = |(parameter, gradient): (&Parameter, &Tensor)| {
            if gradient.dims() != parameter.shape {
                bail!("the gradient of {} has shape {:?}", parameter.name, gradient.dims());
            }
            gradient.flatten_all()?.to_vec1()
        };
        parameters.iter().zip(found).map(gradient).collect::<Result<_>>().map(Self)
    }

    /// Of a loss that depends on no parameter.
    pub(crate) fn none(parameters: &[Parameter]) -> Self {
        Self(parameters.iter().map(|parameter| vec![0.0; parameter.elements()]).collect())
    }

    /// The norm of all of them together, summed in chunks in double precision.
    fn norm(&self) -> f64 {
        let square = |chunk: &[f32]| chunk.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>();
        let squares = |gradient: &Vec<f32>| gradient.par_chunks(CHUNK).map(square).collect::<Vec<_>>();
        self.0.iter().flat_map(squares).sum::<f64>().sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameter::Initial;

    #[test]
    fn schedule() {
        let options = OptimizerOptions {
            learning_rate: 1.0,
            final_share: 0.1,
            warmup: 4,
            ..OptimizerOptions::default()
        };
        let rate = |step| learning_rate(&options, [step, 10]);
        assert_eq!([rate(1), rate(2), rate(4)], [0.25, 0.5, 1.0]);
        assert!((rate(7) - 0.55).abs() < 1e-12 && (rate(10) - 0.1).abs() < 1e-12);
    }

    #[test]
    fn decay_and_clipping_by_hand() {
        let parameter =
            |decays| Parameter { name: "w".into(), shape: vec![1], initial: Initial::Constant(2.0), decays };
        let parameters = [parameter(true), parameter(false)];
        let options = OptimizerOptions {
            learning_rate: 0.1,
            warmup: 0,
            final_share: 1.0,
            weight_decay: 0.5,
            clip: 1.0,
            epsilon: 0.0,
            ..OptimizerOptions::default()
        };
        let mut weights = Weights::new(&parameters, 0);
        let norm = weights.update(&parameters, &Gradients(vec![vec![3.0], vec![-4.0]]), &options, [1, 1]);
        assert_eq!(norm, 5.0);
        // The first step of Adam is the learning rate in the direction of the gradient.
        assert!((weights.values[0] - (2.0 * 0.95 - 0.1)).abs() < 1e-6);
        assert!((weights.values[1] - 2.1).abs() < 1e-6);
        assert!((weights.means[0] - 0.1 * 0.6).abs() < 1e-7);
        assert!((weights.squares[1] - 0.05 * 0.64).abs() < 1e-7);
    }
}
