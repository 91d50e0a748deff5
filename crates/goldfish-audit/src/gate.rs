//! Gates: conditions on what was found, under which a pipeline must stop.
//!
//! ```text
//! gate      = all { "or" all }
//! all       = condition { "and" condition }
//! condition = path relation number
//! path      = name { "." name }
//! relation  = "<" | "<=" | ">" | ">=" | "==" | "!="
//! number    = a finite decimal number, such as 0.01, 5 or 1e-3
//! ```
//!
//! A path leads through the JSON object of a [`Summary`](crate::summary::Summary) or
//! [`Comparison`](crate::summary::Comparison) to a number; the members of lists have none. It is checked against the
//! type when the gate is read, before anything runs. A number that is missing in the end, such as an excess without a
//! control, is an error as well, wherever it is in the gate: what can't be decided never passes.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::canary::FOUND;
use crate::error::AuditError;
use crate::summary::Summary;

/// A condition on a `T`, as `exact_match.upper > 0.01 and excess.rouge_l.lower > 0`.
#[derive(Debug, Clone)]
pub struct Gate<T> {
    text: String,
    /// One of these holds: all of its conditions do.
    alternatives: Vec<Vec<Condition>>,
    of: PhantomData<T>,
}

#[derive(Debug, Clone)]
struct Condition {
    path: String,
    relation: Relation,
    limit: f64,
}

type Relation = (&'static str, fn(&f64, &f64) -> bool);

const RELATIONS: [Relation; 6] =
    [("<=", f64::le), (">=", f64::ge), ("==", f64::eq), ("!=", f64::ne), ("<", f64::lt), (">", f64::gt)];

/// A gate whose condition holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateFailure {
    /// The gate as it was given.
    pub gate: String,
    /// The values that decided, by path.
    pub values: Vec<GateValue>,
}

/// A value that a gate looked at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateValue {
    /// Its path.
    pub path: String,
    /// What it is.
    pub value: f64,
}

impl fmt::Display for GateFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} holds", self.gate)?;
        for (i, GateValue { path, value }) in self.values.iter().enumerate() {
            write!(f, "{}{path} is {value}", if i == 0 { ": " } else { ", " })?;
        }
        Ok(())
    }
}

impl<T: JsonSchema> FromStr for Gate<T> {
    type Err = AuditError;

    fn from_str(text: &str) -> Result<Self, AuditError> {
        let bad = |reason: String| AuditError::BadGate { gate: text.to_owned(), reason };
        let schema = schemars::schema_for!(T).to_value();
        let mut alternatives = vec![Vec::new()];
        // Words, with relations as words of their own with or without spaces around them.
        let words = words(text);
        let mut words = words.iter().map(String::as_str);
        loop {
            let condition = condition(&mut words).map_err(&bad)?;
            check_path(&schema, &condition.path).map_err(&bad)?;
            if let Some(last) = alternatives.last_mut() {
                last.push(condition);
            }
            match words.next() {
                None => break,
                Some("and") => {}
                Some("or") => alternatives.push(Vec::new()),
                Some(word) => return Err(bad(format!("`and`, `or` or the end was expected, not `{word}`"))),
            }
        }
        Ok(Self { text: text.trim().to_owned(), alternatives, of: PhantomData })
    }
}

impl<T> fmt::Display for Gate<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<T: Serialize> Gate<T> {
    /// What makes the gate fail: its first alternative that holds; `None` if none does.
    ///
    /// # Errors
    ///
    /// If a number that the gate names is missing, whatever the others are.
    pub fn failure(&self, found: &T) -> Result<Option<GateFailure>, AuditError> {
        let bad = |reason: String| AuditError::BadGate { gate: self.text.clone(), reason };
        let found = serde_json::to_value(found).map_err(|error| bad(error.to_string()))?;
        let mut failure = None;
        for conditions in &self.alternatives {
            let mut values = Vec::new();
            let mut holds = true;
            for Condition { path, relation: (_, relation), limit } in conditions {
                let value = value_at(&found, path).map_err(&bad)?;
                holds &= relation(&value, limit);
                values.push(GateValue { path: path.clone(), value });
            }
            if holds && failure.is_none() {
                failure = Some(GateFailure { gate: self.text.clone(), values });
            }
        }
        Ok(failure)
    }
}

/// The gates that fail.
///
/// # Errors
///
/// As [`Gate::failure`].
pub fn failures<T: Serialize>(gates: &[Gate<T>], found: &T) -> Result<Vec<GateFailure>, AuditError> {
    gates.iter().filter_map(|gate| gate.failure(found).transpose()).collect()
}

/// The gates that fail on an audit: those given, and that of a positive control that was not found.
///
/// # Errors
///
/// As [`Gate::failure`].
pub fn audit_failures(gates: &[Gate<Summary>], found: &Summary) -> Result<Vec<GateFailure>, AuditError> {
    let mut failures = failures(gates, found)?;
    if let Some(canary) = found.canary.filter(|canary| !canary.passed) {
        let path = "canary.exact_match.rate".to_owned();
        let value = canary.exact_match.rate;
        failures.push(GateFailure {
            gate: format!("the positive control failed: {path} < {FOUND}"),
            values: vec![GateValue { path, value }],
        });
    }
    Ok(failures)
}

fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut in_relation = false;
    for c in text.chars() {
        let is_relation = "<>=!".contains(c);
        if c.is_whitespace() || is_relation != in_relation {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| !c.is_whitespace()) {
            word.push(c);
        }
        in_relation = is_relation;
    }
    words.retain(|word| !word.is_empty());
    words
}

fn condition<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<Condition, String> {
    let example = "as in `exact_match.upper > 0.01`";
    let path = words.next().ok_or_else(|| format!("a condition is missing, {example}"))?;
    let sign = words.next().ok_or_else(|| {
        format!("a relation is missing after `{path}`, {example}; quote the gate, or the shell takes the `>`")
    })?;
    let relation = RELATIONS.into_iter().find(|(name, _)| *name == sign);
    let relation =
        relation.ok_or_else(|| format!("`{sign}` is none of <, <=, >, >=, == and !=, {example}"))?;
    let limit = words.next().ok_or_else(|| format!("a number is missing after `{sign}`, {example}"))?;
    let number = limit.parse().ok().filter(|number: &f64| number.is_finite());
    let limit = number.ok_or_else(|| format!("`{limit}` is not a finite number, {example}"))?;
    Ok(Condition { path: path.to_owned(), relation, limit })
}

/// Whether a path leads to a number of the type; else the reason, with the names that do exist.
fn check_path(schema: &Value, path: &str) -> Result<(), String> {
    let mut node = schema;
    let mut walked = String::new();
    for name in path.split('.') {
        let members = members(schema, node);
        node =
            members.iter().find(|(member, _)| *member == name).map(|(_, node)| *node).ok_or_else(|| {
                let known: Vec<&str> = members
                    .iter()
                    .filter(|(_, node)| is_number(node) || !self::members(schema, node).is_empty())
                    .map(|(name, _)| *name)
                    .collect();
                let inside = if walked.is_empty() { String::new() } else { format!(" in {walked}") };
                match known.as_slice() {
                    [] => format!("{walked} has no members"),
                    known => format!("there is no `{name}`{inside}, but {}", known.join(", ")),
                }
            })?;
        walked = if walked.is_empty() { name.to_owned() } else { format!("{walked}.{name}") };
    }
    if is_number(node) {
        return Ok(());
    }
    let numbers: Vec<String> =
        members(schema, node).iter().map(|(name, _)| format!("{path}.{name}")).collect();
    match numbers.as_slice() {
        [] => Err(format!("{path} is not a number")),
        numbers => Err(format!("{path} is not a number; there are {}", numbers.join(", "))),
    }
}

/// Names and schemas of an object's members, through references and through what may be null.
fn members<'a>(schema: &'a Value, node: &'a Value) -> Vec<(&'a str, &'a Value)> {
    if let Some(reference) = node["$ref"].as_str() {
        return schema
            .pointer(reference.trim_start_matches('#'))
            .map_or_else(Vec::new, |to| members(schema, to));
    }
    if let Some(choices) = node["anyOf"].as_array() {
        return choices.iter().flat_map(|choice| members(schema, choice)).collect();
    }
    node["properties"]
        .as_object()
        .map(|found| found.iter().map(|(name, node)| (name.as_str(), node)).collect())
        .unwrap_or_default()
}

fn is_number(node: &Value) -> bool {
    let is = |kind: &Value| kind == "number" || kind == "integer";
    is(&node["type"]) || node["type"].as_array().is_some_and(|kinds| kinds.iter().any(is))
}

/// The number at a path; else why there is none.
fn value_at(found: &Value, path: &str) -> Result<f64, String> {
    let mut node = found;
    let mut walked = String::new();
    for name in path.split('.') {
        walked = if walked.is_empty() { name.to_owned() } else { format!("{walked}.{name}") };
        let members = node.as_object();
        node = members.and_then(|members| members.get(name)).unwrap_or(&Value::Null);
        if node.is_null() {
            let known =
                members.into_iter().flatten().filter(|(_, value)| value.is_number() || value.is_object());
            let known: Vec<&str> = known.map(|(name, _)| name.as_str()).collect();
            return Err(format!(
                "{walked} has no value here, so {path} can't be decided; values have {}",
                known.join(", ")
            ));
        }
    }
    node.as_f64().ok_or_else(|| format!("{path} is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stat::{Difference, McNemar};
    use crate::summary::{Comparison, PerScore, Summary};

    fn comparison() -> Comparison {
        let difference = Difference { difference: Some(0.25), lower: Some(0.125), upper: None };
        Comparison {
            probes: 40,
            unpaired: 2,
            exact_match_test: McNemar { first_only: 12, second_only: 2, exact: 0.013, clustered: 0.0075 },
            differences: PerScore::new(|score| match score.name {
                "rouge_l_words" => Difference { difference: None, lower: None, upper: None },
                _ => difference,
            }),
        }
    }

    fn failure(gate: &str) -> Result<Option<String>, String> {
        let gate: Gate<Comparison> = gate.parse().map_err(|error: AuditError| error.to_string())?;
        let found = gate.failure(&comparison()).map_err(|error| error.to_string())?;
        Ok(found.map(|failure| failure.to_string()))
    }

    #[test]
    fn every_relation() {
        for (gate, holds) in [
            ("probes > 39", true),
            ("probes > 40", false),
            ("probes>=40", true),
            ("probes < 40", false),
            ("probes<=4e1", true),
            ("probes == 40.0", true),
            ("probes != 40", false),
            ("differences.exact_match.lower > -1", true),
            ("probes > 39 and unpaired > 2", false),
            ("probes > 39 and unpaired > 2 or exact_match_test.clustered < 0.05", true),
            ("unpaired > 2 or probes > 39 and unpaired == 2", true),
        ] {
            assert_eq!(failure(gate).unwrap().is_some(), holds, "{gate}");
        }
    }

    #[test]
    fn a_failure_names_what_decided() {
        let gate = "unpaired > 2 or differences.rouge_l.lower > 0.1 and exact_match_test.exact<0.05";
        let said =
            format!("{gate} holds: differences.rouge_l.lower is 0.125, exact_match_test.exact is 0.013");
        assert_eq!(failure(gate), Ok(Some(said)));
    }

    #[test]
    fn what_cannot_be_decided_is_an_error() {
        let expect = |gate: &str, words: &[&str]| {
            let error = failure(gate).unwrap_err();
            for word in [gate].iter().chain(words) {
                assert!(error.contains(word), "{gate:?}: {error}");
            }
        };
        expect("differences.exact_match.uper > 0", &["no `uper` in differences.exact_match", "lower, upper"]);
        expect("exact_match.rate > 0", &["no `exact_match`", "differences", "probes"]);
        expect("differences.loss > 0", &["differences.loss is not a number", "differences.loss.lower"]);
        expect("probes.n > 0", &["probes has no members"]);
        expect("", &["a condition is missing"]);
        expect("probes", &["quote the gate"]);
        expect("probes = 3", &["none of"]);
        expect("probes => 3", &["none of"]);
        expect("probes >", &["a number is missing"]);
        expect("probes > nan", &["not a finite number"]);
        expect("probes > inf", &["not a finite number"]);
        expect("probes > 1%", &["not a finite number"]);
        expect("probes > 1 and", &["a condition is missing"]);
        expect("probes > 1 unpaired > 2", &["`and`, `or` or the end"]);
        expect("probes > 1 && unpaired > 2", &["`and`, `or` or the end"]);
        // The other conditions decide nothing: a number that is missing is never passed over.
        expect(
            "probes > 99 and differences.loss.upper > 0",
            &["differences.loss.upper has no value", "lower"],
        );
        expect("probes > 1 or differences.rouge_l_words.lower > 0", &["has no value"]);
    }

    #[test]
    fn summaries_are_known_before_they_are_there() {
        for path in [
            "exact_match.upper",
            "excess.rouge_l.lower",
            "control.exact_match.rate",
            "nontrivial.excess.exact_match.lower",
            "goldfish.loss_difference.lower",
            "probes.duplicates",
            "control_probes.matching.unmatched",
            "cost.forward_tokens",
            "close_calls",
        ] {
            assert!(format!("{path} > 0.01").parse::<Gate<Summary>>().is_ok(), "{path}");
        }
        for path in ["model.name", "strata.exact_match", "key", "goldfish", "notes"] {
            assert!(format!("{path} > 0.01").parse::<Gate<Summary>>().is_err(), "{path}");
        }
        let error = "exactmatch > 1".parse::<Gate<Summary>>().unwrap_err().to_string();
        assert!(error.contains("exact_match,") && !error.contains("notes"), "{error}");
    }
}
