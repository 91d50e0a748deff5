//! What a new architecture takes: this file, and its lines in the list.

use candle_core::{Result, Tensor, bail};
use serde_json::{Value, json};

use crate::architecture::{Architecture, ArchitectureKind, Generation};
use crate::batch::Batch;
use crate::graph::Graph;
use crate::ops::{Multiply, Select};
use crate::parameter::{Initial, Parameter};
use crate::tape::{Tape, Variable};

#[path = "../../tests/common/mod.rs"]
mod common;

pub(super) static KIND: ArchitectureKind = ArchitectureKind {
    name: "toy",
    summary: "the next token by the last one",
    sizes: &[],
    config: |options, vocabulary, _| {
        Ok(json!({ "model_type": "toy", "vocab_size": vocabulary.size, "width": options.width }))
    },
    recognizes: |config| config["model_type"] == "toy",
    open: |config, deviation| {
        let size = |name: &str| config[name].as_u64().unwrap_or_default() as usize;
        let parameter = |name: &str| Parameter {
            name: name.into(),
            shape: vec![size("vocab_size"), size("width")],
            initial: Initial::Normal(deviation),
            decays: true,
        };
        let parameters = ["last", "next"].map(parameter);
        Ok(Box::new(Toy { parameters, config }))
    },
};

struct Toy {
    parameters: [Parameter; 2],
    config: Value,
}

impl Architecture for Toy {
    fn config(&self) -> Value {
        self.config.clone()
    }

    fn vocab_size(&self) -> usize {
        self.parameters[0].shape[0]
    }

    fn context_length(&self) -> Option<usize> {
        None
    }

    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn hidden(&self, graph: &Graph, batch: &Batch) -> Result<Variable> {
        graph.apply(Select(batch.tokens.as_slice().into()), &[graph.weight("last")?])
    }

    fn logits(&self, graph: &Graph, hidden: &Variable) -> Result<Variable> {
        graph.apply(Multiply, &[hidden, graph.weight("next")?])
    }

    fn generation(&self, weights: &[Tensor], _: usize) -> Result<Box<dyn Generation>> {
        let graph = Graph::new(Tape::without_gradients(), &self.parameters, weights)?;
        let [last, next] = ["last", "next"].map(|name| graph.weight(name).map(|w| w.tensor().clone()));
        Ok(Box::new(Bigram { last: last?, next: next? }))
    }
}

struct Bigram {
    last: Tensor,
    next: Tensor,
}

impl Generation for Bigram {
    fn step(&mut self, token: u32) -> Result<Vec<f32>> {
        if token as usize >= self.last.dim(0)? {
            bail!("token {token} is not in the vocabulary");
        }
        let hidden = self.last.narrow(0, token as usize, 1)?;
        hidden.matmul(&self.next.t()?)?.flatten_all()?.to_vec1()
    }

    fn state_bytes(&self) -> usize {
        0
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
