//! Masks that are decided again.

mod copies;

use std::path::Path;

use goldfish_mask::{
    Coverage, Masker, RuleSpec, RunUnit, Scope, SequenceMasker, SequenceState, TokenSpan, UniformTable,
    document_key,
};
use goldfish_shard::{DecidedRun, MANIFEST_NAME, Manifest, PROTECTED_NAME, Problem, ShardBatch, verify};
use goldfish_tokenize::Tokenizer;

use crate::PipelineError;
use crate::job_error::JobError;
use crate::kept::longest_in_sequences;
use crate::protect::Protection;
use crate::text::ShardText;
use copies::Copies;

/// What masks were made with beside what is in their folder.
#[derive(Debug, Clone, Copy, Default)]
pub struct MadeWith<'a> {
    /// The table, where the rule has one from a file.
    pub table: Option<&'a UniformTable>,
    /// The tokenizer, which is needed where the text decides.
    pub tokenizer: Option<&'a Tokenizer>,
    /// The protected works.
    pub works: Option<&'a Protection>,
}

/// Checks a folder as [`goldfish_shard::verify`] does, and decides every mask again from the ids and the
/// manifest's rule. Passages of protected works are found and decided again if the works are there, and passed over otherwise. Where
/// there was an existing mask too, only what the rule drops is checked.
///
/// # Errors
///
/// If the manifest can't be read, its rule can't be built, the tokenizer is needed and missing, or tokenizer or works are not
/// those that the masks were made with, or the ids can't be decoded to text, or the system refuses to read a file.
pub fn recompute(
    folder: &Path,
    made_with: MadeWith<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<(Manifest, Vec<Problem>), PipelineError> {
    let MadeWith { table, tokenizer, works } = made_with;
    let manifest = Manifest::read(folder)?;
    let check = |(rule, exempt_ids)| RuleCheck::new(rule, table, exempt_ids);
    let mut rules = manifest.rules().into_iter().map(check).collect::<Result<Vec<_>, _>>()?;
    if let Some(protected) = &manifest.protected {
        if protected.only {
            return Err(JobError::NothingToRecompute.into());
        }
        // The table of passages and all documents are needed.
        if let Some(found) = problems_before(folder, "where works are protected that takes all shards")? {
            return Ok(found);
        }
    }
    let mut copies = Copies::new(folder, &manifest, works)?;
    let needs_text = copies.need_text() || rules.iter().any(|rule| rule.masker.needs_text());
    let shard_text = if needs_text { Some(shard_text(&manifest, tokenizer)?) } else { None };
    let (mut text, mut spans) = (String::new(), Vec::new());
    let masker = Masker::new(manifest.rule.build(table)?, &manifest.exempt_ids);
    let unit = rules[0].unit();
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
        if let Some(found) = problems_before(folder, "in packed sequences they depend on all shards")? {
            return Ok(found);
        }
    }
    let (mut expected, mut decided) = (Vec::new(), Vec::new());
    let existing = manifest.existing_mask.is_some();
    let mut document = 0;
    let mut check_row = |batch: &ShardBatch, row: usize| {
        let doc_id = batch.doc_ids().value(row);
        let number = document;
        document += 1;
        progress(document);
        let rule = match batch.rule(&manifest, row) {
            Ok(rule) => &mut rules[rule],
            Err(problem) => return Some(problem),
        };
        let stored = batch.ids(row);
        if let Some(position) = batch.negative_id(row) {
            return Some(format!("the id {} at position {position} is negative", stored[position]));
        }
        rule.count(batch.mask(row));
        let by_text = rule.masker.needs_text() || copies.concern(doc_id);
        let ids: &[u32] = bytemuck::cast_slice(stored);
        let longest = rule.longest.as_ref().map_or(0, |run| run.length);
        let longer_than = rule.bound.map_or(longest, |bound| longest.min(bound.into()));
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
            (None, Some(shard_text)) if by_text => {
                if let Err(error) = shard_text.read(ids, &mut text, &mut spans) {
                    return Some(format!("its text can't be decoded from its ids: {error}"));
                }
                let span = TokenSpan::document(ids).with_key(document_key(doc_id));
                let span = span.with_text(&text, &spans).with_longer_than(longer_than);
                rule.masker.decide_measuring(&span, &mut expected)
            }
            (None, _) => {
                let key = document_key(doc_id);
                let span = TokenSpan::document(ids).with_key(key).with_longer_than(longer_than);
                rule.masker.decide_measuring(&span, &mut expected)
            }
        };
        let mut copied = false;
        if by_text && sequences.is_none() {
            copied = match copies.decide(doc_id, (&text, &spans), batch.mask(row), &mut expected) {
                Ok(copied) => copied,
                Err(problem) => return Some(problem),
            };
        }
        rule.count_beyond(batch.mask(row), &expected);
        // An existing mask may exclude more than the rule.
        let contradicts = |(rule, stored): (&u8, &u8)| if existing { stored > rule } else { stored != rule };
        if let Some(position) = expected.iter().zip(batch.mask(row)).position(contradicts) {
            return Some(format!(
                "loss_mask is {} at position {position}, but the rule decides {}",
                batch.mask(row)[position],
                expected[position]
            ));
        }
        let (run, longest) = run.filter(|_| !copied).zip(rule.longest.as_mut())?;
        longest.note(number, doc_id, run);
        let bound = rule.bound.filter(|&bound| run.units > bound.into())?;
        Some(format!(
            "loss_mask keeps {} decided {} in a row from position {} on, but the rule keeps no more than {bound}",
            run.units, longest.unit, run.start
        ))
    };
    let (manifest, mut problems) = verify(folder, &mut check_row)?;
    if document == manifest.totals.documents_out {
        problems.extend(check_counts(&manifest, &rules));
        problems
            .extend(copies.finish().map(|description| Problem { file: PROTECTED_NAME.into(), description }));
    }
    Ok((manifest, problems))
}

/// The manifest and the problems of a folder that has some, with one more: masks were not recomputed, for this reason.
fn problems_before(folder: &Path, reason: &str) -> Result<Option<(Manifest, Vec<Problem>)>, PipelineError> {
    let (manifest, mut problems) = verify(folder, &mut |_, _| None)?;
    if problems.is_empty() {
        return Ok(None);
    }
    let description = format!("masks not recomputed: {reason}, and some have problems");
    problems.push(Problem { file: MANIFEST_NAME.into(), description });
    Ok(Some((manifest, problems)))
}

/// A rule that decides masks again, and what it found.
struct RuleCheck {
    masker: Masker,
    /// The most decided words or tokens in a row that it keeps, if it has a bound.
    bound: Option<u32>,
    /// The longest run, if it counts that.
    longest: Option<DecidedRun>,
    documents: u64,
    tokens: u64,
    dropped: u64,
    /// Excluded tokens that the rule keeps.
    beyond: u64,
}

impl RuleCheck {
    fn new(rule: &RuleSpec, table: Option<&UniformTable>, exempt_ids: &[u32]) -> Result<Self, PipelineError> {
        let definition = rule.definition();
        Ok(Self {
            masker: Masker::new(rule.build(table)?, exempt_ids),
            bound: definition.longest_run(),
            longest: definition.run_unit().map(DecidedRun::new),
            documents: 0,
            tokens: 0,
            dropped: 0,
            beyond: 0,
        })
    }

    fn unit(&self) -> Option<RunUnit> {
        self.longest.as_ref().map(|run| run.unit)
    }

    fn count(&mut self, mask: &[u8]) {
        self.documents += 1;
        self.tokens += mask.len() as u64;
        self.dropped += mask.iter().map(|keep| u64::from(*keep == 0)).sum::<u64>();
    }

    /// Counts the tokens that are excluded though the rule keeps them.
    fn count_beyond(&mut self, mask: &[u8], by_rule: &[u8]) {
        self.beyond += mask.iter().zip(by_rule).filter(|&(&keep, &by_rule)| keep < by_rule).count() as u64;
    }

    /// Says whether so many tokens may have been excluded before: those that the rule keeps, and others that are excluded.
    fn allows_before(&self, excluded: u64) -> bool {
        (self.beyond..=self.dropped).contains(&excluded)
    }
}

/// Compares what was counted with the manifest.
fn check_counts(manifest: &Manifest, rules: &[RuleCheck]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut problem = |description| problems.push(Problem { file: MANIFEST_NAME.into(), description });
    let describe = |run: &Option<DecidedRun>| match run {
        None => "none".to_owned(),
        Some(DecidedRun { unit, length, document, doc_id, position, .. }) => {
            format!("{length} {unit} from token {position} of document {document} ({doc_id})")
        }
    };
    let mut check_before = |of: &str, excluded: u64, rule: &RuleCheck| {
        // Only runs that read masks count what these exclude.
        if manifest.source.existing_mask.is_some() && !rule.allows_before(excluded) {
            let RuleCheck { beyond, dropped, .. } = rule;
            problem(format!(
                "{excluded} tokens were excluded before{of}, but the masks exclude {dropped}, of which the rule keeps {beyond}"
            ));
        }
    };
    if manifest.policy.is_empty()
        && let [rule] = rules
    {
        check_before("", manifest.totals.excluded_before, rule);
    }
    for (entry, rule) in manifest.policy.iter().zip(rules) {
        check_before(&format!(" by {:?}", entry.name), entry.counts.excluded_before, rule);
    }
    let mut compare = |of: &str, stated: &Option<DecidedRun>, found: &Option<DecidedRun>| {
        if stated != found {
            let (found, stated) = (describe(found), describe(stated));
            problem(format!("longest kept run of decided {found}{of}, but {stated} expected"));
        }
    };
    if manifest.policy.is_empty() {
        if let (Some(stated), [rule]) = (&manifest.longest_kept_run, rules) {
            compare("", &stated.decided, &rule.longest);
        }
        return problems;
    }
    for (entry, rule) in manifest.policy.iter().zip(rules) {
        compare(&format!(" by {:?}", entry.name), &entry.counts.longest_decided_run, &rule.longest);
    }
    for (entry, rule) in manifest.policy.iter().zip(rules) {
        let stated = [entry.counts.documents, entry.counts.tokens, entry.counts.dropped];
        let found = [rule.documents, rule.tokens, rule.dropped];
        if stated != found {
            problem(format!(
                "{:?} decided {} documents with {} tokens, of which {} are dropped, but {}, {} and {} expected",
                entry.name, found[0], found[1], found[2], stated[0], stated[1], stated[2]
            ));
        }
    }
    problems
}

/// The text of the manifest's tokens.
fn shard_text(manifest: &Manifest, tokenizer: Option<&Tokenizer>) -> Result<ShardText, PipelineError> {
    let Some(tokenizer) = tokenizer else {
        let sha256 = manifest.tokenizer.as_ref().map(|entry| entry.sha256.clone());
        return Err(JobError::MasksNeedTokenizer { rule: manifest.rule.name().to_string(), sha256 }.into());
    };
    ShardText::new(manifest, tokenizer)
}
