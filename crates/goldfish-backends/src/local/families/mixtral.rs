//! Mixtral ([Jiang et al. 2024](https://arxiv.org/abs/2401.04088)): Mistral with a mixture of experts.

use crate::local::config::{DecoderConfig, ExpertNames, StoredExperts};
use crate::local::error::CheckpointError;
use crate::local::experts_config::{MIXTURE, experts};
use crate::local::family::{Family, Keys, ModelName, WindowUse};
use crate::local::rope::{Pairs, RotaryDefaults};
use crate::local::settings::Settings;

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("mixtral"),
    keys: Keys { attention_bias: None, ..MIXTURE.keys },
    norm_epsilon: 1e-5,
    rotary: Some(RotaryDefaults { base: 1e6, fraction: 1.0, pairs: Pairs::Halves }),
    window: WindowUse::Always,
    adjust,
    ..MIXTURE
};

static EXPERTS: ExpertNames = ExpertNames {
    router: "block_sparse_moe.gate",
    correction: "",
    shared: "",
    stored: StoredExperts::Apart("block_sparse_moe.experts"),
    up: &["w1", "w3"],
    down: "w2",
};

fn adjust(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    config.experts = Some(experts(settings, config, "intermediate_size", &EXPERTS)?);
    Ok(())
}
