use std::path::Path;

use goldfish_mask::{
    Coverage, Masker, Scope, SequenceMasker, SequenceState, TokenSpan, UniformTable, document_key,
};
use goldfish_shard::{DecidedRun, KeptCounter, MANIFEST_NAME, Manifest, Problem, ShardBatch, verify};
use goldfish_tokenize::Tokenizer;

use crate::PipelineError;
use crate::job_error::JobError;
use crate::kept::longest_in_sequences;
use crate::text::ShardText;

/// Checks a folder as [`goldfish_shard::verify`] does, and decides every mask again from the ids and the
/// manifest's rule; where there was an existing mask too, only what the rule drops is checked. `table` is needed where the rule was made with a table from a file, `tokenizer` where the
/// rule decides by the text.
///
/// # Errors
///
/// If the manifest can't be read, its rule can't be built, the tokenizer is needed and missing, or not the one
/// that the masks were made with, or can't decode the ids to text, or the system refuses to read a file.
pub fn recompute(
    folder: &Path,
    table: Option<&UniformTable>,
    tokenizer: Option<&Tokenizer>,
) -> Result<(Manifest, Vec<Problem>), PipelineError> {
    let manifest = Manifest::read(folder)?;
    let masker = Masker::new(manifest.rule.build(table)?, &manifest.exempt_ids);
    let shard_text = if masker.needs_text() { Some(shard_text(&manifest, tokenizer)?) } else { None };
    let (mut text, mut spans) = (String::new(), Vec::new());
    let definition = manifest.rule.definition();
    let (unit, bound) = (definition.run_unit(), definition.longest_run());
    let reach = Masker::new(manifest.rule.build_coverage(Coverage::Decided)?, &manifest.exempt_ids);
    let mut sequences = match manifest.scope {
        Scope::Document => None,
        Scope::Sequence { length } => {
            let start = |masker| SequenceMasker::new(masker, length, SequenceState::default());
            Some((length, start(&masker)?, unit.map(|_| start(&reach)).transpose()?))
        }
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
    let (mut expected, mut decided) = (Vec::new(), Vec::new());
    let existing = manifest.existing_mask.is_some();
    let mut kept = KeptCounter::new(unit);
    let mut check_row = |batch: &ShardBatch, row: usize| {
        let doc_id = batch.doc_ids().value(row);
        // `verify` counts the tokens.
        kept.pass(1);
        let stored = batch.ids(row);
        if let Some(position) = stored.iter().position(|&id| id < 0) {
            return Some(format!("the id {} at position {position} is negative", stored[position]));
        }
        let ids: &[u32] = bytemuck::cast_slice(stored);
        let longest = kept.runs().decided.as_ref().map_or(0, |run| run.length);
        let longer_than = bound.map_or(longest, |bound| longest.min(bound.into()));
        expected.clear();
        expected.resize(ids.len(), 0);
        let run = match (&mut sequences, &shard_text) {
            (Some((length, sequences, reach)), _) => {
                let before = sequences.state().tokens;
                sequences.decide_next(ids, &mut expected);
                reach.as_mut().map(|reach| {
                    decided.clear();
                    decided.resize(ids.len(), 0);
                    reach.decide_next(ids, &mut decided);
                    longest_in_sequences(before, *length, &decided, &expected)
                })
            }
            (None, Some(shard_text)) => {
                if let Err(error) = shard_text.read(ids, &mut text, &mut spans) {
                    return Some(format!("its text can't be decoded from its ids: {error}"));
                }
                let span = TokenSpan::document(ids).with_text(&text, &spans).with_longer_than(longer_than);
                masker.decide_measuring(&span, &mut expected)
            }
            (None, None) => {
                let key = document_key(doc_id);
                let span = TokenSpan::document(ids).with_key(key).with_longer_than(longer_than);
                masker.decide_measuring(&span, &mut expected)
            }
        };
        // An existing mask may exclude more than the rule.
        let contradicts = |(rule, stored): (&u8, &u8)| if existing { stored > rule } else { stored != rule };
        if let Some(position) = expected.iter().zip(batch.mask(row)).position(contradicts) {
            return Some(format!(
                "loss_mask is {} at position {position}, but the rule decides {}",
                batch.mask(row)[position],
                expected[position]
            ));
        }
        let (run, unit) = run.zip(unit)?;
        kept.note_decided(kept.documents() - 1, doc_id, run);
        let bound = bound.filter(|&bound| run.units > bound.into())?;
        Some(format!(
            "loss_mask keeps {} decided {unit} in a row from position {} on, but the rule keeps no more than {bound}",
            run.units, run.start
        ))
    };
    let (manifest, mut problems) = verify(folder, &mut check_row)?;
    problems.extend(check_decided(&manifest, &kept));
    Ok((manifest, problems))
}

/// Compares the longest run of decided words or tokens with the manifest, if all documents were seen.
fn check_decided(manifest: &Manifest, kept: &KeptCounter) -> Option<Problem> {
    let stated = &manifest.longest_kept_run.as_ref()?.decided;
    let found = &kept.runs().decided;
    if kept.documents() != manifest.totals.documents_out || stated == found {
        return None;
    }
    let describe = |run: &Option<DecidedRun>| match run {
        None => "none".to_owned(),
        Some(DecidedRun { unit, length, document, doc_id, position, .. }) => {
            format!("{length} {unit} from token {position} of document {document} ({doc_id})")
        }
    };
    let description =
        format!("longest kept run of decided {}, but {} expected", describe(found), describe(stated));
    Some(Problem { file: MANIFEST_NAME.into(), description })
}

/// The text of the manifest's tokens.
fn shard_text(manifest: &Manifest, tokenizer: Option<&Tokenizer>) -> Result<ShardText, PipelineError> {
    let Some(tokenizer) = tokenizer else {
        let sha256 = manifest.tokenizer.as_ref().map(|entry| entry.sha256.clone());
        return Err(JobError::MasksNeedTokenizer { rule: manifest.rule.name().to_string(), sha256 }.into());
    };
    ShardText::new(manifest, tokenizer)
}
