//! How many documents a model recites while it is trained.

use std::path::PathBuf;

use candle_core::{Tensor, bail};
use goldfish_shard::verify;

use crate::architecture::Architecture;
use crate::batch::Batch;
use crate::error::LabError;
use crate::ops::Select;
use crate::options::TrainOptions;
use crate::tape::Tape;

/// The first tokens of some documents: a prefix, which is given, and a suffix, which a model recites or not.
pub(crate) struct Recitation {
    probes: Vec<Vec<u32>>,
    /// Documents that are shorter.
    pub(crate) short: u64,
    /// The checksum of each folder's manifest.
    pub(crate) manifests: Vec<String>,
}

impl Recitation {
    /// Tokens of a prefix.
    const PREFIX: usize = TrainOptions::RECITED_PREFIX;
    /// Tokens of prefix and suffix.
    const ALL: usize = Self::PREFIX + TrainOptions::RECITED_SUFFIX;

    /// Reads every shard, and checks it against its manifest.
    pub(crate) fn read(folders: &[PathBuf], vocab_size: usize) -> Result<Self, LabError> {
        let mut found = Self { probes: Vec::new(), short: 0, manifests: Vec::new() };
        for folder in folders {
            let (manifest, faults) = verify(folder, &mut |batch, row| {
                let Some(ids) = batch.ids(row).get(..Self::ALL) else {
                    found.short += 1;
                    return None;
                };
                let known = |id: &i32| u32::try_from(*id).ok().filter(|id| (*id as usize) < vocab_size);
                match ids.iter().map(known).collect() {
                    Some(ids) => found.probes.push(ids),
                    None => {
                        let name = batch.doc_ids().value(row);
                        let reason = format!(
                            "document {name:?} has an id that is not in a vocabulary of {vocab_size}"
                        );
                        return Some(reason);
                    }
                }
                None
            })?;
            if let Some(fault) = faults.first() {
                return Err(LabError::folder(&folder.join(&fault.file), &fault.description));
            }
            found.manifests.push(manifest.checksum);
        }
        if let (true, Some(folder)) = (found.probes.is_empty(), folders.first()) {
            let reason =
                format!("has no document of {} tokens, and recitation is counted over so many", Self::ALL);
            return Err(LabError::folder(folder, reason));
        }
        Ok(found)
    }

    /// Documents that are asked for.
    pub(crate) fn documents(&self) -> u64 {
        self.probes.len() as u64
    }

    /// Documents whose suffix is the greedy continuation of their prefix: each of its tokens is the likeliest after the right ones before it.
    pub(crate) fn count(
        &self,
        architecture: &dyn Architecture,
        weights: &[Tensor],
        batch_size: usize,
    ) -> candle_core::Result<u64> {
        let mut recited = 0;
        for some in self.probes.chunks(batch_size) {
            let graph = architecture.graph(Tape::without_gradients(), weights)?;
            let inputs = Self::ALL - 1;
            let batch = Batch {
                tokens: some.iter().flat_map(|ids| &ids[..inputs]).copied().collect(),
                lengths: vec![inputs; some.len()],
            };
            let rows: Vec<u32> = (0..some.len())
                .flat_map(|number| (Self::PREFIX - 1..inputs).map(move |row| (number * inputs + row) as u32))
                .collect();
            let hidden = architecture.hidden(&graph, &batch)?;
            let hidden = graph.apply(Select(rows.into()), &[&hidden])?;
            let logits = architecture.logits(&graph, &hidden)?.tensor().to_vec2::<f32>()?;
            let suffixes = some.iter().map(|ids| &ids[Self::PREFIX..]);
            for (suffix, logits) in suffixes.zip(logits.chunks(TrainOptions::RECITED_SUFFIX)) {
                let mut right = true;
                for (token, logits) in suffix.iter().zip(logits) {
                    right &= likeliest(logits)? == *token;
                }
                recited += u64::from(right);
            }
        }
        Ok(recited)
    }
}

/// The id with the largest logit, the least of several.
fn likeliest(logits: &[f32]) -> candle_core::Result<u32> {
    let mut best: Option<(u32, f32)> = None;
    for (id, logit) in logits.iter().enumerate() {
        if best.is_none_or(|(_, most)| *logit > most) {
            best = Some((id as u32, *logit));
        }
    }
    match best {
        Some((id, _)) => Ok(id),
        None => bail!("no logits"),
    }
}
