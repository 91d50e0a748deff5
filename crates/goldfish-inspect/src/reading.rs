//! The first step: shards are read in order, in groups of batches that keep all threads busy.

use std::iter::Peekable;
use std::path::Path;

use goldfish_mask::{Masker, Scope, SequenceMasker, SequenceState};
use goldfish_shard::Manifest;

use crate::error::InspectError;
use crate::shards::{Batch, batches};

/// Tokens of a group for each thread, about.
const TOKENS: usize = 1 << 17;

/// Reads the shards of a folder.
pub(crate) struct Reading<'a> {
    batches: Peekable<Box<dyn Iterator<Item = Result<Batch, InspectError>> + Send + 'a>>,
    sequences: Option<SequenceMasker<'a>>,
}

/// A batch that was read, with what depends on all documents before it.
pub(crate) struct Read {
    pub(crate) batch: Batch,
    /// For each document of packed sequences a byte a token: 0 if the rule decides it.
    pub(crate) reached: Option<Vec<Vec<u8>>>,
}

impl Read {
    /// How many documents it has.
    pub(crate) fn len(&self) -> usize {
        self.batch.rows.len()
    }
}

impl<'a> Reading<'a> {
    /// `reach` tells which tokens of a sequence the rule decides.
    pub(crate) fn new(
        folder: &'a Path,
        manifest: &'a Manifest,
        reach: &'a Masker,
    ) -> Result<Self, InspectError> {
        let batches: Box<dyn Iterator<Item = _> + Send + 'a> = Box::new(batches(folder, manifest));
        let sequences = match manifest.scope {
            Scope::Document => None,
            Scope::Sequence { length } => Some(SequenceMasker::new(reach, length, SequenceState::default())?),
        };
        Ok(Self { batches: batches.peekable(), sequences })
    }

    /// The next batches; none at the end.
    pub(crate) fn next_group(&mut self) -> Result<Vec<Read>, InspectError> {
        let enough = TOKENS * rayon::current_num_threads();
        let (mut group, mut tokens) = (Vec::new(), 0);
        while tokens < enough {
            // Errors are reported in the order of the batches.
            let Some(batch) = self.batches.next_if(|batch| batch.is_ok() || group.is_empty()) else { break };
            let batch = batch?;
            tokens += (0..batch.rows.len()).map(|row| batch.rows.ids(row).len()).sum::<usize>();
            let reached = self.sequences.as_mut().map(|sequences| reached(sequences, &batch)).transpose()?;
            group.push(Read { batch, reached });
        }
        Ok(group)
    }
}

fn reached(sequences: &mut SequenceMasker<'_>, batch: &Batch) -> Result<Vec<Vec<u8>>, InspectError> {
    let decide = |row| {
        let (ids, _) = batch.row(row)?;
        let mut decided = vec![0; ids.len()];
        sequences.decide_next(ids, &mut decided);
        Ok(decided)
    };
    (0..batch.rows.len()).map(decide).collect()
}
