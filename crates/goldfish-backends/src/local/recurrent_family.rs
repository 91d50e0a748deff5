//! Families of recurrent networks as data.

use std::sync::Arc;

use super::config::{Activation, MAX_LAYERS, MAX_VOCABULARY, MAX_WIDTH, TensorNames};
use super::error::CheckpointError;
use super::family::{BASE, ModelName, activation};
use super::mixer::MixerPlan;
use super::settings::Settings;

/// A recurrent network, without its weights: layers of a mixer and perhaps a gated MLP, each after an RMS norm.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "names of sizes")]
pub struct RecurrentConfig {
    pub(super) tensors: &'static TensorNames,
    pub(super) mixer: Arc<dyn MixerPlan>,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub layers: usize,
    /// Width of the MLPs, if there are any.
    pub intermediate_size: Option<usize>,
    /// Activation of the MLPs.
    pub activation: Activation,
    pub norm_epsilon: f64,
    /// Whether the head is the table of embeddings.
    pub tied: bool,
}

/// A family of recurrent networks.
pub(super) struct RecurrentFamily {
    pub(super) name: ModelName,
    /// The key of the norms' epsilon.
    pub(super) norm_epsilon: &'static str,
    /// Whether layers have an MLP.
    pub(super) mlp: bool,
    pub(super) tied: bool,
    /// What belongs to the mixers of decoders is not used.
    pub(super) tensors: TensorNames,
    /// Reads the settings of the mixers; the number is the hidden size.
    pub(super) mixer: ReadMixer,
}

/// Reads the settings of mixers.
type ReadMixer = fn(&Settings, usize) -> Result<Arc<dyn MixerPlan>, CheckpointError>;

/// Names and defaults of the lab's own models.
pub(super) const LAB: RecurrentFamily = RecurrentFamily {
    name: ModelName::of(""),
    norm_epsilon: "rms_norm_eps",
    mlp: true,
    tied: false,
    tensors: BASE.tensors,
    mixer: |settings, _| Err(settings.wrong("mixer", "is missing")),
};

impl RecurrentFamily {
    /// Reads the settings of a model of this family.
    pub(super) fn config(&'static self, settings: &Settings) -> Result<RecurrentConfig, CheckpointError> {
        for key in BASE.refused {
            settings.refuse(key, "save the model without it")?;
        }
        let hidden_size = settings.needed_count("hidden_size", MAX_WIDTH)?;
        let intermediate_size =
            self.mlp.then(|| settings.needed_count("intermediate_size", MAX_WIDTH)).transpose()?;
        Ok(RecurrentConfig {
            tensors: &self.tensors,
            mixer: (self.mixer)(settings, hidden_size)?,
            vocab_size: settings.needed_count("vocab_size", MAX_VOCABULARY)?,
            hidden_size,
            layers: settings.needed_count("num_hidden_layers", MAX_LAYERS)?,
            intermediate_size,
            activation: activation(settings, &["hidden_act"], Some(Activation::Silu))?,
            norm_epsilon: settings.positive(self.norm_epsilon)?.unwrap_or(1e-5),
            tied: settings.flag_or("tie_word_embeddings", self.tied)?,
        })
    }
}
