//! Attention of one learned query a layer, computed as a recurrence
//! ([Feng et al. 2024, "Attention as an RNN"](https://arxiv.org/abs/2405.13956)).

use super::lab;
use crate::architecture::ArchitectureKind;
use crate::layered;
use crate::mixers::Aaren;
use crate::parameter::Initial;
use crate::stack::LLAMA;

const NAME: &str = "aaren";

pub(super) static KIND: ArchitectureKind = ArchitectureKind {
    name: NAME,
    summary: "attention of one learned query a layer, as a recurrence",
    sizes: &[],
    config: |options, vocabulary, context_length| lab::config(NAME, options, vocabulary, context_length),
    recognizes: |config| lab::has_mixer(config, NAME),
    open: |config, deviation| {
        let [heads, _] = lab::heads(&config);
        // A query of the size of normalized hidden states: what attention projects elsewhere.
        let special = |name: &str| name.ends_with("self_attn.query").then_some(Initial::Normal(1.0));
        layered::recurrent(config, deviation, &LLAMA, &|| Box::new(Aaren { heads }), &special)
    },
};
