//! What a policy would do, by the first documents of some inputs.

use goldfish_corpus::{BatchContent, Input, Part, ReadOptions, check_columns_exist};

use super::Policy;
use crate::PipelineError;

/// Documents that an entry would decide.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SampledEntry {
    /// How many.
    pub documents: u64,
    /// Their bytes of text, or their tokens.
    pub size: u64,
    /// The ids of the first ones.
    pub examples: Vec<String>,
}

/// Ids of documents that an entry lists.
const EXAMPLES: usize = 3;

impl Policy {
    /// Looks at the first documents of inputs, about `documents` in all, and gives for each entry those that it would decide, and
    /// how many rows are no documents.
    ///
    /// # Errors
    ///
    /// If an input can't be read, or a column of a condition is in none of them.
    pub fn sample(
        &self,
        inputs: &[Input],
        read: &ReadOptions,
        documents: u64,
    ) -> Result<(Vec<SampledEntry>, u64), PipelineError> {
        check_columns_exist(inputs, read)?;
        let mut entries = vec![SampledEntry::default(); self.entries().len()];
        let mut rejected = 0;
        let each = documents.div_ceil(inputs.len().max(1) as u64).max(1);
        for input in inputs {
            let mut source = input.open(read, Part::WHOLE)?;
            let mut left = each as usize;
            while left > 0
                && let Some(chunk) = source.next_chunk()?
            {
                let batch = chunk.documents(read)?;
                rejected += batch.rejects.len() as u64;
                let taken = batch.len().min(left);
                left -= taken;
                for row in 0..taken {
                    let doc_id = batch.doc_ids.value(row);
                    let entry = &mut entries[self.choose(&input.name, doc_id, &batch.conditions, row)];
                    entry.documents += 1;
                    entry.size += match &batch.content {
                        BatchContent::Text(text) => text.value(row).len() as u64,
                        BatchContent::Ids { offsets, .. } => (offsets[row + 1] - offsets[row]) as u64,
                    };
                    if entry.examples.len() < EXAMPLES {
                        entry.examples.push(doc_id.to_owned());
                    }
                }
            }
        }
        Ok((entries, rejected))
    }
}
