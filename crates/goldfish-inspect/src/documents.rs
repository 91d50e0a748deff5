//! Copies among documents in memory.

use goldfish_mask::{RuleSpec, Scope, TextWords};
use goldfish_pipeline::{SampledDocument, ShardText};
use rayon::prelude::*;

use crate::duplicates::{Against, Copies, Document, DocumentWords, FEWEST_PASSAGES, Finder, Masks, Needles};
use crate::error::InspectError;
use crate::options::DuplicateOptions;
use crate::report::Duplicates;
use crate::warning::LeakWarning;

/// Pairs of passages that a warning looks at, and the least length of a passage.
const WARNED: DuplicateOptions = DuplicateOptions { least_characters: 200, pairs: 100, shown: 0 };

/// Documents with their masks, and how these were decided.
#[derive(Clone, Copy)]
pub struct MaskedDocuments<'a> {
    /// The documents.
    pub documents: &'a [SampledDocument],
    /// The rule of their masks.
    pub rule: &'a RuleSpec,
    /// What its windows cross.
    pub scope: Scope,
    /// Ids that it never drops.
    pub exempt_ids: &'a [u32],
    /// The text of ids. Without it ids are compared, under the rules that decide by ids.
    pub text: Option<&'a ShardText>,
}

/// Finds passages that recur in documents, and compares their masks, as [`inspect`](crate::inspect) does in a folder. `seed`
/// is that of the sampling.
///
/// Without text, four letters of [`DuplicateOptions::least_characters`] are a token, and words are tokens.
///
/// # Errors
///
/// If the ids of a document have no text, though there is a [`ShardText`], or a rule can't be built.
pub fn compare_documents(
    masked: &MaskedDocuments<'_>,
    options: DuplicateOptions,
    seed: u64,
) -> Result<Duplicates, InspectError> {
    compare(masked, options, seed, Against::All)
}

fn compare(
    masked: &MaskedDocuments<'_>,
    options: DuplicateOptions,
    seed: u64,
    which: Against,
) -> Result<Duplicates, InspectError> {
    let &MaskedDocuments { documents, rule, scope, exempt_ids, text } = masked;
    let words = |document: &SampledDocument| DocumentWords::new(text).into_words(&document.ids);
    let words: Vec<TextWords> = documents.par_iter().map(words).collect::<Result<_, _>>()?;
    let mut needles = Needles::new(text.is_some())?;
    for (number, words) in (0..).zip(&words) {
        needles.add(number, words)?;
    }
    let mut search = needles.build(options, seed);
    let find =
        |finder: &mut Finder<'_>, (number, words): (usize, &TextWords)| finder.find(number as u64, words);
    let copies: Vec<Copies> = words.par_iter().enumerate().map_init(|| search.finder(), find).collect();
    copies.iter().for_each(|copies| search.note(copies));
    let mut found = search.found(&Masks { rule, scope, exempt: exempt_ids }, text, which)?;
    if which == Against::Better && found.pairs() < FEWEST_PASSAGES as usize {
        // Too few for a warning.
        return Ok(found.compare());
    }
    let documents = documents.iter().enumerate().map(|(number, document)| Document {
        number: number as u64,
        doc_id: &document.doc_id,
        ids: &document.ids,
        mask: &document.mask,
    });
    let wanted: Vec<Document<'_>> = documents.filter(|document| found.wants(document.number)).collect();
    found.read(&wanted)?;
    Ok(found.compare())
}

/// Whether documents leak more through copies among them than under another rule.
///
/// Never for the baselines `static` and `random`, whose copies are meant to differ, nor in packed sequences.
///
/// # Errors
///
/// As [`compare_documents`].
pub fn leak_warning(masked: &MaskedDocuments<'_>) -> Result<Option<LeakWarning>, InspectError> {
    let &MaskedDocuments { rule, scope, exempt_ids, .. } = masked;
    if !(Masks { rule, scope, exempt: exempt_ids }).may_be_replaced() {
        return Ok(None);
    }
    Ok(compare(masked, WARNED, 0, Against::Better)?.warning(rule))
}
