use std::path::Path;

use goldfish_mask::{Masker, Scope, SequenceMasker, SequenceState, Span, UniformTable, document_key};
use goldfish_shard::{Fault, MANIFEST_NAME, Manifest, ShardBatch, verify};

use crate::PipelineError;

/// Checks a folder as [`goldfish_shard::verify`] does, and decides every mask again from the ids and the
/// manifest's rule. `table` is needed where the rule was made with a table from a file.
///
/// # Errors
///
/// If the manifest can't be read, its rule can't be built, or the system refuses to read a file.
pub fn recompute(
    folder: &Path,
    table: Option<&UniformTable>,
) -> Result<(Manifest, Vec<Fault>), PipelineError> {
    let manifest = Manifest::read(folder)?;
    let masker = Masker::new(manifest.rule.build(table)?, &manifest.exempt_ids);
    let mut sequences = match manifest.scope {
        Scope::Document => None,
        Scope::Sequence { length } => Some(SequenceMasker::new(&masker, length, SequenceState::default())?),
    };
    if sequences.is_some() {
        // Windows cross documents, so that every shard before a row has a say in its mask.
        let (manifest, mut faults) = verify(folder, &mut |_, _| None)?;
        if !faults.is_empty() {
            let fault =
                "masks not recomputed: in packed sequences they depend on all shards, and some are faulty";
            faults.push(Fault { file: MANIFEST_NAME.into(), fault: fault.into() });
            return Ok((manifest, faults));
        }
    }
    let mut expected = Vec::new();
    let mut check_row = |batch: &ShardBatch, row: usize| {
        let stored = batch.ids(row);
        if let Some(position) = stored.iter().position(|&id| id < 0) {
            return Some(format!("the id {} at position {position} is negative", stored[position]));
        }
        let ids: &[u32] = bytemuck::cast_slice(stored);
        expected.clear();
        expected.resize(ids.len(), 0);
        match &mut sequences {
            Some(sequences) => sequences.decide_next(ids, &mut expected),
            None => {
                let key = document_key(batch.doc_ids().value(row));
                masker.decide(&Span::document(ids).with_key(key), &mut expected);
            }
        }
        let position = expected.iter().zip(batch.mask(row)).position(|(a, b)| a != b)?;
        Some(format!(
            "loss_mask is {} at position {position}, but the rule decides {}",
            batch.mask(row)[position],
            expected[position]
        ))
    };
    Ok(verify(folder, &mut check_row)?)
}
