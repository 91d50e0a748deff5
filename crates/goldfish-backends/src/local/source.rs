//! The tensors of a network, from the files of a checkpoint and an adapter.

use std::cell::RefCell;
use std::collections::BTreeSet;

use candle_core::Tensor;

use super::adapter::Adapter;
use super::config::TensorNames;
use super::error::CheckpointError;
use super::folder::TensorFiles;
use super::network::{Network, NetworkConfig};

/// Files and an adapter.
pub(super) struct Source<'a> {
    files: &'a TensorFiles,
    adapter: Option<&'a Adapter>,
    used: RefCell<BTreeSet<String>>,
}

impl<'a> Source<'a> {
    pub(super) fn new(files: &'a TensorFiles, adapter: Option<&'a Adapter>) -> Self {
        Self { files, adapter, used: RefCell::default() }
    }

    /// The network of these settings, which uses every tensor of the files.
    pub(super) fn network(&self, config: NetworkConfig) -> Result<Network, CheckpointError> {
        // What an adapter is merged onto is kept in `f32`.
        let needed = match self.adapter {
            Some(_) => self.files.elements().saturating_mul(4),
            None => self.files.bytes(),
        };
        if let Some(available) = memory().filter(|memory| needed > *memory) {
            let path = self.files.folder().to_owned();
            return Err(CheckpointError::TooLittleMemory { path, needed, available });
        }
        let (tied, names) = (config.tied(), config.tensors());
        let network = Network::new(config, &mut |name, shape| self.get(name, shape, names))?;
        let used = self.used.borrow();
        let ignored = |name: &str| {
            let tied_head = tied && name.strip_suffix(".weight") == Some(names.head);
            tied_head || names.ignored.iter().any(|end| name.ends_with(end))
        };
        if let Some(name) = self.files.names().find(|name| !used.contains(*name) && !ignored(name)) {
            let reason = "is not a tensor of this family; the checkpoint is of another model, quantized or has an adapter inside";
            return Err(CheckpointError::tensor(self.files.path_of(name), name, reason));
        }
        if let Some(adapter) = self.adapter {
            adapter.finish()?;
        }
        Ok(network)
    }

    /// A tensor by its full name, or without the model's, as the bare network is saved.
    fn get(&self, name: &str, shape: &[usize], names: &TensorNames) -> Result<Tensor, CheckpointError> {
        let bare = name.split_once('.').map_or(name, |(_, rest)| rest);
        let stored = |name: &str| self.files.shape(name).is_some() || self.files.mxfp4_names(name).is_some();
        let stored = if !stored(name) && stored(bare) { bare } else { name };
        if let Some(names) = self.files.mxfp4_names(stored) {
            let tensor = self.files.read_mxfp4(&names, shape);
            self.used.borrow_mut().extend(names);
            return tensor;
        }
        self.used.borrow_mut().insert(stored.to_owned());
        let tensor = self.files.read_stored(stored, shape)?;
        match self.adapter {
            Some(adapter) => adapter.merge(name, tensor, names.is_transposed(name)),
            None => Ok(tensor),
        }
    }
}

/// Bytes of memory of this machine, swap included, if known.
fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib = |key| {
        text.lines()
            .find_map(|line: &str| line.strip_prefix(key)?.trim().split(' ').next()?.parse::<u64>().ok())
    };
    Some((kib("MemTotal:")? + kib("SwapTotal:").unwrap_or(0)) * 1024)
}
