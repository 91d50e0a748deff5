//! GPT-OSS ([OpenAI 2025](https://arxiv.org/abs/2508.10925)): a mixture of experts, a sink for each head, and windows in every other layer.

use super::gemma2::alternating;
use crate::local::config::{Activation, Biases, DecoderConfig, ExpertNames, StoredExperts, TensorNames};
use crate::local::error::CheckpointError;
use crate::local::experts_config::{MIXTURE, experts};
use crate::local::family::{Family, ModelName, WindowUse};
use crate::local::rope::{Pairs, RotaryDefaults, rotary_settings};
use crate::local::settings::Settings;

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("gpt_oss"),
    refused: &["compression_config", "is_encoder_decoder", "add_cross_attention"],
    norm_epsilon: 1e-5,
    biases: Biases { query_key_value: true, attention_out: true, ..MIXTURE.biases },
    rotary: Some(RotaryDefaults { base: 1.5e5, fraction: 1.0, pairs: Pairs::Halves }),
    window: WindowUse::Always,
    layer_kinds: |settings, count| alternating(settings, count, 2),
    tensors: TensorNames { sinks: Some("self_attn.sinks"), ..MIXTURE.tensors },
    adjust,
    ..MIXTURE
};

static EXPERTS: ExpertNames = ExpertNames {
    router: "mlp.router",
    correction: "",
    shared: "",
    stored: StoredExperts::Alternating,
    up: &["mlp.experts.gate_up_proj"],
    down: "mlp.experts.down_proj",
};

fn adjust(settings: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    if let Some(quantization) = settings.object("quantization_config")?
        && quantization.text("quant_method")? != Some("mxfp4")
    {
        return Err(quantization.unsupported("quant_method", "known is mxfp4"));
    }
    // Where they say nothing of it, the models still scale their rotation.
    if rotary_settings(settings)?.is_none() {
        return Err(settings.wrong("rope_parameters", "is missing"));
    }
    // `hidden_act` says less than the models do.
    config.activation = Activation::ClampedSwish {
        slope: settings.positive("swiglu_alpha")?.unwrap_or(1.702) as f32,
        limit: settings.positive("swiglu_limit")?.unwrap_or(7.0) as f32,
    };
    config.experts = Some(experts(settings, config, "intermediate_size", &EXPERTS)?);
    Ok(())
}
