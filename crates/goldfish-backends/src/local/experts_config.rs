//! How the settings of a mixture of experts are read.

use super::config::{DecoderConfig, ExpertNames, ExpertsConfig, MAX_WIDTH, StoredExperts, Weighting};
use super::error::CheckpointError;
use super::family::{BASE, Family, first_set};
use super::settings::Settings;

/// Most experts of a layer.
pub const MAX_EXPERTS: usize = 4096;

/// What families with experts differ from.
pub(super) const MIXTURE: Family = Family {
    refused: &["quantization_config", "compression_config", "is_encoder_decoder", "add_cross_attention"],
    ..BASE
};

/// Experts whose tensors are named as those of an MLP.
pub(super) static APART: ExpertNames = ExpertNames {
    router: "mlp.gate",
    correction: "e_score_correction_bias",
    shared: "mlp.shared_experts",
    stored: StoredExperts::Apart("mlp.experts"),
    up: &["gate_proj", "up_proj"],
    down: "down_proj",
};

/// Experts in every layer, of which a token takes `num_experts_per_tok`, weighted among these.
pub(super) fn experts(
    settings: &Settings,
    config: &DecoderConfig,
    width_key: &str,
    tensors: &'static ExpertNames,
) -> Result<ExpertsConfig, CheckpointError> {
    let count_key = first_set(settings, &["num_experts", "num_local_experts", "n_routed_experts"]);
    let count = settings.needed_count(count_key, MAX_EXPERTS)?;
    let taken_key = "num_experts_per_tok";
    let taken = settings.needed_count(taken_key, MAX_EXPERTS)?;
    if taken > count {
        return Err(settings.wrong(taken_key, format!("is {taken}, and there are {count} experts")));
    }
    Ok(ExpertsConfig {
        tensors,
        count,
        taken,
        intermediate_size: settings.needed_count(width_key, MAX_WIDTH)?,
        shared_size: None,
        weighting: Weighting::AmongChosen,
        layers: vec![true; config.layers.len()],
    })
}

/// Sets whether the layers that a setting lists have experts.
pub(super) fn mark(
    settings: &Settings,
    key: &str,
    listed: &[f64],
    layers: &mut [bool],
    value: bool,
) -> Result<(), CheckpointError> {
    for layer in listed {
        let index = *layer as usize;
        match layers.get_mut(index) {
            Some(has_experts) if index as f64 == *layer => *has_experts = value,
            _ => return Err(settings.wrong(key, format!("has {layer}, which is no layer"))),
        }
    }
    Ok(())
}
