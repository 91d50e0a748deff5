//! What speaks against a rule on a corpus.

use goldfish_inspect::{MaskedDocuments, leak_warning};
use goldfish_mask::diagnostics::Tally;
use goldfish_pipeline::{MaskJob, PolicyEntry, SampledDocument, ShardText};
use goldfish_remedy::Remedies;

use crate::advice::advised;
use crate::print::name;

/// What speaks against the rule of a run: what was counted, and what leaks between copies.
pub(crate) fn warnings(job: &MaskJob, counted: &[Tally], sample: Option<&[SampledDocument]>) -> Vec<String> {
    let Some(policy) = &job.policy else {
        let counted = counted.first().map_or_else(Vec::new, |tally| tally.warnings(job.rule.definition()));
        return counted.iter().map(ToString::to_string).chain(leak(job, sample)).collect();
    };
    let of_entry = |(entry, tally): (&PolicyEntry, &Tally)| {
        let warnings = tally.warnings(entry.rule.definition()).into_iter();
        warnings.map(|warning| format!("{}: {warning}", name(&entry.name))).collect::<Vec<_>>()
    };
    policy.entries().iter().zip(counted).flat_map(of_entry).collect()
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
