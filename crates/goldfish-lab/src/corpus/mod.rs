//! Made-up passages for experiments: any number, all different, the same on every machine.
//!
//! Sentences come from the rules in `grammar.txt`. Their shapes recur in every passage, so that a model can learn the language;
//! names, things, numbers and their order are drawn for each, so that only a model that saw a passage can continue it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::OnceLock;

use rand_mt::Mt64;
use serde::Serialize;

use crate::draw::below;
use crate::error::LabError;

/// The rules, as text.
const GRAMMAR: &str = include_str!("grammar.txt");

/// Deepest nesting of rules.
const DEEPEST: usize = 8;

type Rules = BTreeMap<&'static str, Vec<&'static str>>;

fn rules() -> &'static Rules {
    static RULES: OnceLock<Rules> = OnceLock::new();
    RULES.get_or_init(|| {
        let mut rules = Rules::new();
        let lines = GRAMMAR.lines().filter(|line| !line.starts_with('#'));
        for (name, alternatives) in lines.filter_map(|line| line.split_once(" = ")) {
            rules.entry(name).or_default().extend(alternatives.split(" | "));
        }
        rules
    })
}

/// Fewest characters of a passage: enough for the 100 tokens of a probe.
const CHARACTERS: usize = 500;

/// A passage of five or six sentences, without line breaks. The same number gives the same passage; another one shares sentence shapes
/// with it and little else.
#[must_use]
pub fn passage(number: u64) -> String {
    let mut writer = Writer { random: Mt64::new(number), decks: BTreeMap::new() };
    let mut passage = writer.sentence();
    while passage.len() < CHARACTERS {
        passage = passage + " " + &writer.sentence();
    }
    passage
}

/// Passages with consecutive numbers.
#[must_use]
pub fn passages(first: u64, count: u64) -> Vec<String> {
    (0..count).map(|number| passage(first.wrapping_add(number))).collect()
}

/// Draws the alternatives of a rule without putting them back until all were drawn, so that neighbors differ.
struct Writer {
    random: Mt64,
    decks: BTreeMap<&'static str, Vec<&'static str>>,
}

impl Writer {
    fn draw(&mut self, rule: &str) -> Option<&'static str> {
        let (name, alternatives) = rules().get_key_value(rule)?;
        let mut deck =
            self.decks.remove(name).filter(|deck| !deck.is_empty()).unwrap_or_else(|| alternatives.clone());
        let at = below(&mut self.random, deck.len() as u64) as usize;
        let drawn = deck.swap_remove(at);
        self.decks.insert(name, deck);
        Some(drawn)
    }

    fn sentence(&mut self) -> String {
        let template = self.draw("prose").unwrap_or_default();
        let text = with_articles(&self.fill(template, DEEPEST));
        let mut characters = text.chars();
        characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
    }

    /// Fills the slots of a template. A slot without a rule stays as written.
    fn fill(&mut self, template: &str, depth: usize) -> String {
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, (slot, after))) =
            rest.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
        {
            text += before;
            text += &self.slot(slot, depth).unwrap_or_else(|| format!("{{{slot}}}"));
            rest = after;
        }
        text + rest
    }

    fn slot(&mut self, slot: &str, depth: usize) -> Option<String> {
        if let Some(range) = slot.strip_prefix("number:") {
            let (low, high) = range.split_once('-')?;
            let (low, high): (u64, u64) = (low.parse().ok()?, high.parse().ok()?);
            return Some((low + below(&mut self.random, high.checked_sub(low)? + 1)).to_string());
        }
        let template = self.draw(slot)?;
        Some(self.fill(template, depth.checked_sub(1)?))
    }
}

/// "a" becomes "an" before a vowel.
fn with_articles(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let vowel = |word: Option<&&str>| word.is_some_and(|word| word.starts_with(['a', 'e', 'i', 'o', 'u']));
    let word = |(at, word): (usize, &&str)| match *word {
        "a" if vowel(words.get(at + 1)) => "an".to_owned(),
        word => word.to_owned(),
    };
    words.iter().enumerate().map(word).collect::<Vec<_>>().join(" ")
}

/// The layout of a copy of a passage, as copies on the web differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Formatting {
    /// On one line.
    Line,
    /// In lines of so many characters at most.
    Wrapped(usize),
    /// The same, each line indented by four spaces.
    Indented(usize),
    /// The same, each line after a comment mark.
    Commented(usize),
    /// On one line, in capitals.
    Capitals,
}

impl Formatting {
    /// Its name in ids and columns.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Line => "line".into(),
            Self::Wrapped(width) => format!("wrapped-{width}"),
            Self::Indented(width) => format!("indented-{width}"),
            Self::Commented(width) => format!("commented-{width}"),
            Self::Capitals => "capitals".into(),
        }
    }

    /// The passage in this layout.
    #[must_use]
    pub fn apply(self, passage: &str) -> String {
        match self {
            Self::Line => passage.to_owned(),
            Self::Wrapped(width) => wrap(passage, width, ""),
            Self::Indented(width) => wrap(passage, width, "    "),
            Self::Commented(width) => wrap(passage, width, "# "),
            Self::Capitals => passage.to_uppercase(),
        }
    }
}

/// Breaks a text at spaces; only words that are longer than `width` characters make longer lines.
fn wrap(text: &str, width: usize, mark: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                *line += " ";
                *line += word;
            }
            _ => lines.push(word.to_owned()),
        }
    }
    let mut wrapped = String::new();
    for (number, line) in lines.iter().enumerate() {
        let _ = write!(wrapped, "{}{mark}{line}", if number == 0 { "" } else { "\n" });
    }
    wrapped
}

/// A line of a corpus file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copy {
    /// Its id: passage, formatting and number of the copy.
    pub id: String,
    /// Its text.
    pub text: String,
    /// How it is laid out.
    pub formatting: String,
}

/// So many copies of each passage in each of some layouts.
#[must_use]
pub fn copies(name: &str, passages: &[String], formattings: &[Formatting], each: usize) -> Vec<Copy> {
    let copy = |(number, passage): (usize, &String), formatting: &Formatting, copy: usize| {
        let copy = if each > 1 { format!("/{copy}") } else { String::new() };
        let formatting_name = formatting.name();
        Copy {
            id: format!("{name}-{number:03}/{formatting_name}{copy}"),
            text: formatting.apply(passage),
            formatting: formatting_name,
        }
    };
    let mut all = Vec::new();
    for passage in passages.iter().enumerate() {
        for formatting in formattings {
            all.extend((0..each).map(|number| copy(passage, formatting, number)));
        }
    }
    all
}

/// Writes copies as JSON lines with `id`, `text` and `formatting`.
///
/// # Errors
///
/// If the file can't be written.
pub fn write(path: &Path, copies: &[Copy]) -> Result<(), LabError> {
    let mut lines = String::new();
    for copy in copies {
        // Strings only: serialization has nothing to fail at.
        lines += &serde_json::to_string(copy).unwrap_or_default();
        lines += "\n";
    }
    goldfish_storage::replace_file(path, lines.as_bytes()).map_err(LabError::io(path, "writing"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn passages_differ_and_stay_the_same() {
        let passages: Vec<String> = (0..200).map(passage).collect();
        assert_eq!(passages[7], passage(7));
        assert!(passages.iter().all(|text| !text.contains(['{', '}', '\n'])), "every slot has a rule");
        let sentences = |text: &String| text.split(". ").map(str::to_owned).collect::<BTreeSet<_>>();
        let all: Vec<String> = passages.iter().flat_map(sentences).collect();
        let different: BTreeSet<&String> = all.iter().collect();
        // Short sentences with few slots may recur; others must not.
        assert!(different.len() * 20 > all.len() * 19, "{} of {}", different.len(), all.len());
    }

    #[test]
    fn layouts_change_white_space_marks_and_case_alone() {
        let text = passage(3);
        let plain =
            |text: &str| text.split_whitespace().filter(|word| *word != "#").collect::<Vec<_>>().join(" ");
        for formatting in [Formatting::Wrapped(40), Formatting::Indented(44), Formatting::Commented(56)] {
            let laid_out = formatting.apply(&text);
            assert_eq!(plain(&laid_out), text);
            assert!(laid_out.lines().count() > 5 && laid_out.lines().all(|line| line.len() <= 62));
        }
        assert_eq!(Formatting::Capitals.apply("a Fog"), "A FOG");
        assert_eq!(wrap("aa bb c", 5, "# "), "# aa bb\n# c");
        assert_eq!(with_articles("a old map of a town, a"), "an old map of a town, a");
    }

    #[test]
    fn ids_tell_copies_apart() {
        let copies = copies("x", &[passage(0), passage(1)], &[Formatting::Line, Formatting::Capitals], 3);
        let ids: BTreeSet<&str> = copies.iter().map(|copy| copy.id.as_str()).collect();
        assert_eq!(ids.len(), 12);
        assert_eq!(copies[4].id, "x-000/capitals/1");
    }
}
