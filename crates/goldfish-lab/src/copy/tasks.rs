//! Samples of the copy tasks.

use std::collections::{BTreeMap, BTreeSet};

use rand_mt::Mt64;
use serde::{Deserialize, Serialize};

use crate::draw::below;
use crate::error::LabError;

/// Letters of texts, keys and names.
pub(super) const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";
/// Digits of phone numbers.
pub(super) const DIGITS: &str = "0123456789";
/// Between the parts of a sample.
pub(super) const SEPARATOR: char = '|';
/// Between a name and its number.
pub(super) const OF: char = ':';
/// Between the entries of a phone book.
pub(super) const NEXT: char = ',';

/// A task that is solved by copying from the context. Texts are uniform random strings over 26 letters. After [Jelassi et al.
/// 2024](https://arxiv.org/abs/2402.01032), sections 3 and 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CopyTask {
    /// `text|` is answered with the text.
    Copy,
    /// The same with texts in which an n-gram occurs twice, so that it takes more than the last letters to know what follows.
    Duplicates,
    /// `key|text|` is answered with what follows the key in the text. A model of bounded state knows what to look for while it reads.
    PrefixKey,
    /// `text|key` is answered with what follows the key in the text. Nothing but the whole text is enough to remember.
    SuffixKey,
    /// `name:number,name:number|name:` is answered with the number of that name.
    PhoneBook,
}

impl CopyTask {
    /// Every task.
    pub const ALL: [Self; 5] =
        [Self::Copy, Self::Duplicates, Self::PrefixKey, Self::SuffixKey, Self::PhoneBook];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Duplicates => "duplicates",
            Self::PrefixKey => "prefix-key",
            Self::SuffixKey => "suffix-key",
            Self::PhoneBook => "phone-book",
        }
    }

    /// What it is, in a line.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::Copy => "text| is answered with the text",
            Self::Duplicates => "the same with texts in which an n-gram occurs twice",
            Self::PrefixKey => "key|text| is answered with what follows the key in the text",
            Self::SuffixKey => "text|key is answered with what follows the key in the text",
            Self::PhoneBook => "name:number,name:number|name: is answered with the number of that name",
        }
    }
}

/// A task with the sizes of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopyShape {
    /// The task.
    pub task: CopyTask,
    /// Letters of a key, of a name, or of an n-gram that occurs twice.
    pub key: usize,
    /// Letters of the answer to a key, or digits of a number.
    pub answer: usize,
}

impl Default for CopyShape {
    fn default() -> Self {
        Self { task: CopyTask::Copy, key: 3, answer: 4 }
    }
}

/// A question and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopySample {
    /// What the model reads.
    pub question: String,
    /// What it should continue it with.
    pub answer: String,
}

impl CopyShape {
    /// The shortest length that a sample can have.
    #[must_use]
    pub fn shortest(&self) -> usize {
        match self.task {
            CopyTask::Copy | CopyTask::PhoneBook => 1,
            CopyTask::Duplicates => 2 * self.key,
            CopyTask::PrefixKey | CopyTask::SuffixKey => self.key + self.answer,
        }
    }

    /// Characters of a sample of a length: letters of its text, or entries of its phone book.
    #[must_use]
    pub fn characters(&self, length: usize) -> usize {
        match self.task {
            CopyTask::Copy | CopyTask::Duplicates => 2 * length + 1,
            CopyTask::PrefixKey => self.key + length + 2 + self.answer,
            CopyTask::SuffixKey => length + 1 + self.key + self.answer,
            CopyTask::PhoneBook => length * (self.key + self.answer + 2) + self.key + 1 + self.answer,
        }
    }

    /// Checks that samples of a length exist and are found.
    pub(super) fn check(&self, length: usize) -> Result<(), LabError> {
        if self.key == 0 || self.answer == 0 {
            let option = if self.key == 0 { "key" } else { "answer" };
            return Err(LabError::option(option, "must be at least 1"));
        }
        let (task, shortest) = (self.task.name(), self.shortest());
        if length < shortest {
            return Err(LabError::option(
                "length",
                format!("{task} needs {shortest} at least, not {length}"),
            ));
        }
        // So that a key or a name is mostly the only one of its kind.
        let keys = 26_usize.saturating_pow(u32::try_from(self.key).unwrap_or(u32::MAX));
        let unique = !matches!(self.task, CopyTask::Copy | CopyTask::Duplicates);
        if unique && length > keys {
            let reason = format!("{} letters make {keys} keys, too few for a length of {length}", self.key);
            return Err(LabError::option("key", reason));
        }
        Ok(())
    }

    /// Draws a sample of a length, which must not be [too short](Self::shortest).
    pub(super) fn sample(&self, random: &mut Mt64, length: usize) -> CopySample {
        match self.task {
            CopyTask::Copy => copied(string(random, LETTERS, length)),
            CopyTask::Duplicates => copied(with_duplicate(random, self.key, length)),
            CopyTask::PrefixKey => {
                let (text, key, answer) = self.keyed(random, length);
                CopySample { question: format!("{key}{SEPARATOR}{text}{SEPARATOR}"), answer }
            }
            CopyTask::SuffixKey => {
                let (text, key, answer) = self.keyed(random, length);
                CopySample { question: format!("{text}{SEPARATOR}{key}"), answer }
            }
            CopyTask::PhoneBook => self.phone_book(random, length),
        }
    }

    /// A text, a key that occurs in it once, and what follows it there.
    fn keyed(&self, random: &mut Mt64, length: usize) -> (String, String, String) {
        loop {
            let text = string(random, LETTERS, length);
            let mut counts: BTreeMap<&[u8], u32> = BTreeMap::new();
            text.as_bytes().windows(self.key).for_each(|key| *counts.entry(key).or_default() += 1);
            let starts = length.saturating_sub(self.key + self.answer) + 1;
            let first = below(random, starts as u64) as usize;
            let unique = |start: &usize| counts.get(&text.as_bytes()[*start..start + self.key]) == Some(&1);
            if let Some(start) = (first..starts).chain(0..first).find(unique) {
                let end = start + self.key;
                return (text.clone(), text[start..end].into(), text[end..end + self.answer].into());
            }
        }
    }

    fn phone_book(&self, random: &mut Mt64, entries: usize) -> CopySample {
        let mut names = BTreeSet::new();
        let mut book = Vec::new();
        while book.len() < entries {
            let name = string(random, LETTERS, self.key);
            if names.insert(name.clone()) {
                book.push((name, string(random, DIGITS, self.answer)));
            }
        }
        let asked = below(random, entries as u64) as usize;
        let entry = |(name, number): &(String, String)| format!("{name}{OF}{number}");
        let lines: Vec<String> = book.iter().map(entry).collect();
        let (name, answer) = book.swap_remove(asked);
        let question = format!("{}{SEPARATOR}{name}{OF}", lines.join(&NEXT.to_string()));
        CopySample { question, answer }
    }
}

fn copied(text: String) -> CopySample {
    CopySample { question: format!("{text}{SEPARATOR}"), answer: text }
}

/// A text in which an n-gram occurs at two places that don't overlap.
fn with_duplicate(random: &mut Mt64, n: usize, length: usize) -> String {
    let text = string(random, LETTERS, length);
    let from = below(random, (length - 2 * n + 1) as u64) as usize;
    let to = from + n + below(random, (length - n - (from + n) + 1) as u64) as usize;
    format!("{}{}{}", &text[..to], &text[from..from + n], &text[to + n..])
}

fn string(random: &mut Mt64, alphabet: &str, length: usize) -> String {
    let bytes = alphabet.as_bytes();
    (0..length).map(|_| char::from(bytes[below(random, bytes.len() as u64) as usize])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(task: CopyTask) -> CopyShape {
        CopyShape { task, ..CopyShape::default() }
    }

    /// Samples of a task with their lengths.
    fn samples(task: CopyTask) -> Vec<(usize, CopySample)> {
        let mut random = Mt64::new(3);
        let shape = shape(task);
        (0..300).map(|n| n % 40 + shape.shortest()).map(|l| (l, shape.sample(&mut random, l))).collect()
    }

    #[test]
    fn samples_have_their_characters_and_stay_the_same() {
        for task in CopyTask::ALL {
            let found = samples(task);
            assert_eq!(found, samples(task));
            for (length, sample) in found {
                let characters = sample.question.len() + sample.answer.len();
                assert_eq!(characters, shape(task).characters(length), "{task:?} of {length}: {sample:?}");
            }
        }
    }

    #[test]
    fn texts_are_uniform() {
        let mut random = Mt64::new(1);
        let text = string(&mut random, LETTERS, 260_000);
        for letter in LETTERS.chars() {
            let count = text.chars().filter(|found| *found == letter).count();
            assert!(count.abs_diff(10_000) < 500, "{letter}: {count}");
        }
    }

    #[test]
    fn texts_are_answered_with_themselves() {
        for (_, sample) in samples(CopyTask::Copy).into_iter().chain(samples(CopyTask::Duplicates)) {
            assert_eq!(sample.question, format!("{}|", sample.answer));
        }
        for (_, CopySample { answer, .. }) in samples(CopyTask::Duplicates) {
            let twice = |at: usize| answer[at + 3..].contains(&answer[at..at + 3]);
            assert!((0..=answer.len() - 6).any(twice), "{answer}");
        }
    }

    #[test]
    fn keys_stand_once_before_their_answers() {
        for task in [CopyTask::PrefixKey, CopyTask::SuffixKey] {
            for (length, sample) in samples(task) {
                let parts: Vec<&str> = sample.question.split('|').collect();
                let (key, text) = match (task, parts.as_slice()) {
                    (CopyTask::PrefixKey, [key, text, ""]) => (key, text),
                    (CopyTask::SuffixKey, [text, key]) => (key, text),
                    _ => panic!("{sample:?}"),
                };
                let places = text.as_bytes().windows(3).filter(|found| *found == key.as_bytes()).count();
                assert_eq!((places, text.len(), sample.answer.len()), (1, length, 4), "{sample:?}");
                assert!(text.contains(&format!("{key}{}", sample.answer)), "{sample:?}");
            }
        }
        // With one letter of 26 most keys stand more than once.
        let short = CopyShape { task: CopyTask::SuffixKey, key: 1, answer: 1 };
        let mut random = Mt64::new(0);
        for _ in 0..100 {
            let (text, key, _) = short.keyed(&mut random, 26);
            assert_eq!(text.matches(&key).count(), 1);
        }
    }

    #[test]
    fn phone_books_have_each_name_once() {
        for (entries, sample) in samples(CopyTask::PhoneBook) {
            let (book, asked) = sample.question.split_once('|').unwrap();
            let book: BTreeMap<&str, &str> =
                book.split(',').filter_map(|entry| entry.split_once(':')).collect();
            assert_eq!(book.len(), entries);
            assert_eq!(book.get(asked.trim_end_matches(':')), Some(&sample.answer.as_str()));
        }
    }

    #[test]
    fn lengths_without_samples_are_refused() {
        let refused = |shape: CopyShape, length: usize| shape.check(length).unwrap_err().to_string();
        assert!(refused(shape(CopyTask::SuffixKey), 6).contains("needs 7"));
        assert!(refused(shape(CopyTask::Duplicates), 5).contains("needs 6"));
        let one = CopyShape { task: CopyTask::PhoneBook, key: 1, answer: 4 };
        assert!(refused(one, 27).contains("26 keys"));
        assert!(one.check(26).is_ok() && shape(CopyTask::Copy).check(100_000).is_ok());
        assert!(refused(CopyShape { key: 0, ..one }, 9).starts_with("key"));
    }
}
