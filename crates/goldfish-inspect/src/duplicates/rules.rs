//! The rules that copies are compared under.

use goldfish_mask::{MaskError, Masker, RuleName, RuleOptions, RuleParameters, RuleSpec, Scope};

/// The rules that masks are compared with, in their defaults and with the same `k`: those that decide copies alike by
/// design, and the reference.
const COMPARED: &[RuleName] =
    &[RuleName::Text, RuleName::TextV1, RuleName::Anchor, RuleName::Hash, RuleName::HashTable];

/// A rule that copies are compared under.
pub(crate) struct ComparedRule {
    /// The rule, in words.
    pub(crate) name: String,
    /// The name that options have for it, if it may be recommended in place of the masks' own rule.
    pub(crate) option: Option<String>,
    pub(crate) masker: Masker,
}

/// What masks are compared with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Masks<'a> {
    pub(crate) rule: &'a RuleSpec,
    pub(crate) scope: Scope,
    pub(crate) exempt: &'a [u32],
}

/// Which rules masks are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Against {
    /// All that there are.
    All,
    /// Those that may be recommended.
    Better,
}

impl Masks<'_> {
    /// The rules to compare with; without text those that decide by ids. None where the masks' own has no `k`.
    pub(crate) fn compared(&self, by_text: bool, which: Against) -> Result<Vec<ComparedRule>, MaskError> {
        let mut rules = Vec::new();
        let Some(k) = self.rule.k() else { return Ok(rules) };
        for name in COMPARED {
            let spec = RuleSpec::new(name.parameters(&RuleOptions::new(k))?);
            let is_own = spec.parameters == self.rule.parameters && self.scope == Scope::Document;
            if is_own || (spec.definition().needs_text() && !by_text) {
                continue;
            }
            // There is no reason to start with a rule that another one supersedes.
            let is_current = !spec.is_reference() && *name != RuleName::TextV1;
            let recommended = self.may_be_replaced() && is_current && spec.name() != self.rule.name();
            if which == Against::Better && !recommended {
                continue;
            }
            rules.push(ComparedRule {
                name: in_words(&spec),
                option: recommended.then(|| name.to_string()),
                masker: Masker::new(spec.build(None)?, self.exempt),
            });
        }
        Ok(rules)
    }

    /// Whether another rule may be recommended: not for baselines, whose copies are meant to differ, and not for packed
    /// sequences, which the others are not measured in.
    pub(crate) fn may_be_replaced(&self) -> bool {
        let baseline = matches!(self.rule.parameters, RuleParameters::Static(_) | RuleParameters::Random(_));
        !baseline && self.scope == Scope::Document
    }
}

/// A rule in words.
pub(crate) fn in_words(rule: &RuleSpec) -> String {
    let context = rule.context().map(|context| format!(", context {context}"));
    let run = rule.definition().longest_run().map(|run| format!(", longest run {run}"));
    format!("{}{}{}", rule.name(), context.unwrap_or_default(), run.unwrap_or_default())
}
