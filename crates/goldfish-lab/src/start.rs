//! Checkpoints that training continues from.

use std::path::{Path, PathBuf};

use goldfish_backends::local::{MAX_SETTINGS_BYTES, TensorFiles};
use goldfish_digest::FileDigest;

use crate::architecture::Architecture;
use crate::architectures::architecture_of;
use crate::error::LabError;

/// A checkpoint's architecture and weights.
pub(crate) struct Start {
    pub(crate) architecture: Box<dyn Architecture>,
    /// All parameters one after the other, in their order.
    pub(crate) weights: Vec<f32>,
    /// A hash of its settings and weights.
    pub(crate) hash: String,
    /// The folder's `tokenizer.json`, if it has one.
    pub(crate) tokenizer: Option<PathBuf>,
}

impl Start {
    pub(crate) fn open(folder: &Path, initial_deviation: f64) -> Result<Self, LabError> {
        let path = folder.join("config.json");
        let config =
            goldfish_storage::read(&path, MAX_SETTINGS_BYTES).map_err(LabError::io(&path, "reading"))?;
        let parsed = serde_json::from_slice(&config)
            .map_err(|error| LabError::folder(&path, format!("is not JSON: {error}")))?;
        let architecture = architecture_of(parsed, initial_deviation)?;
        let files = TensorFiles::open(folder, "model")?;
        let mut weights = Vec::new();
        for parameter in architecture.parameters() {
            let tensor = files.read(&parameter.name, &parameter.shape)?;
            weights.extend(tensor.flatten_all()?.to_vec1::<f32>()?);
        }
        let mut bytes = config;
        bytes.extend(weights.iter().flat_map(|value| value.to_le_bytes()));
        let tokenizer = Some(folder.join("tokenizer.json")).filter(|path| path.is_file());
        Ok(Self { architecture, weights, hash: FileDigest::of(&bytes).hash, tokenizer })
    }
}
