//! Gradients against differences of losses, and the model against the one that audits run.

#![allow(clippy::unwrap_used, reason = "tests")]

use candle_core::{Device, Tensor};
use goldfish_lab::{
    ARCHITECTURES, Architecture, Batch, Initial, LoraOptions, ModelOptions, Parameter, Targets, Vocabulary,
    adapted, architecture, architecture_of, logits,
};

const VOCABULARY: usize = 37;

/// Architectures that differ in everything that the gradients see.
fn architectures() -> Vec<(&'static str, Box<dyn Architecture>)> {
    let small = ModelOptions {
        layers: 2,
        width: 24,
        heads: 4,
        mlp_width: Some(40),
        // Large, so that attention and gates are far from flat.
        initial_deviation: 0.3,
        ..ModelOptions::default()
    };
    let vocabulary = Vocabulary { size: VOCABULARY, bos_id: None, eos_id: Some(0) };
    let new = |options| architecture(&options, &vocabulary, 32).unwrap();
    let llama = new(small.clone());
    let mut windowed = llama.config();
    windowed["model_type"] = "mistral".into();
    windowed["sliding_window"] = 5.into();
    let shared = ModelOptions { kv_heads: Some(2), tied: true, heads: 6, ..small.clone() };
    let mut all: Vec<(&str, Box<dyn Architecture>)> =
        vec![("shared", new(shared)), ("window", architecture_of(windowed, 0.3).unwrap())];
    for kind in ARCHITECTURES {
        all.push((kind.name, new(ModelOptions { architecture: kind.name.into(), ..small.clone() })));
        let tied = ModelOptions { architecture: kind.name.into(), tied: true, ..small.clone() };
        all.push((kind.name, new(tied.clone())));
        let lora = LoraOptions { rank: 2, alpha: Some(3), targets: Vec::new() };
        let base = new(tied);
        let frozen = weights(&*base);
        all.push((kind.name, adapted(base, frozen, &lora).unwrap()));
    }
    all
}

/// Numbers from -1 to 1.
fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| draw()).collect()
}

fn weights(architecture: &dyn Architecture) -> Vec<Tensor> {
    let tensor = |(number, parameter): (usize, &Parameter)| {
        let noise = noise(parameter.shape.iter().product(), number as u64 + 1);
        let values: Vec<f32> = match parameter.initial {
            Initial::Constant(value) => noise.iter().map(|x| value + 0.3 * x).collect(),
            Initial::Normal(deviation) => noise.iter().map(|x| 1.7 * deviation as f32 * x).collect(),
            _ => noise,
        };
        Tensor::from_vec(values, parameter.shape.as_slice(), &Device::Cpu).unwrap()
    };
    architecture.parameters().iter().enumerate().map(tensor).collect()
}

/// Sequences of several lengths, of which some rows have targets.
fn batch() -> (Batch, Targets) {
    let lengths = vec![13, 1, 32, 6];
    let tokens = noise(52, 99).iter().map(|x| ((x + 1.0) * 18.0) as u32).collect();
    let rows: Vec<u32> = (0..52).filter(|row| row % 4 != 1).collect();
    let ids = rows.iter().map(|row| row * 7 % VOCABULARY as u32).collect();
    (Batch { tokens, lengths }, Targets { rows, ids })
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |most, x| most.max(x.abs()))
}

#[test]
fn gradients_are_what_losses_differ_by() {
    let (batch, targets) = batch();
    for (name, architecture) in architectures() {
        let weights = weights(&*architecture);
        let (_, gradients) = architecture.gradients(&weights, &batch, &targets).unwrap();
        for (number, (parameter, gradient)) in architecture.parameters().iter().zip(&gradients).enumerate() {
            let gradient = values(gradient);
            // Along the gradient with some noise: a direction in which the loss changes enough to be seen in single precision.
            let direction: Vec<f32> = gradient
                .iter()
                .zip(noise(gradient.len(), 7 + number as u64))
                .map(|(g, x)| g / largest(&gradient) + 0.2 * x)
                .collect();
            let expected: f64 =
                gradient.iter().zip(&direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
            let length = direction.iter().map(|d| d * d).sum::<f32>().sqrt();
            let loss_at = |step: f32| {
                let mut moved = weights.clone();
                let shape = parameter.shape.as_slice();
                let by: Vec<f32> = direction.iter().map(|d| step * d).collect();
                moved[number] =
                    (&weights[number] + Tensor::from_vec(by, shape, &Device::Cpu).unwrap()).unwrap();
                architecture.gradients(&moved, &batch, &targets).unwrap().0
            };
            let slope = |step: f32| (loss_at(step) - loss_at(-step)) / (2.0 * f64::from(step));
            // Richardson's extrapolation: the error of a slope falls with the square of the step.
            let found = (4.0 * slope(0.002 / length) - slope(0.004 / length)) / 3.0;
            assert!((found / expected - 1.0).abs() < 0.01, "{name} {}: {found} {expected}", parameter.name);
        }
    }
}

#[test]
fn the_model_is_the_one_that_audits_run() {
    let (batch, _) = batch();
    for (name, architecture) in architectures() {
        let weights = weights(&*architecture);
        let logits = logits(&*architecture, &weights, &batch).unwrap().to_vec2::<f32>().unwrap();
        let mut rows = batch.tokens.iter().zip(&logits);
        for length in &batch.lengths {
            let mut generation = architecture.generation(&weights, *length).unwrap();
            for (token, logits) in rows.by_ref().take(*length) {
                let step = generation.step(*token).unwrap();
                let difference: Vec<f32> = step.iter().zip(logits).map(|(a, b)| a - b).collect();
                assert!(largest(&difference) < 1e-5 * largest(logits).max(1.0), "{name}");
            }
            assert!(generation.step(0).is_err(), "no room is left");
        }
    }
}

#[test]
fn what_a_model_does_not_know_is_refused() {
    let architecture = &*architectures().remove(0).1;
    let weights = weights(architecture);
    let targets = |ids: &[u32]| Targets { rows: (0..ids.len() as u32).collect(), ids: ids.to_vec() };
    let batch =
        |tokens: &[u32], lengths: &[usize]| Batch { tokens: tokens.to_vec(), lengths: lengths.to_vec() };
    for (batch, targets) in [
        (batch(&[1, 40], &[2]), targets(&[1, 2])),
        (batch(&[1, 2], &[2]), targets(&[1, 37])),
        (batch(&[1, 2], &[3]), targets(&[1])),
        (batch(&[1, 2], &[2]), targets(&[])),
        (batch(&[1, 2], &[2]), targets(&[1, 2, 3])),
        (batch(&[1; 33], &[33]), targets(&[1])),
    ] {
        assert!(architecture.gradients(&weights, &batch, &targets).is_err());
    }
}
