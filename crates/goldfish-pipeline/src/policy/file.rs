//! Policy files.

use goldfish_mask::{LongestRunOption, RuleName};
use goldfish_remedy::{Remedies, Remedy, Setting};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::condition::{Condition, covers};
use super::{Policy, PolicyEntry};
use crate::protect::ProtectOptions;
use crate::resolve::{MaskOptions, ResolvedMask, ScopeName};

/// Why a policy can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// It is not TOML.
    #[error("the policy is not TOML")]
    Syntax {
        /// What is wrong, with the line.
        reason: String,
    },
    /// It says things that can't be done.
    #[error(
        "the policy has {}",
        if problems.len() == 1 { "a mistake".into() } else { format!("{} mistakes", problems.len()) }
    )]
    Problems {
        /// One sentence each.
        problems: Vec<String>,
    },
    /// Packed sequences cross documents.
    #[error("a policy decides document by document, and windows of packed sequences cross documents")]
    Sequences,
}

impl Remedies for PolicyError {
    fn remedies(&self) -> Vec<Remedy> {
        match self {
            Self::Sequences => vec![Remedy::omit(Setting::Scope), Remedy::omit(Setting::Policy)],
            Self::Syntax { .. } | Self::Problems { .. } => Vec::new(),
        }
    }
}

/// Largest policy file that is read, in bytes.
pub const MAX_POLICY_BYTES: u64 = 1 << 20;

/// The name of the default entry.
const DEFAULT: &str = "default";

/// The name of the table of protected works.
const PROTECT: &str = "protect";

/// The keys of that table that are options of the works' rule.
const PROTECT_OPTIONS: [&str; 5] = ["k", "context", "head", "longest_run", "seed"];

/// The keys of an entry that are options of its rule.
const OPTIONS: [&str; 9] = ["rule", "k", "context", "unit", "window", "head", "longest_run", "seed", "start"];

impl Policy {
    /// Reads a policy file, and checks all of it.
    ///
    /// `options` has what is the same for all entries: the tokenizer, and what is put around documents and exempt.
    ///
    /// # Errors
    ///
    /// If it is not TOML, or with every mistake in it.
    pub fn parse(text: &str, options: &MaskOptions) -> Result<(Self, ResolvedMask), PolicyError> {
        if options.scope == ScopeName::Sequence {
            return Err(PolicyError::Sequences);
        }
        let table: Map<String, Value> = toml::from_str(text)
            .map_err(|error| PolicyError::Syntax { reason: error.to_string().trim_end().to_owned() })?;
        let mut problems = Vec::new();
        let mut entries: Vec<PolicyEntry> = Vec::new();
        let known = ["policy", DEFAULT, PROTECT];
        for key in table.keys().filter(|key| !known.contains(&key.as_str())) {
            problems.push(format!("unknown key {key:?}; there are [[policy]], [default] and [protect]"));
        }
        let list = match table.get("policy") {
            None => &[][..],
            Some(Value::Array(list)) => list,
            Some(_) => {
                problems.push("policy is not a list of tables: write [[policy]]".into());
                &[]
            }
        };
        for (number, entry) in list.iter().enumerate() {
            match parse_entry(number + 1, entry, options, &mut problems) {
                Some(entry) if entries.iter().any(|other| other.name == entry.name) => {
                    problems.push(format!("two entries have the name {:?}", entry.name));
                }
                Some(entry) => {
                    let cover = entries.iter().find(|earlier| covers(&earlier.conditions, &entry.conditions));
                    if let Some(earlier) = cover {
                        let (name, earlier) = (&entry.name, &earlier.name);
                        problems.push(format!(
                            "{name:?} decides nothing: what it is for, {earlier:?} takes before it"
                        ));
                    }
                    entries.push(entry);
                }
                None => {}
            }
        }
        let default = match table.get(DEFAULT) {
            Some(Value::Object(default)) => {
                if default.contains_key("name") {
                    problems.push("[default] has a name; it is always called default".into());
                }
                if default.contains_key("where") {
                    problems.push("[default] has conditions; it decides what no other entry does".into());
                }
                parse_rule(DEFAULT, default, options, &mut problems)
            }
            Some(_) => {
                problems.push("default is not a table: write [default]".into());
                None
            }
            None => {
                problems.push("there is no [default]: it decides what no other entry does".into());
                None
            }
        };
        let protect = table.get(PROTECT).and_then(|protect| parse_protect(protect, options, &mut problems));
        match default {
            Some(resolved) if problems.is_empty() => {
                entries.push(PolicyEntry {
                    name: DEFAULT.into(),
                    when: Map::new(),
                    conditions: Vec::new(),
                    rule: resolved.rule.clone(),
                    exempt_ids: resolved.exempt_ids.clone(),
                });
                Ok((Self::new(entries, protect), resolved))
            }
            _ => Err(PolicyError::Problems { problems }),
        }
    }
}

/// One of several entries, or `None` after what is wrong with it was noted.
fn parse_entry(
    number: usize,
    entry: &Value,
    options: &MaskOptions,
    problems: &mut Vec<String>,
) -> Option<PolicyEntry> {
    let Some(entry) = entry.as_object() else {
        problems.push(format!("entry {number} is not a table: write [[policy]]"));
        return None;
    };
    let before = problems.len();
    let name = match entry.get("name") {
        Some(Value::String(name)) if name == DEFAULT => {
            problems.push(format!("entry {number} is called \"default\", which is the name of [default]"));
            name.clone()
        }
        Some(Value::String(name)) if !name.is_empty() => name.clone(),
        Some(name) => {
            problems.push(format!("entry {number} has the name {name}, which is no text"));
            format!("entry {number}")
        }
        None => {
            problems.push(format!("entry {number} has no name"));
            format!("entry {number}")
        }
    };
    let when = match entry.get("where") {
        Some(Value::Object(when)) if !when.is_empty() => when.clone(),
        Some(Value::Object(_)) | None => {
            problems
                .push(format!("{name:?} has no conditions; what decides all other documents is [default]"));
            Map::new()
        }
        Some(other) => {
            problems.push(format!("{name:?} has where = {other}: write where = {{ column = \"value\" }}"));
            Map::new()
        }
    };
    let mut conditions = Vec::new();
    for (column, value) in &when {
        match Condition::parse(column, value) {
            Ok(condition) => conditions.push(condition),
            Err(problem) => problems.push(format!("{name:?}: {problem}")),
        }
    }
    let ResolvedMask { rule, exempt_ids, .. } = parse_rule(&name, entry, options, problems)?;
    (problems.len() == before).then_some(PolicyEntry { name, when, conditions, rule, exempt_ids })
}

/// The rule of an entry, which can be built.
fn parse_rule(
    name: &str,
    entry: &Map<String, Value>,
    options: &MaskOptions,
    problems: &mut Vec<String>,
) -> Option<ResolvedMask> {
    let before = problems.len();
    let mut problem = |text: String| problems.push(format!("{name:?}: {text}"));
    for key in entry.keys() {
        if !OPTIONS.contains(&key.as_str()) && key != "name" && key != "where" {
            problem(format!("unknown key {key:?}; there are name, where, {}", OPTIONS.join(", ")));
        }
    }
    let mut options = options.clone();
    let rule = |text: &str| {
        let known = RuleName::ALL.iter().copied().find(|rule| rule.to_string() == text);
        let names: Vec<String> = RuleName::ALL.iter().map(ToString::to_string).collect();
        known.ok_or_else(|| format!("there is no rule {text:?}; there are {}", names.join(", ")))
    };
    if let Some(value) = entry.get("rule") {
        match value.as_str().map_or_else(|| Err(format!("rule is {value}, which is no name")), rule) {
            Ok(rule) => options.rule = Some(rule),
            Err(reason) => problem(reason),
        }
    }
    let mut number = |key: &str, most: u64| -> Option<u64> {
        let value = entry.get(key)?;
        let found = value.as_u64().filter(|number| *number <= most);
        if found.is_none() {
            problem(format!("{key} is {value}, not a whole number from 0 to {most}"));
        }
        found
    };
    const U32: u64 = u32::MAX as u64;
    options.k = number("k", U32).map_or(options.k, |k| k as u32);
    options.context = number("context", U32).map(|context| context as u32);
    // TOML has no larger integers.
    options.seed = number("seed", i64::MAX as u64).unwrap_or(options.seed);
    options.start = number("start", i64::MAX as u64).unwrap_or(options.start);
    options.longest_run = match entry.get("longest_run") {
        Some(Value::String(none)) if none == "none" => Some(LongestRunOption::Unbounded),
        _ => number("longest_run", U32).map(|most| LongestRunOption::Most(most as u32)),
    };
    options.granularity = named(entry, "unit", &mut problem);
    options.window = named(entry, "window", &mut problem);
    options.short_context = named(entry, "head", &mut problem).unwrap_or(options.short_context);
    let resolved = match options.resolve() {
        Ok(resolved) => resolved,
        Err(error) => {
            problem(error.to_string());
            return None;
        }
    };
    if let Err(error) = resolved.rule.build(None) {
        problem(error.to_string());
    }
    (problems.len() == before).then_some(resolved)
}

/// What is protected, or `None` after what is wrong with it was noted.
fn parse_protect(
    protect: &Value,
    options: &MaskOptions,
    problems: &mut Vec<String>,
) -> Option<ProtectOptions> {
    let Some(table) = protect.as_object() else {
        problems.push("protect is not a table: write [protect]".into());
        return None;
    };
    let before = problems.len();
    let mut rule = Map::new();
    rule.insert("rule".into(), "text".into());
    let known = ["works", "text_column", "id_column", "least_words"];
    for (key, value) in table {
        if PROTECT_OPTIONS.contains(&key.as_str()) {
            rule.insert(key.clone(), value.clone());
        } else if !known.contains(&key.as_str()) {
            let known = known.iter().chain(&PROTECT_OPTIONS).copied().collect::<Vec<_>>().join(", ");
            problems.push(format!("{PROTECT:?}: unknown key {key:?}; there are {known}"));
        }
    }
    let mut text = |key: &str| match table.get(key) {
        None => None,
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        Some(value) => {
            problems.push(format!("{PROTECT:?}: {key} is {value}, which is no text"));
            None
        }
    };
    let (works, text_column, id_column) = (text("works"), text("text_column"), text("id_column"));
    if works.is_none() && !table.contains_key("works") {
        problems.push(format!("{PROTECT:?} has no works: name a file, a folder or a glob"));
    }
    let least_words =
        table.get("least_words").map(|value| (value, value.as_u64().and_then(|n| u32::try_from(n).ok())));
    if let Some((value, None | Some(0))) = least_words {
        problems.push(format!("{PROTECT:?}: least_words is {value}, not a whole number from 1 on"));
    }
    // Works are text, whatever the corpus is.
    let options = MaskOptions { k: options.k, ..MaskOptions::default() };
    let resolved = parse_rule(PROTECT, &rule, &options, problems)?;
    (problems.len() == before).then_some(ProtectOptions {
        works: works?,
        text_column: text_column.unwrap_or_else(|| "text".into()),
        id_column: id_column.unwrap_or_else(|| "id".into()),
        rule: resolved.rule,
        least_words: least_words.and_then(|(_, words)| words),
    })
}

/// The value of an option that is one of several words; `None` if it is not given, or after what is wrong with it was noted.
fn named<T: DeserializeOwned>(
    entry: &Map<String, Value>,
    key: &str,
    problem: &mut impl FnMut(String),
) -> Option<T> {
    let value = entry.get(key)?;
    let parsed = serde_json::from_value(value.clone());
    parsed.map_err(|error| problem(format!("{key} is {value}: {error}"))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::DocumentKind;

    fn parse(text: &str) -> Result<Policy, PolicyError> {
        let options = MaskOptions { documents: DocumentKind::Ids, ..MaskOptions::default() };
        Policy::parse(text, &options).map(|(policy, _)| policy)
    }

    #[test]
    fn entries_are_tried_in_order() {
        let policy = parse(
            r#"
            [[policy]]
            name = "copies"
            where = { minhash_cluster_size = { at_least = 5 } }
            rule = "hash"
            k = 3

            [[policy]]
            name = "code"
            where = { "meta.source" = ["code", "notebooks"] }
            rule = "none"

            [default]
            rule = "anchor"
            k = 50
            longest_run = "none"
            "#,
        )
        .unwrap();
        assert_eq!(policy.columns(), ["minhash_cluster_size", "meta.source"]);
        let names: Vec<&str> = policy.entries().iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["copies", "code", "default"]);
        let values = [
            arrow::array::StringArray::from(vec![Some("7"), Some("1"), None]),
            arrow::array::StringArray::from(vec![Some("code"), Some("code"), Some("web")]),
        ];
        let chosen = [0, 1, 2].map(|row| policy.choose("a.jsonl", "d", &values, row));
        assert_eq!(chosen, [0, 1, 2]);
        assert_eq!(policy.entries()[2].rule.k(), Some(50));
    }

    #[test]
    fn every_mistake_is_named() {
        let text = include_str!("mistakes.toml");
        let error = parse(text).unwrap_err();
        let PolicyError::Problems { problems } = &error else { panic!("{error}") };
        let mistakes: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("#: ")).collect();
        for expected in &mistakes {
            let found = problems.iter().filter(|problem| problem.contains(expected)).count();
            assert_eq!(found, 1, "{expected} in {problems:?}");
        }
        assert_eq!((mistakes.len(), problems.len()), (16, 16), "{problems:?}");
    }

    #[test]
    fn what_is_not_toml_is_refused_with_its_line() {
        let error = parse("[default]\nrule = hash\n").unwrap_err();
        let PolicyError::Syntax { reason } = &error else { panic!("{error}") };
        assert!(reason.contains("line 2"), "{reason}");
    }
}
