//! LoRA adapters as PEFT saves them, merged onto the weights as they are read.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};

use super::error::CheckpointError;
use super::folder::TensorFiles;
use super::settings::Settings;

/// Largest rank.
pub const MAX_RANK: usize = 1 << 16;

/// Settings of adapters that are more than the product of two matrices added to a weight.
const REFUSED: [&str; 12] = [
    "use_dora",
    "lora_bias",
    "modules_to_save",
    "rank_pattern",
    "alpha_pattern",
    "layer_replication",
    "trainable_token_indices",
    "target_parameters",
    "megatron_config",
    "use_qalora",
    "alora_invocation_tokens",
    "arrow_config",
];

/// An adapter folder.
#[derive(Debug)]
pub(super) struct Adapter {
    config: PathBuf,
    files: TensorFiles,
    rank: usize,
    scale: f64,
    used: RefCell<BTreeSet<String>>,
}

impl Adapter {
    pub(super) fn open(folder: &Path) -> Result<Self, CheckpointError> {
        let config = folder.join("adapter_config.json");
        let settings = Settings::open(&config)?;
        let merge = "merge it onto the model with peft's merge_and_unload, and audit the merged folder";
        if settings.text("peft_type")? != Some("LORA") {
            return Err(settings.unsupported("peft_type", merge));
        }
        for key in REFUSED {
            settings.refuse(key, merge)?;
        }
        if settings.text("bias")?.is_some_and(|bias| bias != "none") {
            return Err(settings.unsupported("bias", merge));
        }
        // Some initializations change the model's own weights as well.
        let initialization = settings.get("init_lora_weights");
        if initialization.is_some_and(|how| !how.is_boolean() && how != "gaussian" && how != "eva") {
            return Err(settings.unsupported("init_lora_weights", merge));
        }
        let rank = settings.needed_count("r", MAX_RANK)?;
        let alpha =
            settings.number("lora_alpha")?.ok_or_else(|| settings.wrong("lora_alpha", "is missing"))?;
        let divisor = if settings.flag("use_rslora")? { (rank as f64).sqrt() } else { rank as f64 };
        let files = TensorFiles::open(folder, "adapter_model")?;
        Ok(Self { config, files, rank, scale: alpha / divisor, used: RefCell::default() })
    }

    /// Its files.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.config.as_path()).chain(self.files.paths())
    }

    /// A weight with the adapter merged onto it, in `f32`, or as it is if the adapter has nothing for it. `transposed`: it is stored `[inputs, outputs]`.
    pub(super) fn merge(
        &self,
        name: &str,
        weight: Tensor,
        transposed: bool,
    ) -> Result<Tensor, CheckpointError> {
        let Some(module) = name.strip_suffix(".weight") else { return Ok(weight) };
        let [down, up] = ["lora_A", "lora_B"].map(|part| format!("base_model.model.{module}.{part}.weight"));
        if self.files.shape(&down).is_none() && self.files.shape(&up).is_none() {
            return Ok(weight);
        }
        // The sum is not rounded to fewer bits.
        let weight = weight.to_dtype(DType::F32)?;
        let (rows, columns) = weight.dims2()?;
        let (inputs, outputs) = if transposed { (rows, columns) } else { (columns, rows) };
        let product = self
            .files
            .read(&up, &[outputs, self.rank])?
            .matmul(&self.files.read(&down, &[self.rank, inputs])?)?;
        self.used.borrow_mut().extend([down, up]);
        let product = if transposed { product.t()?.contiguous()? } else { product };
        Ok((weight + (product * self.scale)?)?)
    }

    /// Fails if it has tensors that were merged onto no weight.
    pub(super) fn finish(&self) -> Result<(), CheckpointError> {
        let used = self.used.borrow();
        match self.files.names().find(|name| !used.contains(*name)) {
            None => Ok(()),
            Some(name) => {
                let reason = "belongs to no linear layer of this model; the adapter was made for another model, or for embeddings or a tied head, which are not supported";
                Err(CheckpointError::tensor(self.files.path_of(name), name, reason))
            }
        }
    }
}
