//! Documents with their masks, cut into sequences.

use std::ops::Range;
use std::path::PathBuf;

use goldfish_shard::verify;
use rand_mt::Mt64;

use crate::batch::{Batch, Targets};
use crate::draw::below;
use crate::error::LabError;
use crate::options::Documents;
use crate::selection::selected;

/// The documents of some folders of shards, in memory: five bytes a token.
#[derive(Default)]
pub(crate) struct Corpus {
    tokens: Vec<u32>,
    /// 0 for a token that is excluded from the loss.
    mask: Vec<u8>,
    /// Inputs of each sequence; the target of an input is the next token.
    sequences: Vec<Range<usize>>,
    documents: Vec<Document>,
    /// Tokens of the documents.
    pub(crate) length: u64,
    /// Supervised tokens.
    pub(crate) supervised: u64,
    /// The checksum of each folder's manifest.
    pub(crate) manifests: Vec<String>,
}

/// What is in a document.
struct Document {
    tokens: u64,
    supervised: u64,
    /// Numbers of its sequences.
    sequences: Range<usize>,
}

/// Some sequences with their targets.
#[derive(Default)]
pub(crate) struct Supervised {
    pub(crate) batch: Batch,
    pub(crate) targets: Targets,
}

impl Corpus {
    /// Reads every shard, and checks it against its manifest.
    pub(crate) fn read(
        folders: &[PathBuf],
        vocab_size: usize,
        use_mask: bool,
        sequence_length: usize,
    ) -> Result<Self, LabError> {
        let mut corpus = Self::default();
        corpus.manifests = read_documents(folders, |ids, mask| {
            corpus.add(ids, mask, [vocab_size, sequence_length], use_mask)
        })?;
        if corpus.sequences.is_empty() {
            let folder = folders.first().cloned().unwrap_or_default();
            return Err(LabError::folder(&folder, "has no supervised token"));
        }
        Ok(corpus)
    }

    fn add(
        &mut self,
        ids: &[i32],
        mask: &[u8],
        [vocab_size, sequence_length]: [usize; 2],
        use_mask: bool,
    ) -> Option<String> {
        if mask.len() != ids.len() {
            return Some(format!("{} tokens, but {} mask values", ids.len(), mask.len()));
        }
        let start = self.tokens.len();
        for (position, id) in ids.iter().enumerate() {
            match u32::try_from(*id) {
                Ok(id) if (id as usize) < vocab_size => self.tokens.push(id),
                _ => {
                    // The rows after this one are still checked.
                    self.tokens.truncate(start);
                    return Some(format!(
                        "token id {id} at position {position} is not in a vocabulary of {vocab_size}"
                    ));
                }
            }
        }
        self.mask.extend(mask.iter().map(|kept| u8::from(!use_mask || *kept != 0)));
        let (first_sequence, before) = (self.sequences.len(), self.supervised);
        let last = self.tokens.len().saturating_sub(1);
        for first in (start..last).step_by(sequence_length) {
            let inputs = first..(first + sequence_length).min(last);
            let targets = &self.mask[inputs.start + 1..=inputs.end];
            let supervised = targets.iter().map(|kept| u64::from(*kept)).sum::<u64>();
            // A sequence without supervised tokens is left out.
            if supervised > 0 {
                self.sequences.push(inputs);
                self.supervised += supervised;
            }
        }
        self.length += ids.len() as u64;
        self.documents.push(Document {
            tokens: ids.len() as u64,
            supervised: self.supervised - before,
            sequences: first_sequence..self.sequences.len(),
        });
        None
    }

    /// The numbers of some documents, ascending.
    ///
    /// # Errors
    ///
    /// Those of [`selected`].
    pub(crate) fn selected(&self, documents: Documents, seed: u64) -> Result<Vec<usize>, LabError> {
        let supervised: Vec<u64> = self.documents.iter().map(|document| document.supervised).collect();
        selected(&supervised, documents, seed)
    }

    /// Keeps only the sequences of some documents.
    ///
    /// # Errors
    ///
    /// Those of [`selected`].
    pub(crate) fn select(&mut self, documents: Documents, seed: u64) -> Result<(), LabError> {
        if documents == Documents::All {
            return Ok(());
        }
        let (mut sequences, mut length, mut kept) = (Vec::new(), 0, 0);
        for number in self.selected(documents, seed)? {
            let document = &self.documents[number];
            sequences.extend_from_slice(&self.sequences[document.sequences.clone()]);
            length += document.tokens;
            kept += document.supervised;
        }
        (self.sequences, self.length, self.supervised) = (sequences, length, kept);
        self.documents.clear();
        Ok(())
    }

    pub(crate) fn sequences(&self) -> usize {
        self.sequences.len()
    }

    /// A batch of some sequences.
    pub(crate) fn supervised(&self, numbers: impl Iterator<Item = usize>) -> Supervised {
        let mut found = Supervised::default();
        for number in numbers {
            let inputs = self.sequences[number].clone();
            for index in inputs.clone() {
                if self.mask[index + 1] == 1 {
                    found.targets.rows.push(found.batch.tokens.len() as u32);
                    found.targets.ids.push(self.tokens[index + 1]);
                }
                found.batch.tokens.push(self.tokens[index]);
            }
            found.batch.lengths.push(inputs.len());
        }
        found
    }
}

/// Reads every document of some folders, its ids and its mask, and checks every shard against its manifest. `read` says what is wrong
/// with a document. Returns the checksum of each folder's manifest.
pub(crate) fn read_documents(
    folders: &[PathBuf],
    mut read: impl FnMut(&[i32], &[u8]) -> Option<String>,
) -> Result<Vec<String>, LabError> {
    let mut manifests = Vec::with_capacity(folders.len());
    for folder in folders {
        let (manifest, faults) = verify(folder, &mut |batch, row| {
            let reason = read(batch.ids(row), batch.mask(row))?;
            Some(format!("document {:?}: {reason}", batch.doc_ids().value(row)))
        })?;
        if let Some(fault) = faults.first() {
            return Err(LabError::folder(&folder.join(&fault.file), &fault.description));
        }
        manifests.push(manifest.checksum);
    }
    Ok(manifests)
}

impl Supervised {
    /// Adds a sequence whose targets are the tokens of a continuation, which has some; returns their numbers among all targets.
    pub(crate) fn append(&mut self, prefix: &[u32], continuation: &[u32]) -> Range<usize> {
        let first = self.targets.ids.len();
        let start = self.batch.tokens.len();
        let inputs = prefix.iter().chain(&continuation[..continuation.len() - 1]);
        self.batch.tokens.extend(inputs);
        let end = self.batch.tokens.len();
        self.batch.lengths.push(end - start);
        self.targets.rows.extend((end - continuation.len()) as u32..end as u32);
        self.targets.ids.extend(continuation);
        first..self.targets.ids.len()
    }

    /// Adds other sequences.
    pub(crate) fn extend(&mut self, other: &Self) {
        let start = self.batch.tokens.len() as u32;
        self.batch.tokens.extend(&other.batch.tokens);
        self.batch.lengths.extend(&other.batch.lengths);
        self.targets.rows.extend(other.targets.rows.iter().map(|row| start + row));
        self.targets.ids.extend(&other.targets.ids);
    }
}

/// The order of the sequences: all of them in every epoch, shuffled again.
pub(crate) struct Order {
    sequences: usize,
    seed: u64,
    epoch: Option<u64>,
    shuffled: Vec<u32>,
}

impl Order {
    pub(crate) fn new(sequences: usize, seed: u64) -> Self {
        Self { sequences, seed, epoch: None, shuffled: Vec::new() }
    }

    /// The sequence at a position, counted over all epochs.
    pub(crate) fn at(&mut self, position: u64) -> usize {
        let (epoch, within) = (position / self.sequences as u64, position % self.sequences as u64);
        if self.epoch != Some(epoch) {
            self.epoch = Some(epoch);
            self.shuffled = (0..self.sequences as u32).collect();
            // Adjacent seeds and epochs must not have the same stream.
            let mut random = Mt64::new_with_key([self.seed, epoch, ORDER_STREAM]);
            for last in (1..self.sequences).rev() {
                let other = below(&mut random, last as u64 + 1);
                self.shuffled.swap(last, other as usize);
            }
        }
        self.shuffled[within as usize] as usize
    }
}

/// Distinguishes the random numbers of the order from those of the initial weights.
const ORDER_STREAM: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_after_one_with_a_bad_id_are_still_checked() {
        let mut corpus = Corpus::default();
        let mut add = |ids: &[i32]| corpus.add(ids, &vec![1; ids.len()], [100, 4], true);
        assert_eq!(add(&[1, 2, 3, 4, 5]), None);
        assert!(add(&[6, 7, 8, 9, -1]).is_some_and(|reason| reason.contains("-1 at position 4")));
        assert!(add(&[1, 100]).is_some());
        assert_eq!(add(&[6, 7, 8]), None);
        assert_eq!((corpus.tokens.len(), corpus.mask.len()), (8, 8));
    }
}
