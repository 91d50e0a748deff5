//! Rules and what they decided, in words.

use goldfish_mask::diagnostics::Tally;
use goldfish_mask::{RuleSpec, RunUnit, Scope};
use goldfish_shard::{
    DecidedRun, FILE_SET_NAME, FileSet, KeptRun, KeptRuns, Manifest, PROTECTED_NAME, PolicyRule,
    ProtectedEntry, SetFile, Totals,
};
use serde_json::json;

use crate::print::{count, name, percent, plural};

/// The rule of shards with its parameters in a line.
pub(crate) fn describe_rule(manifest: &Manifest) -> String {
    let rule = match manifest.policy.len() {
        0 => describe(&manifest.rule, manifest.scope, &manifest.exempt_ids),
        1 => "a policy of its default alone".to_owned(),
        entries => format!("a policy of {entries} entries"),
    };
    match &manifest.existing_mask {
        Some(origin) => format!("{rule}, besides existing masks: {}", name(origin)),
        None => rule,
    }
}

/// A rule with its parameters in a line.
pub(crate) fn describe(rule: &RuleSpec, scope: Scope, exempt_ids: &[u32]) -> String {
    let mut parts = vec![rule.in_short(), rule.definition().to_string()];
    if let Scope::Sequence { length } = scope {
        parts.push(format!("in packed sequences of {length}"));
    }
    if !exempt_ids.is_empty() {
        parts.push(format!("never dropping {}", plural(exempt_ids.len() as u64, "special token")));
    }
    parts.join(", ")
}

/// The drop rate where the rule had a say, and why it had none elsewhere, of a folder with this many tokens.
pub(crate) fn describe_tally(tally: &Tally, k: Option<u32>, tokens: u64) -> String {
    let of_all = |part| percent(part, tally.tokens);
    let mut line = format!(
        "{} of those it decided{}, which were {}",
        percent(tally.dropped, tally.decided),
        k.map_or_else(String::new, |k| format!(" (1/k is {})", percent(1, k.into()))),
        of_all(tally.decided)
    );
    let kept = [
        (tally.blank(), "without letter or number"),
        (tally.short_context(), "before the context is full"),
        (tally.special, "special"),
    ];
    let kept: Vec<String> = kept
        .iter()
        .filter(|(tokens, _)| *tokens > 0)
        .map(|(tokens, why)| format!("{} {why}", of_all(*tokens)))
        .collect();
    if !kept.is_empty() {
        line += &format!("; kept: {}", kept.join(", "));
    }
    if tally.tokens < tokens {
        line += &format!(" (measured on {} tokens)", count(tally.tokens));
    }
    line
}

/// The line of a summary with a rule, and why it was chosen if it was not named.
pub(crate) fn rule_line(rule: &str, chosen: Option<&str>) -> String {
    let reason = chosen.map(|reason| format!("\n           (chosen because {reason})"));
    format!("rule       {rule}{}", reason.unwrap_or_default())
}

/// The line of the summary of a resumed run that an earlier one completed.
pub(crate) const ALREADY_COMPLETE: &str =
    "already complete: an earlier run with the same inputs and options wrote all of it";

/// The line of a summary with the number of dropped tokens.
pub(crate) fn dropped_line(totals: &Totals) -> String {
    let (dropped, targets) = (totals.dropped_by_rule(), totals.targets());
    match totals.excluded_before {
        0 => format!("dropped    {} tokens, {} of all", count(dropped), percent(dropped, targets)),
        excluded => format!(
            "dropped    {} tokens, {} of the {} that were in the loss; {} were excluded before",
            count(dropped),
            percent(dropped, targets),
            count(targets),
            count(excluded)
        ),
    }
}

/// The line of a summary with what copies protected works.
pub(crate) fn protected_line(protected: &ProtectedEntry) -> String {
    let counts = &protected.counts;
    format!(
        "protected  {} with {} in {}, of {}; listed in {PROTECTED_NAME}",
        plural(counts.passages, "passage"),
        plural(counts.words, "word"),
        plural(counts.documents, "document"),
        plural(protected.works, "work"),
    )
}

/// The lines of a summary with the entries of a policy and what they decided.
pub(crate) fn policy_lines(entries: &[PolicyRule]) -> Vec<String> {
    let heads = std::iter::once("policy     ").chain(std::iter::repeat("           "));
    let line = |entry: &PolicyRule| {
        let PolicyRule { name: entry_name, rule, counts, .. } = entry;
        // A manifest may have been edited.
        let of_rule = |tokens: u64| tokens.saturating_sub(counts.excluded_before);
        let (dropped, targets) = (of_rule(counts.dropped), of_rule(counts.tokens));
        format!(
            "{}: {}; {}, {}, {} dropped",
            name(entry_name),
            rule.in_short(),
            plural(counts.documents, "document"),
            plural(counts.tokens, "token"),
            percent(dropped, targets)
        )
    };
    heads.zip(entries).map(|(head, entry)| format!("{head}{}", line(entry))).collect()
}

/// The lines of a summary with the longest runs of tokens that are all kept.
pub(crate) fn kept_lines(rule: &RuleSpec, runs: &KeptRuns) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(DecidedRun { unit, length, doc_id, position, .. }) = &runs.decided {
        lines.push(decided_run(*length, *unit, rule.definition().longest_run(), (doc_id, *position)));
    }
    let KeptRun { tokens, doc_id, position, .. } = &runs.tokens;
    lines.push(token_run(*tokens, runs.decided.as_ref().map(|run| run.unit), (doc_id, *position)));
    let heads = std::iter::once("kept       ").chain(std::iter::repeat("           "));
    heads.zip(lines).map(|(head, line)| format!("{head}{line}")).collect()
}

/// The longest run of decided words or tokens that are all kept, in a line.
pub(crate) fn decided_run(length: u64, unit: RunUnit, bound: Option<u32>, place: (&str, u64)) -> String {
    let bound = match bound {
        Some(bound) if length > bound.into() => {
            format!("more than the {} of its rule: a bug", count(bound.into()))
        }
        Some(bound) => format!("never more than {}", count(bound.into())),
        None => "without a bound".to_owned(),
    };
    format!("at most {} decided {unit} in a row ({bound}){}", count(length), at(length, place))
}

/// The longest run of kept tokens in a line. Where the rule counts decided ones in `unit`, it says what these are not.
pub(crate) fn token_run(tokens: u64, unit: Option<RunUnit>, place: (&str, u64)) -> String {
    let others = match unit {
        None => "",
        Some(RunUnit::Words) => {
            " with those that are not decided (short contexts at the start of documents, text without letters or digits, \
             special tokens)"
        }
        Some(RunUnit::Tokens) => {
            " with those that are not decided (short contexts at the start of documents, special tokens)"
        }
    };
    format!("at most {} in a row{others}{}", plural(tokens, "token"), at(tokens, place))
}

/// Where a run starts, if there is one.
fn at(length: u64, (doc_id, position): (&str, u64)) -> String {
    if length == 0 { String::new() } else { format!(", from token {} of {}", count(position), name(doc_id)) }
}

/// How many files a summary names.
const LISTED: usize = 8;

/// The lines of a summary with the first files of a set, each as `describe` has it.
pub(crate) fn file_lines(set: &FileSet, describe: impl Fn(&SetFile) -> String) -> Vec<String> {
    let first = set.files.iter().take(LISTED).enumerate();
    let mut lines: Vec<String> = first
        .map(|(index, file)| {
            format!("{}{}", if index == 0 { "files      " } else { "           " }, describe(file))
        })
        .collect();
    if set.files.len() > LISTED {
        lines.push(format!("           and {} more, in {FILE_SET_NAME}", set.files.len() - LISTED));
    }
    lines
}

/// The counted tokens by outcome.
pub(crate) fn tally(tally: &Tally) -> serde_json::Value {
    json!({
        "tokens": tally.tokens,
        "special": tally.special,
        "blank": tally.blank(),
        "head": tally.short_context(),
        "decided": tally.decided,
        "dropped": tally.dropped,
        "decided_drop_rate": tally.decided_rate(),
    })
}
