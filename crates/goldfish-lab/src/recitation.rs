//! What a model recites while it is trained.

use std::path::PathBuf;

use goldfish_audit::backend::{Backend, Decoding, GenerateRequest};
use goldfish_audit::score::match_length::match_length;
use goldfish_audit::score::rouge_l::rouge_l;
use goldfish_backends::local::Checkpoint;

use crate::data::read_documents;
use crate::error::LabError;
use crate::options::RecitationOptions;

/// Prefixes that are continued at once.
const BATCH: usize = 32;

/// The first tokens of some documents: a prefix, which is given, and a suffix, which a model recites or not.
pub(crate) struct Recitation {
    prefix: usize,
    probes: Vec<Vec<u32>>,
    /// Documents that are shorter.
    pub(crate) short: u64,
    /// The checksum of each folder's manifest.
    pub(crate) manifests: Vec<String>,
}

/// What a model recites, decoding greedily.
pub(crate) struct Recited {
    /// Documents whose suffix is the continuation.
    pub(crate) documents: u64,
    /// Mean Rouge-L F1 of the continuations and the suffixes.
    pub(crate) rouge_l: f64,
    /// Mean number of tokens before the first that differs.
    pub(crate) match_length: f64,
}

impl Recitation {
    /// Reads every shard, and checks it against its manifest.
    pub(crate) fn read(
        folders: &[PathBuf],
        vocab_size: usize,
        size: &RecitationOptions,
    ) -> Result<Self, LabError> {
        let length = size.prefix + size.suffix;
        let mut found = Self { prefix: size.prefix, probes: Vec::new(), short: 0, manifests: Vec::new() };
        found.manifests = read_documents(folders, |ids, _| {
            let Some(ids) = ids.get(..length) else {
                found.short += 1;
                return None;
            };
            let known = |id: &i32| u32::try_from(*id).ok().filter(|id| (*id as usize) < vocab_size);
            match ids.iter().map(known).collect() {
                Some(ids) => found.probes.push(ids),
                None => return Some(format!("an id is not in a vocabulary of {vocab_size}")),
            }
            None
        })?;
        if let (true, Some(folder)) = (found.probes.is_empty(), folders.first()) {
            let reason =
                format!("has no document of {length} tokens, and recitation is counted over so many");
            return Err(LabError::folder(folder, reason));
        }
        Ok(found)
    }

    /// Documents that are asked for.
    pub(crate) fn len(&self) -> usize {
        self.probes.len()
    }

    pub(crate) fn prefix(&self, document: usize) -> &[u32] {
        &self.probes[document][..self.prefix]
    }

    pub(crate) fn suffix(&self, document: usize) -> &[u32] {
        &self.probes[document][self.prefix..]
    }

    /// Continues the prefixes of some documents by as many tokens as their suffixes have.
    pub(crate) fn continuations(
        &self,
        model: &Checkpoint,
        documents: &[usize],
        decoding: &Decoding,
    ) -> Result<Vec<Vec<u32>>, LabError> {
        let request = |document: &usize| GenerateRequest {
            prompt: self.prefix(*document),
            tokens: self.suffix(*document).len(),
        };
        let requests: Vec<_> = documents.iter().map(request).collect();
        Ok(model.generate(&requests, decoding)?.into_iter().map(|generated| generated.ids).collect())
    }

    /// What a model recites.
    pub(crate) fn recited(&self, model: &Checkpoint) -> Result<Recited, LabError> {
        let numbers: Vec<usize> = (0..self.len()).collect();
        let mut found = Recited { documents: 0, rouge_l: 0.0, match_length: 0.0 };
        for some in numbers.chunks(BATCH) {
            let continued = self.continuations(model, some, &Decoding::Greedy)?;
            for (document, continuation) in some.iter().zip(continued) {
                let suffix = self.suffix(*document);
                found.documents += u64::from(continuation == suffix);
                found.rouge_l += rouge_l(&continuation, suffix).f1;
                found.match_length += match_length(&continuation, suffix) as f64;
            }
        }
        found.rouge_l /= self.len() as f64;
        found.match_length /= self.len() as f64;
        Ok(found)
    }
}
