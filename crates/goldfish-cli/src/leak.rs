//! What speaks against a rule on a corpus.

use goldfish_inspect::{MaskedDocuments, leak_warning};
use goldfish_mask::diagnostics::Tally;
use goldfish_pipeline::{MaskJob, SampledDocument, ShardText};
use goldfish_remedy::Remedies;

use crate::advice::advised;

/// What speaks against the rule of a run: what was counted, and what leaks between copies.
pub(crate) fn warnings(job: &MaskJob, counted: &Tally, sample: Option<&[SampledDocument]>) -> Vec<String> {
    let counted = counted.warnings(job.rule.definition());
    counted.iter().map(ToString::to_string).chain(leak(job, sample)).collect()
}

/// Says whether another rule leaks less among some documents of a run. Nothing where an earlier run wrote some of the
/// folder, or their text can't be had for a rule that decides by it.
fn leak(job: &MaskJob, sample: Option<&[SampledDocument]>) -> Option<String> {
    let documents = sample?;
    let text = job.tokenize.as_ref().map(|options| ShardText::of_options(options, &job.exempt_ids));
    let text = text.and_then(Result::ok);
    if text.is_none() && job.rule.definition().needs_text() {
        return None;
    }
    let masked = MaskedDocuments {
        documents,
        rule: &job.rule,
        scope: job.scope,
        exempt_ids: &job.exempt_ids,
        text: text.as_ref(),
    };
    let warning = leak_warning(&masked).ok()??;
    Some(advised(&warning, &warning.remedies()))
}
