//! Conditions on a document: its columns, its input and its id.

use std::fmt;

use glob::{MatchOptions, Pattern};
use serde_json::Value;

/// What a condition looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The name of the input.
    Path,
    /// The id of the document.
    Document,
    /// A column, or a dotted path to a field inside one.
    Column(String),
}

impl Subject {
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "path" => Self::Path,
            "document" => Self::Document,
            column => Self::Column(column.to_owned()),
        }
    }
}

/// A test of one value.
#[derive(Debug, Clone, PartialEq)]
enum Test {
    AnyOf(Vec<Scalar>),
    NoneOf(Vec<Scalar>),
    /// One of these at least matches.
    Globs(Vec<Pattern>),
    /// None of these matches.
    NoGlobs(Vec<Pattern>),
    /// Numbers between two bounds.
    Between(Bound, Bound),
    Present(bool),
}

/// A bound of a range: what may equal it, and whether it may.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bound {
    value: f64,
    included: bool,
}

/// A value to compare with.
#[derive(Debug, Clone, PartialEq)]
enum Scalar {
    Text(String),
    Number(f64),
}

impl Scalar {
    fn parse(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Bool(value) => Some(Self::Text(value.to_string())),
            Value::Number(number) => number.as_f64().map(Self::Number),
            _ => None,
        }
    }

    fn equals(&self, text: &str) -> bool {
        match self {
            Self::Text(own) => own == text,
            Self::Number(own) => number(text) == Some(*own),
        }
    }

    /// As a column has it.
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// The number that a text spells.
fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

impl Bound {
    const UNBOUNDED: [Self; 2] =
        [Self { value: f64::NEG_INFINITY, included: true }, Self { value: f64::INFINITY, included: true }];

    /// Whether a number is on the right side of a lower bound.
    fn is_below(self, number: f64) -> bool {
        if self.included { self.value <= number } else { self.value < number }
    }

    /// Whether a number is on the right side of an upper bound.
    fn is_above(self, number: f64) -> bool {
        if self.included { number <= self.value } else { number < self.value }
    }
}

/// The names of the tests.
const TESTS: &str = "at_least, at_most, above, below, not, glob, present";

/// A value that all tests must hold for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Condition {
    pub(crate) subject: Subject,
    tests: Vec<Test>,
}

impl Condition {
    /// Reads a condition as a policy file has it.
    pub(crate) fn parse(name: &str, value: &Value) -> Result<Self, String> {
        let subject = Subject::named(name);
        let tests = match value {
            Value::Object(tests) if tests.is_empty() => {
                return Err(format!("{name} has no test: one of {TESTS}"));
            }
            Value::Object(tests) => {
                parse_tests(name, tests.iter().map(|(test, value)| (test.as_str(), value)), &subject)?
            }
            // Paths are rarely known whole.
            value if subject == Subject::Path => vec![Test::Globs(globs(name, value)?)],
            value => vec![Test::AnyOf(scalars(name, value)?)],
        };
        let condition = Self { subject, tests };
        match condition.is_possible() {
            true => Ok(condition),
            false => Err(format!("no value of {name} meets {value}")),
        }
    }

    /// Whether a value, or the absence of one, meets it.
    pub(crate) fn meets(&self, value: Option<&str>) -> bool {
        self.tests.iter().all(|test| test.meets(value))
    }

    /// Whether any value can meet it.
    fn is_possible(&self) -> bool {
        let listed = self.tests.iter().find_map(|test| match test {
            Test::AnyOf(values) => Some(values),
            _ => None,
        });
        let absent = self.tests.contains(&Test::Present(false));
        match listed {
            Some(values) => values.iter().any(|value| self.meets(Some(&value.text()))),
            None if absent => self.meets(None),
            None => self.tests.iter().all(|test| match test {
                Test::Between(low, high) => {
                    low.value < high.value || low.value == high.value && low.included && high.included
                }
                _ => true,
            }),
        }
    }

    /// Whether what meets this surely meets the other one, of the same subject.
    fn implies(&self, other: &Self) -> bool {
        let listed = self.tests.iter().find_map(|test| match test {
            Test::AnyOf(values) => Some(values),
            _ => None,
        });
        match listed {
            Some(values) => {
                values.iter().all(|value| other.tests.iter().all(|test| test.surely_meets(value)))
            }
            None => other.tests.iter().all(|test| self.tests.iter().any(|own| own.implies(test))),
        }
    }
}

impl Test {
    fn meets(&self, value: Option<&str>) -> bool {
        match (self, value) {
            (Self::Present(wanted), value) => value.is_some() == *wanted,
            (_, None) => false,
            (Self::AnyOf(values), Some(text)) => values.iter().any(|value| value.equals(text)),
            (Self::NoneOf(values), Some(text)) => !values.iter().any(|value| value.equals(text)),
            (Self::Globs(patterns), Some(text)) => patterns.iter().any(|pattern| matches(pattern, text)),
            (Self::NoGlobs(patterns), Some(text)) => !patterns.iter().any(|pattern| matches(pattern, text)),
            (Self::Between(low, high), Some(text)) => {
                number(text).is_some_and(|number| low.is_below(number) && high.is_above(number))
            }
        }
    }

    /// Whether every text that equals a value meets it: a number has many spellings.
    fn surely_meets(&self, value: &Scalar) -> bool {
        match (self, value) {
            (test, Scalar::Text(text)) => test.meets(Some(text)),
            (Self::Present(wanted), _) => *wanted,
            (Self::Between(low, high), Scalar::Number(number)) => {
                low.is_below(*number) && high.is_above(*number)
            }
            (Self::AnyOf(values), number) => values.contains(number),
            (Self::NoneOf(values), number) => {
                values.iter().all(|value| matches!(value, Scalar::Number(_)) && value != number)
            }
            (Self::Globs(_) | Self::NoGlobs(_), _) => false,
        }
    }

    fn implies(&self, other: &Self) -> bool {
        match (self, other) {
            (one, other) if one == other => true,
            (Self::Present(false), _) => false,
            (_, Self::Present(true)) => true,
            (Self::Between(low, high), Self::Between(other_low, other_high)) => {
                let within = |inner: &Bound, outer: &Bound| {
                    inner.value == outer.value && (outer.included || !inner.included)
                };
                (low.value > other_low.value || within(low, other_low))
                    && (high.value < other_high.value || within(high, other_high))
            }
            (_, Self::Globs(patterns)) => patterns.iter().any(|pattern| pattern.as_str() == "**"),
            _ => false,
        }
    }
}

/// Whether every document that meets all of `later` meets all of `earlier`.
pub(crate) fn covers(earlier: &[Condition], later: &[Condition]) -> bool {
    earlier.iter().all(|needed| {
        let mut same = later.iter().filter(|condition| condition.subject == needed.subject);
        same.any(|condition| condition.implies(needed))
    })
}

fn scalars(name: &str, value: &Value) -> Result<Vec<Scalar>, String> {
    let values = match value {
        Value::Array(values) => values.iter().collect(),
        value => vec![value],
    };
    if values.is_empty() {
        return Err(format!("{name} has an empty list, which nothing is in"));
    }
    let scalar = |value: &&Value| {
        Scalar::parse(value).ok_or_else(|| format!("{name} is {value}, not a string, a number or a boolean"))
    };
    values.iter().map(scalar).collect()
}

fn matches(pattern: &Pattern, text: &str) -> bool {
    let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
    pattern.matches_with(text, options)
}

fn globs(name: &str, value: &Value) -> Result<Vec<Pattern>, String> {
    let values = match value {
        Value::Array(values) if values.is_empty() => {
            return Err(format!("{name} has an empty list, which nothing is in"));
        }
        Value::Array(values) => values.iter().collect(),
        value => vec![value],
    };
    let glob = |value: &&Value| match value.as_str() {
        Some(pattern) => parse_glob(name, pattern),
        None => Err(format!("{name} has {value}, which is no string")),
    };
    values.iter().map(glob).collect()
}

fn parse_glob(name: &str, pattern: &str) -> Result<Pattern, String> {
    Pattern::new(pattern).map_err(|error| format!("{name} has {pattern:?}, which is no glob: {error}"))
}

fn parse_tests<'a>(
    name: &str,
    tests: impl Iterator<Item = (&'a str, &'a Value)>,
    subject: &Subject,
) -> Result<Vec<Test>, String> {
    let [mut low, mut high] = Bound::UNBOUNDED;
    let (mut found, mut is_range) = (Vec::new(), false);
    for (test, value) in tests {
        let number = || match (value.as_f64(), subject) {
            (Some(number), Subject::Column(_)) => Ok(number),
            (Some(_), _) => Err(format!("{name} is no number, so that it has no {test}")),
            (None, _) => Err(format!("{name} has {test} = {value}, which is no number")),
        };
        match test {
            "at_least" | "above" => {
                let bound = Bound { value: number()?, included: test == "at_least" };
                // Of two bounds the one that takes less.
                if bound.value > low.value || bound.value == low.value && !bound.included {
                    low = bound;
                }
                is_range = true;
            }
            "at_most" | "below" => {
                let bound = Bound { value: number()?, included: test == "at_most" };
                if bound.value < high.value || bound.value == high.value && !bound.included {
                    high = bound;
                }
                is_range = true;
            }
            "not" if *subject == Subject::Path => found.push(Test::NoGlobs(globs(name, value)?)),
            "not" => found.push(Test::NoneOf(scalars(name, value)?)),
            "glob" => found.push(Test::Globs(globs(name, value)?)),
            "$__toml_private_datetime" => {
                return Err(format!(
                    "{name} is the date {value}; write it in quotation marks, to compare it as text"
                ));
            }
            "present" => match value.as_bool() {
                Some(present) => found.push(Test::Present(present)),
                None => return Err(format!("{name} has present = {value}, which is neither true nor false")),
            },
            _ => {
                return Err(format!(
                    "{name} has the unknown test {test:?}; there are {TESTS}. A path into a column is written in quotation \
                     marks: \"{name}.{test}\""
                ));
            }
        }
    }
    if is_range {
        found.push(Test::Between(low, high));
    }
    Ok(found)
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "path",
            Self::Document => "document",
            Self::Column(name) => name,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn condition(name: &str, value: Value) -> Condition {
        Condition::parse(name, &value).unwrap()
    }

    #[test]
    fn values_are_compared_as_text_or_as_numbers() {
        let source = condition("source", json!("books"));
        assert!(source.meets(Some("books")) && !source.meets(Some("book")) && !source.meets(None));
        let list = condition("source", json!(["books", "news", 3]));
        assert!(list.meets(Some("news")) && list.meets(Some("3")) && list.meets(Some("3.0")));
        let copies = condition("copies", json!({"at_least": 5, "below": 100}));
        assert!(copies.meets(Some("5")) && copies.meets(Some("99.5")));
        assert!(!copies.meets(Some("100")) && !copies.meets(Some("4")) && !copies.meets(Some("many")));
        let not = condition("language", json!({"not": ["en", "de"]}));
        assert!(not.meets(Some("fr")) && !not.meets(Some("en")) && !not.meets(None));
        let absent = condition("license", json!({"present": false}));
        assert!(absent.meets(None) && !absent.meets(Some("")));
        assert!(condition("adult", json!(true)).meets(Some("true")));
        let tight = condition("n", json!({"at_least": 5, "above": 100, "below": 300, "at_most": 200}));
        assert!(!tight.meets(Some("50")) && !tight.meets(Some("100")) && tight.meets(Some("101")));
        assert!(tight.meets(Some("200")) && !tight.meets(Some("201")));
        assert!(!condition("n", json!({"at_least": 5})).meets(Some("inf")));
    }

    #[test]
    fn paths_are_globs_whose_stars_stay_in_a_folder() {
        let books = condition("path", json!("books/*.jsonl"));
        assert!(books.meets(Some("books/a.jsonl")) && !books.meets(Some("books/x/a.jsonl")));
        assert!(condition("path", json!("books/**")).meets(Some("books/x/a.jsonl")));
        let two = condition("path", json!(["books/**", "news/**"]));
        assert!(two.meets(Some("news/a")) && two.meets(Some("books/a")) && !two.meets(Some("web/a")));
        let others = condition("path", json!({"not": ["books/**", "news/**"]}));
        assert!(!others.meets(Some("news/a")) && others.meets(Some("web/a")));
        assert!(condition("document", json!({"glob": "gutenberg-*"})).meets(Some("gutenberg-12")));
        assert!(!condition("document", json!("gutenberg-*")).meets(Some("gutenberg-12")));
    }

    #[test]
    fn what_nothing_meets_is_refused() {
        for (name, value, message) in [
            ("n", json!({"at_least": 5, "below": 5}), "no value of n meets"),
            ("n", json!({"at_least": "x"}), "which is no number"),
            ("n", json!({"least": 5}), "unknown test \"least\""),
            ("n", json!([]), "empty list"),
            ("n", json!({}), "has no test"),
            ("n", json!([[1]]), "not a string"),
            ("path", json!("["), "no glob"),
            ("path", json!({"at_least": 3}), "path is no number"),
            ("n", json!({"glob": 3}), "which is no string"),
            ("path", json!(["a", 3]), "which is no string"),
            ("n", json!({"$__toml_private_datetime": "2026-01-01"}), "in quotation marks"),
            ("n", json!({"present": 3}), "neither true nor false"),
        ] {
            let error = Condition::parse(name, &value).unwrap_err();
            assert!(error.contains(message), "{value}: {error}");
        }
    }

    #[test]
    fn an_entry_that_an_earlier_one_covers_is_found() {
        let covered = |earlier: &[(&str, Value)], later: &[(&str, Value)]| {
            let of = |list: &[(&str, Value)]| -> Vec<Condition> {
                list.iter().map(|(name, value)| condition(name, value.clone())).collect()
            };
            covers(&of(earlier), &of(later))
        };
        let books = &[("source", json!("books"))][..];
        let english = &[books[0].clone(), ("language", json!("en"))][..];
        assert!(covered(books, english));
        assert!(!covered(english, books));
        assert!(covered(&[("source", json!(["books", "news"]))], books));
        assert!(!covered(books, &[("source", json!(["books", "news"]))]));
        assert!(covered(&[("n", json!({"at_least": 5}))], &[("n", json!({"above": 5}))]));
        assert!(!covered(&[("n", json!({"above": 5}))], &[("n", json!({"at_least": 5}))]));
        assert!(covered(&[("n", json!({"at_least": 5}))], &[("n", json!(7))]));
        assert!(covered(&[("source", json!({"not": "code"}))], books));
        assert!(covered(&[("source", json!({"present": true}))], &[("source", json!({"glob": "b*"}))]));
        assert!(covered(&[("path", json!("**"))], &[("path", json!("books/*"))]));
        assert!(covered(&[], books));
        // The text 5.0 equals the number 5, and not the text 5.
        assert!(!covered(&[("n", json!("5"))], &[("n", json!(5))]));
        assert!(covered(&[("n", json!(5))], &[("n", json!("5.0"))]));
    }
}
