//! The arms of a sweep.

use goldfish_mask::RuleParameters;
use goldfish_mask::rules::{Anchor, Hash, Random, Static, Text, TextV1};

use crate::architectures::ARCHITECTURES;
use crate::error::LabError;
use crate::sweep::options::{SweepCopies, SweepOptions, SweepPart, SweepSelection};

/// Which documents an arm is trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Corpus {
    /// How the copies of a passage differ.
    pub(super) copies: SweepCopies,
    /// Whether they are of other passages than those that are asked for.
    pub(super) control: bool,
}

impl Corpus {
    pub(super) const ALL: [Self; 5] = [
        Self { copies: SweepCopies::Equal, control: false },
        Self { copies: SweepCopies::Equal, control: true },
        Self { copies: SweepCopies::Layouts, control: false },
        Self { copies: SweepCopies::Edited, control: false },
        Self { copies: SweepCopies::Edited, control: true },
    ];

    pub(super) fn file(self) -> String {
        format!("{}{}.jsonl", self.copies.name(), if self.control { "-control" } else { "" })
    }
}

/// What one arm does.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) corpus: Corpus,
    /// The name of the rule, or of what is done instead.
    pub(super) series: &'static str,
    pub(super) k: Option<u32>,
    /// How it differs from the other arms of its series.
    pub(super) variant: Option<String>,
    pub(super) rule: RuleParameters,
    pub(super) use_mask: bool,
    /// Whether it is trained until it saw as many supervised tokens as without a mask.
    pub(super) longer: bool,
    /// The architecture of the model.
    pub(super) architecture: &'static str,
    /// Whether the arm is one of those that compare architectures.
    pub(super) compares: bool,
}

impl Plan {
    /// Whether the audited copy has the mask that the copies in training had.
    pub(super) fn repeats_mask(&self) -> bool {
        self.use_mask && self.series != "random"
    }

    /// The group of the arm on the page.
    pub(super) fn group(&self) -> &'static str {
        if self.compares { "architectures" } else { self.corpus.copies.name() }
    }

    /// How often the model sees every document.
    pub(super) fn epochs(&self, options: &SweepOptions) -> u64 {
        let layouts = if self.corpus.copies == SweepCopies::Layouts { LAYOUT_EPOCHS } else { 1 };
        options.epochs * layouts
    }
}

/// The rules of the sweep, by name.
const RULES: [&str; 6] = ["text", "text-v1", "anchor", "hash", "static", "random"];

/// The rules of the arms with edited copies.
const EDITED_RULES: [&str; 4] = ["text", "text-v1", "anchor", "hash"];

/// k of the arms outside the sweep over it: the paper's.
const K: u32 = 4;

/// k of the arms that compare architectures: so small that a llama recites none of the passages.
pub(super) const ARCHITECTURES_K: u32 = 3;

/// How many times longer copies in layouts are trained on, which a model learns more slowly: with as many epochs as equal or edited ones it
/// recites two thirds of the passages.
const LAYOUT_EPOCHS: u64 = 2;

/// The rule of documents whose mask is ignored.
pub(super) fn unmasked() -> RuleParameters {
    rule("text", K)
}

pub(super) fn rule(name: &str, k: u32) -> RuleParameters {
    match name {
        "text-v1" => TextV1::new(k).into(),
        "anchor" => Anchor::new(k).into(),
        "hash" => Hash::new(k).into(),
        "static" => Static::new(k).into(),
        "random" => Random::new(k).into(),
        _ => Text::new(k).into(),
    }
}

/// An arm without a mask.
fn plain(copies: SweepCopies, series: &'static str) -> Plan {
    let group = if copies == SweepCopies::Equal { String::new() } else { format!("{}-", copies.name()) };
    Plan {
        name: format!("{group}{series}"),
        corpus: Corpus { copies, control: series == "control" },
        series,
        k: None,
        variant: None,
        rule: unmasked(),
        use_mask: false,
        longer: false,
        architecture: "llama",
        compares: false,
    }
}

/// The arms of one architecture: the standard loss, the mask, and a control.
fn of_architecture(architecture: &'static str) -> [Plan; 3] {
    let equal = SweepCopies::Equal;
    let plans = [plain(equal, "standard"), masked(equal, "text", ARCHITECTURES_K), plain(equal, "control")];
    plans.map(|plan| Plan {
        name: format!("{architecture}-{}", plan.series),
        variant: Some(architecture.to_owned()),
        architecture,
        compares: true,
        ..plan
    })
}

/// An arm with a mask.
fn masked(copies: SweepCopies, series: &'static str, k: u32) -> Plan {
    Plan { k: Some(k), rule: rule(series, k), use_mask: true, ..plain(copies, series) }
}

/// The same arm in another way.
fn variant(plan: Plan, short: &str, variant: &str) -> Plan {
    Plan { name: format!("{}-{short}", plan.name), variant: Some(variant.to_owned()), ..plan }
}

/// Every arm, in order.
pub(super) fn plans(options: &SweepOptions) -> Vec<Plan> {
    let by_k = |series, k| {
        let plan = masked(SweepCopies::Equal, series, k);
        Plan { name: format!("{}-{k}", plan.name), ..plan }
    };
    let mut plans = vec![plain(SweepCopies::Equal, "standard"), plain(SweepCopies::Equal, "control")];
    for series in RULES {
        plans.extend(options.ks.iter().map(|k| by_k(series, *k)));
    }
    plans.push(Plan { longer: true, ..variant(by_k("text", K), "longer", "trained longer") });
    plans.push(plain(SweepCopies::Layouts, "standard"));
    plans.extend(RULES.map(|series| masked(SweepCopies::Layouts, series, K)));
    plans.push(plain(SweepCopies::Edited, "standard"));
    plans.push(plain(SweepCopies::Edited, "control"));
    plans.extend(EDITED_RULES.map(|series| masked(SweepCopies::Edited, series, K)));
    let tight = 2 * K - 2;
    for (run, short, shown) in [
        (Some(tight), format!("run-{tight}"), format!("longest run {tight}")),
        (None, "unbounded".to_owned(), "no longest run".to_owned()),
    ] {
        let plan = variant(masked(SweepCopies::Edited, "text", K), &short, &shown);
        plans.push(Plan { rule: Text::new(K).longest_run(run).into(), ..plan });
    }
    plans.extend(ARCHITECTURES.iter().flat_map(|kind| of_architecture(kind.name)));
    plans
}

/// The arms that are selected.
///
/// # Errors
///
/// If a name is that of no arm, or no arm is left and there is no other part.
pub(super) fn selected<'a>(plans: &'a [Plan], selection: &SweepSelection) -> Result<Vec<&'a Plan>, LabError> {
    let SweepSelection { copies, architectures, parts, only } = selection;
    let names = || plans.iter().map(|plan| plan.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(unknown) = only.iter().find(|name| plans.iter().all(|plan| plan.name != **name)) {
        return Err(LabError::option(
            "only",
            format!("no arm is called {unknown:?}; the arms are {}", names()),
        ));
    }
    let known = || ARCHITECTURES.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ");
    if let Some(unknown) =
        architectures.iter().find(|name| ARCHITECTURES.iter().all(|kind| kind.name != **name))
    {
        return Err(LabError::option(
            "architectures",
            format!("{unknown:?} is unknown; known are {}", known()),
        ));
    }
    let named = |plan: &Plan| only.is_empty() || only.contains(&plan.name);
    let wanted = |plan: &&Plan| {
        let asked = match plan.compares {
            true => {
                parts.contains(&SweepPart::Recitation)
                    && architectures.iter().any(|name| name == plan.architecture)
            }
            false => copies.contains(&plan.corpus.copies),
        };
        asked && named(plan)
    };
    let found: Vec<&Plan> = plans.iter().filter(wanted).collect();
    // Other parts have no arms.
    let other_parts = !architectures.is_empty() && parts.iter().any(|part| *part != SweepPart::Recitation);
    if found.is_empty() && !other_parts {
        return Err(LabError::option(
            "only",
            "none of these arms has copies of the kinds that are asked for",
        ));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn arms_have_different_names_and_corpora_that_exist() {
        let plans = plans(&SweepOptions::default());
        let names: BTreeSet<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
        let all = 48 + 3 * ARCHITECTURES.len();
        assert_eq!((names.len(), plans.len()), (all, all));
        assert!(plans.iter().all(|plan| plan.use_mask == plan.k.is_some()));
        assert!(plans.iter().all(|plan| Corpus::ALL.contains(&plan.corpus)));
    }

    #[test]
    fn arms_are_selected_by_copies_and_name() {
        let plans = plans(&SweepOptions::default());
        let select = |copies: &[SweepCopies], only: &[&str]| {
            let only = only.iter().map(|name| (*name).to_owned()).collect();
            let selection = SweepSelection { copies: copies.to_vec(), only, ..SweepSelection::default() };
            let found = selected(&plans, &selection);
            found.map(|plans| plans.iter().map(|plan| plan.name.clone()).collect::<Vec<_>>())
        };
        assert_eq!(select(&SweepCopies::ALL, &[]).unwrap().len(), 48);
        let by_architecture = |names: &[&str]| {
            let architectures = names.iter().map(|name| (*name).to_owned()).collect();
            let selection = SweepSelection { copies: Vec::new(), architectures, ..SweepSelection::default() };
            selected(&plans, &selection)
                .map(|plans| plans.iter().map(|plan| plan.name.clone()).collect::<Vec<_>>())
        };
        assert_eq!(by_architecture(&["lstm"]).unwrap(), ["lstm-standard", "lstm-text", "lstm-control"]);
        assert!(by_architecture(&["gru"]).is_err());
        let edited = select(&[SweepCopies::Edited], &[]).unwrap();
        assert_eq!(edited.len(), 8);
        assert!(edited.contains(&"edited-text-run-6".to_owned()));
        assert_eq!(select(&SweepCopies::ALL, &["hash-8", "control"]).unwrap(), ["control", "hash-8"]);
        assert!(select(&SweepCopies::ALL, &["hash-5"]).is_err());
        assert!(select(&[SweepCopies::Edited], &["hash-8"]).is_err());
    }
}
