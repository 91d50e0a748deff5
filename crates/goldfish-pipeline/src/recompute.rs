use std::path::Path;

use goldfish_mask::{Masker, Scope, SequenceMasker, SequenceState, TokenSpan, UniformTable, document_key};
use goldfish_shard::{MANIFEST_NAME, Manifest, Problem, ShardBatch, verify};
use goldfish_tokenize::Tokenizer;

use crate::PipelineError;
use crate::job_error::JobError;
use crate::text::ShardText;

/// Checks a folder as [`goldfish_shard::verify`] does, and decides every mask again from the ids and the
/// manifest's rule. `table` is needed where the rule was made with a table from a file, `tokenizer` where the
/// rule decides by the text.
///
/// # Errors
///
/// If the manifest can't be read, its rule can't be built, the tokenizer is needed and missing, or not the one
/// that the masks were made with, or can't tell the text of ids, or the system refuses to read a file.
pub fn recompute(
    folder: &Path,
    table: Option<&UniformTable>,
    tokenizer: Option<&Tokenizer>,
) -> Result<(Manifest, Vec<Problem>), PipelineError> {
    let manifest = Manifest::read(folder)?;
    let masker = Masker::new(manifest.rule.build(table)?, &manifest.exempt_ids);
    let shard_text = if masker.needs_text() { Some(shard_text(&manifest, tokenizer)?) } else { None };
    let (mut text, mut spans) = (String::new(), Vec::new());
    let mut sequences = match manifest.scope {
        Scope::Document => None,
        Scope::Sequence { length } => Some(SequenceMasker::new(&masker, length, SequenceState::default())?),
    };
    if sequences.is_some() {
        // Windows cross documents, so that every shard before a row has a say in its mask.
        let (manifest, mut problems) = verify(folder, &mut |_, _| None)?;
        if !problems.is_empty() {
            let problem =
                "masks not recomputed: in packed sequences they depend on all shards, and some have problems";
            problems.push(Problem { file: MANIFEST_NAME.into(), description: problem.into() });
            return Ok((manifest, problems));
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
        match (&mut sequences, &shard_text) {
            (Some(sequences), _) => sequences.decide_next(ids, &mut expected),
            (None, Some(shard_text)) => {
                if let Err(error) = shard_text.read(ids, &mut text, &mut spans) {
                    return Some(format!("its text can't be told from its ids: {error}"));
                }
                masker.decide(&TokenSpan::document(ids).with_text(&text, &spans), &mut expected);
            }
            (None, None) => {
                let key = document_key(batch.doc_ids().value(row));
                masker.decide(&TokenSpan::document(ids).with_key(key), &mut expected);
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

/// The text of the manifest's tokens.
fn shard_text(manifest: &Manifest, tokenizer: Option<&Tokenizer>) -> Result<ShardText, PipelineError> {
    let Some(tokenizer) = tokenizer else {
        let sha256 = manifest.tokenizer.as_ref().map(|entry| entry.sha256.clone());
        return Err(JobError::MasksNeedTokenizer { rule: manifest.rule.name().to_string(), sha256 }.into());
    };
    ShardText::new(manifest, tokenizer)
}
