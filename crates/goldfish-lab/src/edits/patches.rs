//! Where each kind of edit changes a text, and to what.

use std::collections::BTreeMap;
use std::ops::Range;

use rand_mt::Mt64;

use super::confusions::confusions;
use super::words::{Class, Word, class, join, scan};
use crate::draw::{below, hit, pick};

/// Draws for something different from what is there, before it is left as it is.
const TRIES: usize = 16;

/// Words on each side of a quotation, at most: farther than the windows of any usual rule reach.
const SURROUNDINGS: usize = 400;

/// Least length of made-up surroundings in bytes, on each side.
const MADE_UP: usize = 600;

/// Words of the title in the header of a page.
const TITLE: usize = 3;

/// What is between a quotation and its surroundings, and around the header of a page.
const PARAGRAPH: &str = "\n\n";

/// A change to a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Patch {
    /// The bytes that are replaced.
    pub(super) range: Range<usize>,
    /// What replaces them.
    pub(super) new: String,
}

/// A text, and the random numbers of one edit.
pub(super) struct Draft<'a> {
    pub(super) text: &'a str,
    pub(super) words: &'a [Word],
    /// New words; the text's own if there are none.
    pub(super) vocabulary: &'a [String],
    pub(super) random: Mt64,
}

impl<'a> Draft<'a> {
    fn word(&self, word: &Word) -> &'a str {
        &self.text[word.range.clone()]
    }

    fn draw(&mut self) -> Option<&'a str> {
        if self.vocabulary.is_empty() {
            let word = pick(&mut self.random, self.words)?;
            return Some(self.word(word));
        }
        pick(&mut self.random, self.vocabulary).map(String::as_str).filter(|word| !word.is_empty())
    }

    /// A word that differs from `old` in more than case, with a capital where that one has one.
    fn other(&mut self, old: &str) -> Option<String> {
        let folded = old.to_lowercase();
        for _ in 0..TRIES {
            let new = self.draw()?;
            if new.to_lowercase() != folded {
                let capital = old.starts_with(char::is_uppercase) && new.starts_with(char::is_lowercase);
                return Some(if capital { capitalized(new) } else { new.to_owned() });
            }
        }
        None
    }

    /// The class of the word that ends (or starts) at a byte, where word `number` starts (or ended).
    fn ending(&self, number: usize, at: usize) -> Option<Class> {
        let before = self.words.get(number.checked_sub(1)?)?;
        (before.range.end == at).then_some(before.class)
    }

    fn starting(&self, number: usize, at: usize) -> Option<Class> {
        self.words.get(number + 1).filter(|after| after.range.start == at).map(|after| after.class)
    }

    /// `new` instead of word `number`, with spaces where it would become one word with its neighbors.
    fn instead(&self, number: usize, new: &str) -> String {
        let range = &self.words[number].range;
        spaced(self.ending(number, range.start), new, self.starting(number, range.end))
    }

    pub(super) fn replaced(&mut self, rate: f64) -> Vec<Patch> {
        let mut patches = Vec::new();
        for (number, word) in self.words.iter().enumerate() {
            if hit(&mut self.random, rate)
                && let Some(new) = self.other(self.word(word))
            {
                patches.push(Patch { range: word.range.clone(), new: self.instead(number, &new) });
            }
        }
        patches
    }

    pub(super) fn inserted(&mut self, rate: f64) -> Vec<Patch> {
        let mut patches = Vec::new();
        for (number, word) in self.words.iter().enumerate() {
            if hit(&mut self.random, rate)
                && let Some(new) = self.draw()
            {
                let at = word.range.start;
                patches.push(Patch {
                    range: at..at,
                    new: spaced(self.ending(number, at), new, Some(word.class)),
                });
            }
        }
        patches
    }

    pub(super) fn deleted(&mut self, rate: f64) -> Vec<Patch> {
        let mut patches = Vec::new();
        for (number, word) in self.words.iter().enumerate() {
            if hit(&mut self.random, rate) {
                let start = self.text[..word.range.start].trim_end().len();
                let neighbors = (self.ending(number, start), self.starting(number, word.range.end));
                let joined = matches!(neighbors, (Some(one), Some(other)) if join(one, other));
                let new = if joined { " ".to_owned() } else { String::new() };
                patches.push(Patch { range: start..word.range.end, new });
            }
        }
        patches
    }

    pub(super) fn misread(&mut self, rate: f64) -> Vec<Patch> {
        let mut patches = Vec::new();
        for word in self.words {
            let mut from = word.range.start;
            for (within, c) in self.word(word).char_indices() {
                let at = word.range.start + within;
                if at < from || class(c) == Class::Mark || !hit(&mut self.random, rate) {
                    continue;
                }
                let alike = confusions(&self.text[at..word.range.end]);
                let read = match pick(&mut self.random, &alike) {
                    Some((form, other)) => Some((form.len(), (*other).to_owned())),
                    None => self.letter(c).map(|other| (c.len_utf8(), other.to_string())),
                };
                if let Some((length, new)) = read {
                    from = at + length;
                    patches.push(Patch { range: at..from, new });
                }
            }
        }
        patches
    }

    /// A letter of the text that differs from `old` in more than case.
    fn letter(&mut self, old: char) -> Option<char> {
        for _ in 0..TRIES {
            let word = pick(&mut self.random, self.words)?;
            let word = self.word(word);
            // A word may be as long as the text, so that its characters are not counted.
            let at = word.floor_char_boundary(below(&mut self.random, word.len() as u64) as usize);
            let new = word[at..].chars().next()?;
            if class(new) != Class::Mark && !new.to_lowercase().eq(old.to_lowercase()) {
                return Some(new);
            }
        }
        None
    }

    pub(super) fn split(&mut self, rate: f64) -> Vec<Patch> {
        let mut patches = Vec::new();
        for word in self.words.iter().filter(|word| word.class == Class::Letter && word.letters >= 4) {
            if hit(&mut self.random, rate) {
                let letters = 2 + below(&mut self.random, word.letters as u64 - 3) as usize;
                let at = word.range.start + before_letter(self.word(word), letters);
                patches.push(Patch { range: at..at, new: " ".to_owned() });
            }
        }
        patches
    }

    pub(super) fn joined(&mut self, rate: f64) -> Vec<Patch> {
        let mut patches = Vec::new();
        for pair in self.words.windows(2) {
            let gap = pair[0].range.end..pair[1].range.start;
            let space = !gap.is_empty() && self.text[gap.clone()].trim().is_empty();
            if space && join(pair[0].class, pair[1].class) && hit(&mut self.random, rate) {
                patches.push(Patch { range: gap, new: String::new() });
            }
        }
        patches
    }

    pub(super) fn lines(&mut self, width: usize) -> Vec<Patch> {
        let mut patches = Vec::new();
        let (mut column, mut end) = (0, 0);
        for word in self.words {
            let between = &self.text[end..word.range.start];
            column = match between.rfind('\n') {
                Some(at) => between[at + 1..].chars().count(),
                None => column + between.chars().count(),
            };
            end = word.range.end;
            // What of the word is left for the next line. Marks have no width.
            let (mut at, mut left) = (word.range.start, word.letters);
            while column + left > width {
                let room = width.saturating_sub(column + 1).min(left.saturating_sub(2));
                let start = at - (between.len() - between.trim_end().len());
                if word.class == Class::Letter && room >= 2 {
                    at += before_letter(&self.text[at..end], room);
                    patches.push(Patch { range: at..at, new: "-\n".to_owned() });
                    left -= room;
                } else if at == word.range.start && column > 0 && (start < at || word.class != Class::Letter)
                {
                    patches.push(Patch { range: start..at, new: "\n".to_owned() });
                } else {
                    break;
                }
                column = 0;
            }
            column += left;
        }
        patches
    }

    pub(super) fn pages(&mut self, words: usize) -> Vec<Patch> {
        let words = words.max(1);
        let title: Vec<String> = (0..TITLE).filter_map(|_| self.draw()).map(str::to_uppercase).collect();
        let title = title.join(" ");
        let first = below(&mut self.random, words as u64) as usize;
        let page = 2 + below(&mut self.random, 300) as usize;
        let header = |page: usize| {
            if page.is_multiple_of(2) { format!("{page}   {title}") } else { format!("{title}   {page}") }
        };
        // Nothing is cut where the text begins.
        let starts = self.words.iter().skip(first.max(1)).step_by(words).map(|word| word.range.start);
        starts
            .enumerate()
            .map(|(number, at)| Patch {
                range: at..at,
                new: format!("{PARAGRAPH}{}{PARAGRAPH}", header(page + number)),
            })
            .collect()
    }

    pub(super) fn numbers(&mut self, rate: f64) -> Vec<Patch> {
        let mut patches = Vec::new();
        for word in self.words {
            let old = self.word(word);
            let digits: Vec<(usize, char, u32)> =
                old.char_indices().filter_map(|(at, c)| Some((at, c, zero(c)?))).collect();
            if digits.is_empty() || !hit(&mut self.random, rate) {
                continue;
            }
            if let Some((at, c, zero)) = pick(&mut self.random, &digits).copied() {
                let other = (u32::from(c) - zero + 1 + below(&mut self.random, 9) as u32) % 10;
                let other = char::from_u32(zero + other).unwrap_or(c);
                let new = format!("{}{other}{}", &old[..at], &old[at + c.len_utf8()..]);
                patches.push(Patch { range: word.range.clone(), new });
            }
        }
        patches
    }

    pub(super) fn names(&mut self, rate: f64) -> Vec<Patch> {
        let found: Vec<(usize, &str)> = self.names_of_text();
        let capital = |word: &&String| word.starts_with(char::is_uppercase);
        let given: Vec<&str> = self.vocabulary.iter().filter(capital).map(String::as_str).collect();
        let own: Vec<&str> = found.iter().map(|(_, name)| *name).collect();
        let pool = if given.is_empty() { own } else { given };
        let mut decided: BTreeMap<&str, Option<&str>> = BTreeMap::new();
        let mut patches = Vec::new();
        for (number, name) in found {
            let new = *decided.entry(name).or_insert_with(|| {
                let random = &mut self.random;
                let folded = name.to_lowercase();
                hit(random, rate)
                    .then(|| {
                        (0..TRIES)
                            .filter_map(|_| pick(random, &pool))
                            .find(|new| new.to_lowercase() != folded)
                    })
                    .flatten()
                    .copied()
            });
            if let Some(new) = new {
                let range = self.words[number].range.clone();
                patches.push(Patch { range, new: self.instead(number, new) });
            }
        }
        patches
    }

    /// Words with a capital that no sentence starts with, with their numbers.
    fn names_of_text(&self) -> Vec<(usize, &'a str)> {
        let mut names = Vec::new();
        let mut end = 0;
        for (number, word) in self.words.iter().enumerate() {
            let between = &self.text[end..word.range.start];
            let starts = number == 0 || between.contains(['.', '!', '?', ':', '\n', '…', '"', '“', '«']);
            end = word.range.end;
            if !starts && self.word(word).starts_with(char::is_uppercase) {
                names.push((number, self.word(word)));
            }
        }
        names
    }

    pub(super) fn quotation(&mut self, words: usize, foreign: &str) -> Vec<Patch> {
        let quoted = words.clamp(1, self.words.len().max(1));
        let first = below(&mut self.random, (self.words.len() + 1 - quoted.min(self.words.len())) as u64);
        let passage = self.words.get(first as usize..first as usize + quoted);
        let Some((start, end)) = passage.and_then(|words| words.first().zip(words.last())) else {
            return Vec::new();
        };
        let (before, after) = self.surroundings(foreign);
        vec![
            Patch { range: 0..start.range.start, new: before + PARAGRAPH },
            Patch { range: end.range.end..self.text.len(), new: PARAGRAPH.to_owned() + &after },
        ]
    }

    /// Words in any order.
    fn made_up(&mut self) -> String {
        let mut text = String::new();
        while text.len() < MADE_UP
            && let Some(word) = self.draw()
        {
            text += if text.is_empty() { "" } else { " " };
            text += word;
        }
        text
    }

    /// Text before and after a quotation.
    fn surroundings(&mut self, foreign: &str) -> (String, String) {
        let words = scan(foreign);
        if words.len() < 2 {
            let before = self.made_up();
            return (before, self.made_up());
        }
        let each = SURROUNDINGS.min(words.len() / 2);
        let first = below(&mut self.random, (words.len() - 2 * each + 1) as u64) as usize;
        let from = |word: usize| words.get(word).map_or(foreign.len(), |word| word.range.start);
        let part = |range: Range<usize>| foreign[from(range.start)..from(range.end)].trim().to_owned();
        (part(first..first + each), part(first + each..first + 2 * each))
    }
}

/// `new` between the words of these classes that are directly before and after it, with spaces where it would become one word with
/// them.
fn spaced(before: Option<Class>, new: &str, after: Option<Class>) -> String {
    let base = |c: &Class| *c != Class::Mark;
    let (first, last) = (new.chars().next().map(class), new.chars().rev().map(class).find(base));
    let space = |one: Option<Class>, other: Option<Class>| {
        if one.zip(other).is_some_and(|(one, other)| join(one, other)) { " " } else { "" }
    };
    format!("{}{new}{}", space(before, first), space(last, after))
}

/// Where a word's letter of this number starts, in bytes.
fn before_letter(word: &str, number: usize) -> usize {
    let mut letters = word.char_indices().filter(|(_, c)| class(*c) != Class::Mark);
    letters.nth(number).map_or(word.len(), |(at, _)| at)
}

fn capitalized(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

/// The zero of the decimal digits that a character belongs to, in the scripts that have them in common use.
fn zero(c: char) -> Option<u32> {
    const ZEROS: [u32; 17] = [
        0x30, 0x660, 0x6F0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xE50, 0xED0,
        0x1040, 0x17E0, 0xFF10,
    ];
    ZEROS.into_iter().find(|zero| (*zero..zero + 10).contains(&u32::from(c)))
}
