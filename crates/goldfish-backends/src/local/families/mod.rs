//! The families of models, one file each.

mod aaren;
mod apertus;
mod bloom;
mod cohere;
mod cohere2;
mod deepseek_v3;
mod falcon;
mod gemma;
mod gemma2;
mod gemma3;
mod glm;
mod glm4;
mod gpt2;
mod gpt_neo;
mod gpt_neox;
mod gpt_oss;
mod gptj;
mod granite;
mod granitemoe;
mod hard_alibi;
mod hedgehog;
mod linear;
mod llama;
mod llama4;
mod lstm;
mod mamba;
mod mamba2;
mod mistral;
mod mixtral;
mod olmo;
mod olmo2;
mod olmo3;
mod olmoe;
mod opt;
mod phi;
mod phi3;
mod qwen2;
mod qwen3;
mod qwen3_moe;
mod smollm3;
mod stablelm;
mod starcoder2;
#[cfg(test)]
mod toy;

use super::family::Family;
use super::recurrent_family::RecurrentFamily;

/// Every family of decoders.
pub(super) static FAMILIES: &[&Family] = &[
    &llama::FAMILY,
    &mistral::FAMILY,
    &gpt2::FAMILY,
    &gpt_neox::FAMILY,
    &qwen2::FAMILY,
    &qwen3::FAMILY,
    &olmo2::FAMILY,
    &gemma::FAMILY,
    &gemma2::FAMILY,
    &gemma3::FAMILY,
    &phi::FAMILY,
    &phi3::FAMILY,
    &smollm3::FAMILY,
    &apertus::FAMILY,
    &gpt_neo::FAMILY,
    &gptj::FAMILY,
    &olmo::FAMILY,
    &olmo3::FAMILY,
    &opt::FAMILY,
    &falcon::FAMILY,
    &bloom::FAMILY,
    &stablelm::FAMILY,
    &starcoder2::FAMILY,
    &granite::FAMILY,
    &glm::FAMILY,
    &glm4::FAMILY,
    &cohere::FAMILY,
    &cohere2::FAMILY,
    &olmoe::FAMILY,
    &mixtral::FAMILY,
    &qwen3_moe::FAMILY,
    &granitemoe::FAMILY,
    &gpt_oss::FAMILY,
    &deepseek_v3::FAMILY,
    &llama4::FAMILY,
    &hard_alibi::FAMILY,
    #[cfg(test)]
    &toy::FAMILY,
];

/// Every family of recurrent networks.
pub(super) static RECURRENT_FAMILIES: &[&RecurrentFamily] =
    &[&aaren::FAMILY, &linear::FAMILY, &hedgehog::FAMILY, &lstm::FAMILY, &mamba::FAMILY, &mamba2::FAMILY];
