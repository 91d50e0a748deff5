//! The families of models, one file each.

mod aaren;
mod gemma;
mod gemma2;
mod gemma3;
mod gpt2;
mod gpt_neox;
mod hard_alibi;
mod hedgehog;
mod linear;
mod llama;
mod lstm;
mod mamba;
mod mistral;
mod olmo2;
mod phi;
mod phi3;
mod qwen2;
mod qwen3;
mod smollm3;
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
    &hard_alibi::FAMILY,
    #[cfg(test)]
    &toy::FAMILY,
];

/// Every family of recurrent networks.
pub(super) static RECURRENT_FAMILIES: &[&RecurrentFamily] =
    &[&aaren::FAMILY, &linear::FAMILY, &hedgehog::FAMILY, &lstm::FAMILY, &mamba::FAMILY];
