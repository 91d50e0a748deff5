//! The arms of a sweep.

use goldfish_mask::RuleParameters;
use goldfish_mask::rules::{Hash, Random, Static, Text};

use crate::sweep::options::SweepOptions;

/// Which documents an arm is trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Corpus {
    /// Equal copies of the targets among passages that occur once.
    Repeated,
    /// The same with other passages instead of the targets.
    Control,
    /// The targets in twelve layouts.
    Layouts,
}

impl Corpus {
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Repeated => "repeated.jsonl",
            Self::Control => "control.jsonl",
            Self::Layouts => "layouts.jsonl",
        }
    }

    /// The passages to recite, each once and plain.
    pub(super) fn audited_file(self) -> &'static str {
        match self {
            Self::Repeated | Self::Control => "repeated-targets.jsonl",
            Self::Layouts => "layouts-targets.jsonl",
        }
    }
}

/// What one arm does.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) name: String,
    /// The group of arms that the page shows it in.
    pub(super) group: &'static str,
    /// The name of the rule, or of what is done instead.
    pub(super) series: &'static str,
    pub(super) k: Option<u32>,
    pub(super) corpus: Corpus,
    pub(super) rule: RuleParameters,
    pub(super) use_mask: bool,
    /// Whether the audited copy has the mask that the copies in training had.
    pub(super) repeats_mask: bool,
    /// Whether it is trained until it saw as many supervised tokens as without a mask.
    pub(super) longer: bool,
}

/// The rules of the sweep, by name.
const RULES: [&str; 4] = ["text", "hash", "static", "random"];

/// k of the arms outside the sweep over it: the paper's.
const K: u32 = 4;

/// The rule of documents whose mask is ignored.
pub(super) fn unmasked() -> RuleParameters {
    rule("text", K)
}

fn rule(name: &str, k: u32) -> RuleParameters {
    match name {
        "hash" => Hash::new(k).into(),
        "static" => Static::new(k).into(),
        "random" => Random::new(k).into(),
        _ => Text::new(k).into(),
    }
}

/// Every arm, in order.
pub(super) fn plans(options: &SweepOptions) -> Vec<Plan> {
    let plain = |name: &str, group, series, corpus| Plan {
        name: name.to_owned(),
        group,
        series,
        k: None,
        corpus,
        rule: unmasked(),
        use_mask: false,
        repeats_mask: true,
        longer: false,
    };
    let masked = |name: String, group, series, k, corpus| Plan {
        k: Some(k),
        rule: rule(series, k),
        use_mask: true,
        repeats_mask: series != "random",
        ..plain(&name, group, series, corpus)
    };
    let mut plans = vec![
        plain("standard", "repeated", "standard", Corpus::Repeated),
        plain("control", "repeated", "control", Corpus::Control),
    ];
    for series in RULES {
        plans.extend(
            options
                .ks
                .iter()
                .map(|k| masked(format!("{series}-{k}"), "repeated", series, *k, Corpus::Repeated)),
        );
    }
    let longer = masked(format!("text-{K}-longer"), "longer", "text", K, Corpus::Repeated);
    plans.push(Plan { longer: true, ..longer });
    plans.push(plain("layouts-standard", "layouts", "standard", Corpus::Layouts));
    for series in RULES {
        plans.push(masked(format!("layouts-{series}"), "layouts", series, K, Corpus::Layouts));
    }
    plans
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn arms_have_different_names() {
        let plans = plans(&SweepOptions::default());
        let names: BTreeSet<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
        assert_eq!((names.len(), plans.len()), (28, 28));
        assert!(plans.iter().all(|plan| plan.use_mask == plan.k.is_some()));
    }
}
