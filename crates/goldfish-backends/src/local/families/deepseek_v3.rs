//! DeepSeek V3 ([DeepSeek-AI 2024](https://arxiv.org/abs/2412.19437)) and Moonlight: attention through latents, and experts of which one is
//! every token's.

use crate::local::config::{
    DecoderConfig, LatentConfig, LogisticWeights, MAX_LAYERS, MAX_WIDTH, Positions, Weighting,
};
use crate::local::error::CheckpointError;
use crate::local::experts_config::{APART, MAX_EXPERTS, MIXTURE, experts};
use crate::local::family::{Family, Keys, ModelName};
use crate::local::rope::{Pairs, RotaryDefaults, rotary_settings};
use crate::local::settings::Settings;

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("deepseek_v3"),
    // What is read as a head is what rotates.
    keys: Keys { head_dim: Some("qk_rope_head_dim"), ..MIXTURE.keys },
    rotary: Some(RotaryDefaults { base: 1e4, fraction: 1.0, pairs: Pairs::Neighbours }),
    adjust,
    ..MIXTURE
};

fn adjust(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    latent(settings, config)?;
    let mut experts = experts(settings, config, "moe_intermediate_size", &APART)?;
    let shared = settings.whole("n_shared_experts", MAX_EXPERTS)?.unwrap_or(1);
    experts.shared_size = Some(shared * experts.intermediate_size).filter(|width| *width > 0);
    let dense = settings.whole("first_k_dense_replace", MAX_LAYERS)?.unwrap_or(3);
    experts.layers.iter_mut().take(dense).for_each(|has_experts| *has_experts = false);
    experts.weighting = weighting(settings, experts.count, experts.taken)?;
    config.experts = Some(experts);
    Ok(())
}

fn latent(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    if config.kv_heads != config.heads {
        return Err(settings.wrong("num_key_value_heads", "must be the number of heads"));
    }
    let needed = |key| settings.needed_count(key, MAX_WIDTH);
    let rotated = config.head_dim;
    config.head_dim = needed("qk_nope_head_dim")? + rotated;
    config.value_dim = needed("v_head_dim")?;
    let widest = config.head_dim.max(config.value_dim);
    if config.heads * widest > MAX_WIDTH {
        return Err(settings
            .wrong("qk_nope_head_dim", format!("makes heads of {widest} elements, which are too wide")));
    }
    config.latent = Some(LatentConfig {
        query_rank: settings.count("q_lora_rank", MAX_WIDTH)?,
        rank: needed("kv_lora_rank")?,
        rotated,
        biases: config.biases.attention_out,
    });
    if let Positions::Rotary(speeds) = &mut config.positions
        && !settings.flag_or("rope_interleave", true)?
    {
        speeds.iter_mut().for_each(|speeds| speeds.pairs = Pairs::Halves);
    }
    let scale = (config.head_dim as f64).powf(-0.5) * attention_factor(settings)?;
    config.layers.iter_mut().for_each(|layer| layer.scale = scale);
    Ok(())
}

/// YaRN's factor of the products of queries and keys.
fn attention_factor(settings: &Settings) -> Result<f64, CheckpointError> {
    let Some(rotary) = rotary_settings(settings)? else { return Ok(1.0) };
    let (Some(weight), Some(factor)) = (rotary.number("mscale_all_dim")?, rotary.positive("factor")?) else {
        return Ok(1.0);
    };
    Ok(if factor > 1.0 { (0.1 * weight * factor.ln() + 1.0).powi(2) } else { 1.0 })
}

fn weighting(settings: &Settings, count: usize, taken: usize) -> Result<Weighting, CheckpointError> {
    for (key, known) in [("scoring_func", "sigmoid"), ("topk_method", "noaux_tc")] {
        if settings.text(key)?.is_some_and(|value| value != known) {
            return Err(settings.unsupported(key, &format!("known is {known}")));
        }
    }
    if settings.count("moe_layer_freq", MAX_LAYERS)?.is_some_and(|frequency| frequency != 1) {
        return Err(settings.unsupported("moe_layer_freq", "known is 1"));
    }
    let groups = settings.needed_count("n_group", count)?;
    let groups_taken = settings.needed_count("topk_group", count)?;
    if !count.is_multiple_of(groups) || groups_taken > groups || taken > groups_taken * (count / groups) {
        let reason = format!("is {groups}; {groups_taken} of them don't have the {taken} experts of a token");
        return Err(settings.wrong("n_group", reason));
    }
    Ok(Weighting::Logistic(LogisticWeights {
        groups,
        groups_taken,
        sum_to_one: settings.flag_or("norm_topk_prob", true)?,
        factor: settings.positive("routed_scaling_factor")?.unwrap_or(2.5) as f32,
    }))
}
