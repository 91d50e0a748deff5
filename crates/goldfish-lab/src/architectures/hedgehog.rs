//! Linear attention with learned softmax features
//! ([Zhang et al. 2024, "The Hedgehog & the Porcupine"](https://arxiv.org/abs/2402.04347)).

use super::lab;
use crate::architecture::ArchitectureKind;
use crate::layered;
use crate::mixers::Hedgehog;
use crate::parameter::Initial;
use crate::stack::LLAMA;

const NAME: &str = "hedgehog";

pub(super) static KIND: ArchitectureKind = ArchitectureKind {
    name: NAME,
    summary: "linear attention with learned features",
    sizes: &[],
    config: |options, vocabulary, context_length| lab::config(NAME, options, vocabulary, context_length),
    recognizes: |config| lab::has_mixer(config, NAME),
    open: |config, deviation| {
        let [heads, head_dim] = lab::heads(&config);
        let special = |name: &str| name.ends_with("_features.weight").then_some(Initial::Identity);
        let mixer = || -> Box<dyn crate::stack::Mixer> { Box::new(Hedgehog { heads, head_dim }) };
        layered::recurrent(config, deviation, &LLAMA, &mixer, &special)
    },
};
