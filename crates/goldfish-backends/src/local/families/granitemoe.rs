//! Granite with mixtures of experts ([2024](https://github.com/ibm-granite/granite-3.0-language-models)).

use super::granite::{self, GRANITE};
use crate::local::config::{DecoderConfig, ExpertNames, StoredExperts};
use crate::local::error::CheckpointError;
use crate::local::experts_config::{MIXTURE, experts};
use crate::local::family::{Family, Keys, ModelName};
use crate::local::settings::Settings;

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("granitemoe"),
    keys: Keys { mlp_bias: None, ..GRANITE.keys },
    refused: MIXTURE.refused,
    adjust,
    ..GRANITE
};

static EXPERTS: ExpertNames = ExpertNames {
    router: "block_sparse_moe.router.layer",
    correction: "",
    shared: "",
    stored: StoredExperts::Joined,
    up: &["block_sparse_moe.input_linear"],
    down: "block_sparse_moe.output_linear",
};

fn adjust(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    granite::adjust(settings, config)?;
    config.experts = Some(experts(settings, config, "intermediate_size", &EXPERTS)?);
    Ok(())
}
