//! OLMoE ([Muennighoff et al. 2024](https://arxiv.org/abs/2409.02060)): a mixture of experts with norms of all queries and all keys together.

use super::olmo::clip;
use crate::local::config::{DecoderConfig, QkNorm, Weighting};
use crate::local::error::CheckpointError;
use crate::local::experts_config::{APART, MIXTURE, experts};
use crate::local::family::{Family, Keys, ModelName};
use crate::local::settings::Settings;

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("olmoe"),
    keys: Keys { head_dim: None, ..MIXTURE.keys },
    norm_epsilon: 1e-5,
    qk_norm: QkNorm::AllHeads,
    adjust,
    ..MIXTURE
};

fn adjust(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    clip(settings, config)?;
    let mut experts = experts(settings, config, "intermediate_size", &APART)?;
    if !settings.flag("norm_topk_prob")? {
        experts.weighting = Weighting::AmongAll;
    }
    config.experts = Some(experts);
    Ok(())
}
