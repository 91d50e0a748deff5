//! What a new architecture takes: this file, and its lines in the list.

use candle_core::{Device, Result, Tensor, bail};
use serde_json::{Value, json};

use crate::architecture::{
    Architecture, ArchitectureKind, Batch, Generation, Initial, Model, Parameter, Vocabulary,
};

#[path = "../../tests/common/mod.rs"]
mod common;

pub(super) static KIND: ArchitectureKind = ArchitectureKind {
    name: "toy",
    summary: "the next token by the last one",
    build: |options, vocabulary, context_length| {
        let parameter = |name: &str| Parameter {
            name: name.into(),
            shape: vec![vocabulary.size, options.width],
            initial: Initial::Normal(options.initial_deviation),
            decays: true,
        };
        let parameters = ["last", "next"].map(parameter);
        Ok(Box::new(Toy { parameters, vocabulary: *vocabulary, context_length }))
    },
};

struct Toy {
    parameters: [Parameter; 2],
    vocabulary: Vocabulary,
    context_length: usize,
}

impl Architecture for Toy {
    fn config(&self) -> Value {
        json!({ "model_type": "toy" })
    }

    fn vocab_size(&self) -> usize {
        self.vocabulary.size
    }

    fn context_length(&self) -> usize {
        self.context_length
    }

    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn model(&self, weights: &[Tensor]) -> Result<Box<dyn Model>> {
        let [last, next] = weights else { bail!("{} weights", weights.len()) };
        Ok(Box::new(Bigram { last: last.clone(), next: next.clone() }))
    }

    fn generation(&self, weights: &[Tensor], _: usize) -> Result<Box<dyn Generation>> {
        let [last, next] = weights else { bail!("{} weights", weights.len()) };
        Ok(Box::new(Bigram { last: last.clone(), next: next.clone() }))
    }
}

struct Bigram {
    last: Tensor,
    next: Tensor,
}

impl Model for Bigram {
    fn hidden(&self, batch: &Batch) -> Result<Tensor> {
        self.last.index_select(&Tensor::new(batch.tokens.as_slice(), &Device::Cpu)?, 0)
    }

    fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        hidden.matmul(&self.next.t()?)
    }
}

impl Generation for Bigram {
    fn step(&mut self, token: u32) -> Result<Vec<f32>> {
        let batch = Batch { tokens: vec![token], lengths: vec![1] };
        self.logits(&self.hidden(&batch)?)?.flatten_all()?.to_vec1()
    }
}

#[test]
fn an_architecture_of_ones_own_is_trained_and_saved() {
    use std::ops::ControlFlow;

    use crate::events::TrainEvent;
    use crate::options::{Length, ModelOptions, TrainOptions};
    use crate::train::train;

    let folder = tempfile::tempdir().unwrap();
    let shards = folder.path().join("shards");
    common::write(&shards, &common::documents(&[40, 9, 30], 11));
    let options = TrainOptions {
        shards: vec![shards],
        vocab_size: Some(11),
        model: ModelOptions { architecture: "toy".into(), width: 8, ..ModelOptions::default() },
        length: Length::Epochs(20),
        ..TrainOptions::default()
    };
    let mut losses = Vec::new();
    let output = folder.path().join("model");
    let trained = train(&options, &output, false, &mut |event| {
        if let TrainEvent::Step(step) = event {
            losses.push(step.loss);
        }
        ControlFlow::Continue(())
    });
    assert_eq!(trained.unwrap().parameters, 2 * 11 * 8);
    assert!(losses.last() < losses.first(), "{losses:?}");
    let saved = std::fs::read(output.join("model.safetensors")).unwrap();
    let saved = safetensors::SafeTensors::deserialize(&saved).unwrap();
    assert_eq!(saved.tensor("next").unwrap().shape(), [11, 8]);
}
