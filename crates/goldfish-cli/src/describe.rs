//! Rules and what they decided, in words.

use goldfish_mask::diagnostics::Tally;
use goldfish_mask::{RuleSpec, Scope};
use goldfish_shard::Manifest;
use serde_json::json;

use crate::print::{count, percent, plural};

/// The rule of shards with its parameters in a line.
pub(crate) fn describe_rule(manifest: &Manifest) -> String {
    describe(&manifest.rule, manifest.scope, &manifest.exempt_ids)
}

/// A rule with its parameters in a line.
pub(crate) fn describe(rule: &RuleSpec, scope: Scope, exempt_ids: &[u32]) -> String {
    let mut parts = vec![format!("{}, k {}", rule.name(), rule.k()), rule.definition().to_string()];
    if let Scope::Sequence { length } = scope {
        parts.push(format!("in packed sequences of {length}"));
    }
    if !exempt_ids.is_empty() {
        parts.push(format!("never dropping {}", plural(exempt_ids.len() as u64, "special token")));
    }
    parts.join(", ")
}

/// The drop rate where the rule had a say, and why it had none elsewhere, of a folder with this many tokens.
pub(crate) fn describe_tally(tally: &Tally, k: u32, tokens: u64) -> String {
    let of_all = |part| percent(part, tally.tokens);
    let mut line = format!(
        "{} of those it decided (1/k is {}), which were {}",
        percent(tally.dropped, tally.decided),
        percent(1, k.into()),
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
