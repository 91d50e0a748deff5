//! Long short-term memory (Hochreiter and Schmidhuber 1997) in place of attention.

use super::lab;
use crate::architecture::ArchitectureKind;
use crate::layered;
use crate::mixers::Lstm;
use crate::parameter::Initial;
use crate::stack::LLAMA;

const NAME: &str = "lstm";

pub(super) static KIND: ArchitectureKind = ArchitectureKind {
    name: NAME,
    summary: "long short-term memory",
    sizes: &[],
    config: |options, vocabulary, context_length| {
        let mut config = lab::config(NAME, options, vocabulary, context_length)?;
        if let Some(settings) = config.as_object_mut() {
            settings.remove("num_attention_heads");
        }
        Ok(config)
    },
    recognizes: |config| lab::has_mixer(config, NAME),
    open: |config, deviation| {
        let width = config["hidden_size"].as_u64().unwrap_or(1).max(1) as f64;
        // As torch.nn.LSTM starts.
        let special = |name: &str| name.contains(".lstm.").then(|| Initial::Uniform(width.powf(-0.5)));
        layered::recurrent(config, deviation, &LLAMA, &|| Box::new(Lstm), &special)
    },
};
