//! Copies of a text with edits, as copies on the web have them, to measure what masks make of them.
//!
//! Words are replaced, inserted or left out, characters misread, lines hyphenated, passages quoted elsewhere. Each copy has its
//! [alignment](Stretch): which of its bytes equal which of the original's, and what was done to the others. A rule that survives edits
//! decides the same about words in equal stretches.
//!
//! ```
//! use goldfish_lab::edits::{Edit, Material, edited};
//!
//! let text = "The ferry was late, and nobody on the lower quay had expected it to come at all.";
//! let copy = edited(text, &[Edit::WordsReplaced(0.2)], &Material::default(), &[1]);
//! for stretch in copy.alignment.iter().filter(|stretch| stretch.edit.is_none()) {
//!     assert_eq!(text[stretch.original.clone()], copy.text[stretch.copy.clone()]);
//! }
//! ```
//!
//! All draws are made in integers by a Mersenne Twister, and words are found with Unicode tables of a fixed version: the same text, edits
//! and key give the same copy on every machine.

mod confusions;
mod edit;
mod patches;
#[cfg(test)]
mod tests;
mod words;

pub use edit::{Edit, EditKind, EditedCopy, Stretch};
use patches::{Draft, Patch};
use rand_mt::Mt64;
use words::scan;
pub use words::words;

/// What new words come from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Material<'a> {
    /// Words to insert or put in place of others; those of the text if there are none.
    pub words: &'a [String],
    /// A text in which passages are quoted; words in any order if it has none.
    pub surroundings: &'a str,
}

/// A copy of a text with some edits.
///
/// The edits are made to the original independently, each with random numbers of its own, so that one of them does not change what another
/// does. Where two would change the same bytes, only the earlier one in `edits` does; a quotation comes before all others.
///
/// `key` determines what is drawn: a seed, and what tells copies apart that must differ, such as a document's number.
///
/// An edit that would change nothing is not made, nor one for which there is no material: in a text of one word that recurs, no word
/// is replaced by another of its words.
#[must_use]
pub fn edited(text: &str, edits: &[Edit], material: &Material<'_>, key: &[u64]) -> EditedCopy {
    let words = scan(text);
    let mut all: Vec<(Patch, EditKind)> = Vec::new();
    let mut ordered: Vec<&Edit> = edits.iter().collect();
    ordered.sort_by_key(|edit| edit.kind() != EditKind::Quotation);
    for edit in ordered {
        let random = Mt64::new_with_key(key.iter().copied().chain([stream(edit.kind())]));
        let mut draft = Draft { text, words: &words, vocabulary: material.words, random };
        let patches = match *edit {
            Edit::WordsReplaced(rate) => draft.replaced(rate),
            Edit::WordsInserted(rate) => draft.inserted(rate),
            Edit::WordsDeleted(rate) => draft.deleted(rate),
            Edit::Characters(rate) => draft.misread(rate),
            Edit::WordsSplit(rate) => draft.split(rate),
            Edit::WordsJoined(rate) => draft.joined(rate),
            Edit::Lines(width) => draft.lines(width),
            Edit::Pages(words) => draft.pages(words),
            Edit::Numbers(rate) => draft.numbers(rate),
            Edit::Names(rate) => draft.names(rate),
            Edit::Quotation(words) => draft.quotation(words, material.surroundings),
        };
        let patches = patches.into_iter().filter(|patch| text[patch.range.clone()] != patch.new);
        all = merged(all, patches.map(|patch| (patch, edit.kind())));
    }
    apply(text, all)
}

/// Distinguishes the random numbers of the edits from each other.
fn stream(kind: EditKind) -> u64 {
    EditKind::ALL.iter().position(|other| *other == kind).map_or(0, |at| at as u64 + 1)
}

/// Patches in order, with those of `later` that touch none of the earlier ones.
fn merged(
    earlier: Vec<(Patch, EditKind)>,
    later: impl Iterator<Item = (Patch, EditKind)>,
) -> Vec<(Patch, EditKind)> {
    let mut merged: Vec<(Patch, EditKind)> = Vec::with_capacity(earlier.len());
    let mut earlier = earlier.into_iter().peekable();
    for (patch, kind) in later {
        let order = |patch: &Patch| (patch.range.start, patch.range.end);
        while let Some(first) = earlier.next_if(|(first, _)| order(first) <= order(&patch)) {
            merged.push(first);
        }
        let free = |other: Option<&(Patch, EditKind)>| !other.is_some_and(|(other, _)| touch(other, &patch));
        // One of `later` never touches another of them, which may be the last one here.
        if free(merged.last()) && free(earlier.peek()) {
            merged.push((patch, kind));
        }
    }
    merged.extend(earlier);
    merged
}

/// Whether two patches would change the same place.
fn touch(one: &Patch, other: &Patch) -> bool {
    let (one, other) = (&one.range, &other.range);
    one.start == other.start || (one.start < other.end && other.start < one.end)
}

fn apply(text: &str, patches: Vec<(Patch, EditKind)>) -> EditedCopy {
    let mut copy = EditedCopy { text: String::with_capacity(text.len()), alignment: Vec::new() };
    let mut done = 0;
    let mut add = |original: std::ops::Range<usize>, new: &str, edit| {
        let start = copy.text.len();
        copy.text += new;
        if !(original.is_empty() && new.is_empty()) {
            copy.alignment.push(Stretch { original, copy: start..copy.text.len(), edit });
        }
    };
    for (Patch { range, new }, kind) in patches {
        add(done..range.start, &text[done..range.start], None);
        done = range.end;
        add(range, &new, Some(kind));
    }
    add(done..text.len(), &text[done..], None);
    copy
}
