//! What a checkpoint holds: a decoder with a cache, or a network with a recurrent state.

use std::path::Path;

use goldfish_audit::backend::BlockMemory;

use super::config::{DecoderConfig, TensorNames};
use super::decoder::Decoder;
use super::error::CheckpointError;
use super::families::{FAMILIES, RECURRENT_FAMILIES};
use super::family::ModelName;
use super::long::{LongDecoder, unsuited};
use super::recurrent::Recurrent;
use super::recurrent_family::RecurrentConfig;
use super::settings::Settings;
use super::vocabulary::Vocabulary;
use super::walk::Stateful;
use super::weights::GetTensor;

/// A network, without its weights.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one for each model")]
pub enum NetworkConfig {
    /// With a cache of keys and values.
    Decoder(DecoderConfig),
    /// With a state of constant size.
    Recurrent(RecurrentConfig),
}

impl NetworkConfig {
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
    /// Those of [`NetworkConfig::open`].
    pub fn from_value(path: &Path, settings: serde_json::Value) -> Result<Self, CheckpointError> {
        Self::from_settings(&Settings::of(path, settings)?)
    }

    fn from_settings(settings: &Settings) -> Result<Self, CheckpointError> {
        let names = || {
            let decoders = FAMILIES.iter().map(|family| family.name);
            decoders.chain(RECURRENT_FAMILIES.iter().map(|family| family.name))
        };
        let unsupported = |key: &str, mut known: Vec<&str>| {
            known.dedup();
            settings.unsupported(key, &format!("known are {}", known.join(", ")))
        };
        let text = |key: &str| settings.text(key)?.ok_or_else(|| settings.wrong(key, "is missing"));
        let model_type = text("model_type")?;
        let Some(name) = names().find(|name| name.model_type == model_type) else {
            return Err(unsupported("model_type", names().map(|name| name.model_type).collect()));
        };
        let mixer = name.mixer.map(|_| text("mixer")).transpose()?;
        let is_it = |name: ModelName| name.model_type == model_type && name.mixer == mixer;
        if let Some(family) = FAMILIES.iter().find(|family| is_it(family.name)) {
            return Ok(Self::Decoder(family.config(settings)?));
        }
        match RECURRENT_FAMILIES.iter().find(|family| is_it(family.name)) {
            Some(family) => Ok(Self::Recurrent(family.config(settings)?)),
            None => Err(unsupported("mixer", names().filter_map(|name| name.mixer).collect())),
        }
    }

    /// How its tensors are named and stored.
    pub(super) fn tensors(&self) -> &'static TensorNames {
        match self {
            Self::Decoder(config) => config.tensors,
            Self::Recurrent(config) => config.tensors,
        }
    }

    /// Whether the head is the table of embeddings.
    pub(super) fn tied(&self) -> bool {
        match self {
            Self::Decoder(config) => config.tied,
            Self::Recurrent(config) => config.tied,
        }
    }
}

impl DecoderConfig {
    /// Reads settings in memory; errors name them `path`.
    ///
    /// # Errors
    ///
    /// Those of [`NetworkConfig::open`], and if the model has a recurrent state.
    pub fn from_value(path: &Path, settings: serde_json::Value) -> Result<Self, CheckpointError> {
        let settings = Settings::of(path, settings)?;
        match NetworkConfig::from_settings(&settings)? {
            NetworkConfig::Decoder(config) => Ok(config),
            NetworkConfig::Recurrent(_) => {
                Err(settings.unsupported("model_type", "the model has no cache of keys and values"))
            }
        }
    }
}

/// A network with its weights.
#[derive(Debug)]
pub(super) enum Network {
    Decoder(Decoder),
    /// With a memory of blocks in place of all keys and values.
    Long(LongDecoder),
    Recurrent(Recurrent),
}

impl Network {
    /// A network with weights that `get` returns by name and shape.
    pub(super) fn new(
        config: NetworkConfig,
        get: &mut GetTensor<'_, CheckpointError>,
    ) -> Result<Self, CheckpointError> {
        Ok(match config {
            NetworkConfig::Decoder(config) => Self::Decoder(Decoder::new(config, get)?),
            NetworkConfig::Recurrent(config) => Self::Recurrent(Recurrent::new(config, get)?),
        })
    }

    pub(super) fn vocabulary(&self) -> &Vocabulary {
        match self {
            Self::Decoder(decoder) => decoder.vocabulary(),
            Self::Long(decoder) => decoder.vocabulary(),
            Self::Recurrent(recurrent) => recurrent.vocabulary(),
        }
    }

    /// Longest sequence in tokens, if there is a limit.
    pub(super) fn longest(&self) -> Option<usize> {
        match self {
            Self::Decoder(decoder) => decoder.config().longest(),
            Self::Long(_) | Self::Recurrent(_) => None,
        }
    }

    /// The network with a memory of blocks; errors call it `name`.
    pub(super) fn with_memory(self, memory: BlockMemory, name: &str) -> Result<Self, CheckpointError> {
        match self {
            Self::Decoder(decoder) => Ok(Self::Long(LongDecoder::new(decoder, memory, name)?)),
            Self::Long(_) | Self::Recurrent(_) => Err(CheckpointError::NoMemory {
                name: name.into(),
                reason: "its memory has a constant size already".into(),
            }),
        }
    }

    /// Whether a memory of blocks would read longer sequences.
    pub(super) fn can_have_memory(&self) -> bool {
        matches!(self, Self::Decoder(decoder) if unsuited(decoder.config()).is_none())
    }
}
