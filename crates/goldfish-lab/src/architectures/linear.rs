//! Linear attention ([Katharopoulos et al. 2020](https://arxiv.org/abs/2006.16236)).

use super::lab;
use crate::architecture::ArchitectureKind;
use crate::layered;
use crate::mixers::Linear;
use crate::stack::LLAMA;

const NAME: &str = "linear";

pub(super) static KIND: ArchitectureKind = ArchitectureKind {
    name: NAME,
    summary: "linear attention with elu + 1 as features",
    sizes: &[],
    config: |options, vocabulary, context_length| lab::config(NAME, options, vocabulary, context_length),
    recognizes: |config| lab::has_mixer(config, NAME),
    open: |config, deviation| {
        let [heads, head_dim] = lab::heads(&config);
        layered::recurrent(config, deviation, &LLAMA, &|| Box::new(Linear { heads, head_dim }), &|_| None)
    },
};
