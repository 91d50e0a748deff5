//! Gemma.

use crate::local::config::{Activation, DecoderConfig, NormKind};
use crate::local::error::CheckpointError;
use crate::local::family::{BASE, Family, Keys, ModelName};
use crate::local::settings::Settings;

pub(super) static FAMILY: Family = Family {
    name: ModelName::of("gemma"),
    keys: Keys { activation: &["hidden_activation", "hidden_act"], ..BASE.keys },
    norm: NormKind::RmsMinusOne,
    activation: Some(Activation::GeluTanh),
    tied: true,
    adjust,
    ..BASE
};

fn adjust(_: &Settings, config: &mut DecoderConfig) -> Result<(), CheckpointError> {
    // The first files say "gelu" and were trained with the approximation.
    if config.activation == Activation::Gelu {
        config.activation = Activation::GeluTanh;
    }
    scale_embeddings(config);
    Ok(())
}

/// Embeddings are multiplied with the root of their width.
pub(super) fn scale_embeddings(config: &mut DecoderConfig) {
    config.embedding_scale = Some((config.hidden_size as f64).sqrt());
}
