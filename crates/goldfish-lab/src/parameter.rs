//! Parameters of models, and their initial values.

use goldfish_digest::FileDigest;
use rand_mt::Mt64;

/// A parameter of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its name in the checkpoint, as `transformers` expects it.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its initial values.
    pub initial: Initial,
    /// Whether weight decay applies.
    pub decays: bool,
}

/// The initial values of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Initial {
    /// The same number everywhere.
    Constant(f32),
    /// Drawn from a normal distribution with mean 0 and this standard deviation.
    Normal(f64),
    /// Drawn from a uniform distribution between minus and plus this number.
    Uniform(f64),
    /// Identity matrices: a parameter `[.., n, n]`.
    Identity,
    /// `ln 1, ln 2, ... ln n` along the last dimension: the rates of Mamba's states
    /// ([Gu and Dao 2023](https://arxiv.org/abs/2312.00752), section 3.6).
    Logarithms,
    /// What `softplus` makes log-uniform numbers between these two of: the bias of Mamba's time steps (the same section).
    TimeSteps(f64, f64),
}

impl Parameter {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Its initial values. They depend on the seed, its name and its shape.
    pub fn initial_values(&self, seed: u64) -> Vec<f32> {
        let count = self.elements();
        let last = self.shape.last().copied().unwrap_or(1).max(1);
        match self.initial {
            Initial::Constant(value) => vec![value; count],
            Initial::Normal(deviation) => normal(self.stream(seed), deviation).take(count).collect(),
            Initial::Uniform(limit) => {
                let mut random = self.stream(seed);
                (0..count).map(|_| (limit * (2.0 * uniform(&mut random) - 1.0)) as f32).collect()
            }
            Initial::Identity => (0..count).map(|at| f32::from(at / last % last == at % last)).collect(),
            Initial::Logarithms => (0..count).map(|at| ((at % last + 1) as f64).ln() as f32).collect(),
            Initial::TimeSteps(least, most) => {
                let mut random = self.stream(seed);
                let step = |_| {
                    let step = (least.ln() + uniform(&mut random) * (most / least).ln()).exp();
                    // The inverse of softplus.
                    (step + (-(-step).exp_m1()).ln()) as f32
                };
                (0..count).map(step).collect()
            }
        }
    }

    /// Random numbers of this parameter alone.
    fn stream(&self, seed: u64) -> Mt64 {
        let own = FileDigest::of(self.name.as_bytes()).hash;
        let own = own.bytes().fold(0u64, |sum, byte| sum.rotate_left(7) ^ u64::from(byte));
        Mt64::new_with_key([seed, own])
    }
}

/// A number from 0 up to 1.
fn uniform(random: &mut Mt64) -> f64 {
    (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Normally distributed numbers: pairs of uniform ones on a ring, by Marsaglia's polar method.
fn normal(mut random: Mt64, deviation: f64) -> impl Iterator<Item = f32> {
    let mut spare = None;
    std::iter::from_fn(move || {
        if let Some(spare) = spare.take() {
            return Some(spare);
        }
        let mut uniform = || (random.next_u64() >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
        loop {
            let (x, y) = (uniform(), uniform());
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                let scale = deviation * (-2.0 * square.ln() / square).sqrt();
                spare = Some((y * scale) as f32);
                return Some((x * scale) as f32);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(name: &str, shape: &[usize], initial: Initial, seed: u64) -> Vec<f32> {
        Parameter { name: name.into(), shape: shape.to_vec(), initial, decays: true }.initial_values(seed)
    }

    #[test]
    fn first_weights_have_their_distribution() {
        let drawn = |name, seed, count| values(name, &[count], Initial::Normal(0.02), seed);
        let numbers: Vec<f64> = drawn("a", 3, 200_000).into_iter().map(f64::from).collect();
        let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
        let variance = numbers.iter().map(|x| x * x).sum::<f64>() / numbers.len() as f64;
        let fourth = numbers.iter().map(|x| x.powi(4)).sum::<f64>() / numbers.len() as f64;
        assert!(mean.abs() < 2e-4 && (variance.sqrt() / 0.02 - 1.0).abs() < 0.01);
        assert!((fourth / variance.powi(2) - 3.0).abs() < 0.1);
        assert!(drawn("a", 3, 8) != drawn("b", 3, 8) && drawn("a", 3, 8) != drawn("a", 4, 8));
    }

    #[test]
    fn other_first_weights() {
        let numbers = values("a", &[100_000], Initial::Uniform(0.5), 1);
        let mean = numbers.iter().sum::<f32>() / 1e5;
        let square = numbers.iter().map(|x| x * x).sum::<f32>() / 1e5;
        assert!(mean.abs() < 5e-3 && (square * 12.0 - 1.0).abs() < 0.02);
        assert!(numbers.iter().all(|x| x.abs() <= 0.5));
        assert_eq!(values("a", &[2, 2, 2], Initial::Identity, 1), [1., 0., 0., 1., 1., 0., 0., 1.]);
        let rates = values("a", &[2, 3], Initial::Logarithms, 1);
        assert_eq!(rates, [1f64, 2., 3., 1., 2., 3.].map(|n| n.ln() as f32));
        let steps = values("a", &[10_000], Initial::TimeSteps(0.001, 0.1), 1);
        let mut steps: Vec<f64> = steps.iter().map(|x| f64::from(*x).exp().ln_1p()).collect();
        steps.sort_by(f64::total_cmp);
        assert!(steps[0] > 0.000_999 && steps[9_999] < 0.100_1);
        // The median of log-uniform numbers is the geometric mean of the limits.
        assert!((steps[5_000] / 0.01 - 1.0).abs() < 0.1);
    }
}
