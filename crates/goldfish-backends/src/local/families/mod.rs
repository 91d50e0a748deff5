//! The families of models, one file each.

mod gemma;
mod gemma2;
mod gemma3;
mod gpt2;
mod gpt_neox;
mod llama;
mod mistral;
mod olmo2;
mod phi;
mod phi3;
mod qwen2;
mod qwen3;
mod smollm3;
#[cfg(test)]
mod toy;

use std::path::Path;

use super::config::DecoderConfig;
use super::error::CheckpointError;
use super::family::Family;
use super::settings::Settings;

/// Every family.
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
    #[cfg(test)]
    &toy::FAMILY,
];

impl DecoderConfig {
    /// Reads a `config.json`.
    ///
    /// # Errors
    ///
    /// If it is not one, describes a model that is not supported, or sizes beyond the caps.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        Self::from_settings(&Settings::open(path)?)
    }

    /// Reads settings in memory; errors name them `path`.
    ///
    /// # Errors
    ///
    /// Those of [`DecoderConfig::open`].
    pub fn from_value(path: &Path, settings: serde_json::Value) -> Result<Self, CheckpointError> {
        Self::from_settings(&Settings::of(path, settings)?)
    }

    fn from_settings(settings: &Settings) -> Result<Self, CheckpointError> {
        let model_type =
            settings.text("model_type")?.ok_or_else(|| settings.wrong("model_type", "is missing"))?;
        match FAMILIES.iter().find(|family| family.model_type == model_type) {
            Some(family) => family.config(settings),
            None => {
                let known: Vec<&str> = FAMILIES.iter().map(|family| family.model_type).collect();
                Err(settings.unsupported("model_type", &format!("known are {}", known.join(", "))))
            }
        }
    }
}
