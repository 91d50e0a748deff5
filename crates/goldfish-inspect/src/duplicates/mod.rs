//! Passages that recur, and what leaks between their copies.
//!
//! Some documents are indexed by [`goldfish_match`], and all are searched for passages of these. A pair of copies is aligned again
//! around a word in common, letter by letter, and beyond words that differ word by word; then their masks are compared. Where
//! there is no text, ids take the part of letters and words.

mod align;
mod compare;
mod differences;
mod excerpt;
mod extend;
mod grain;
mod groups;
mod location;
mod near;
mod rules;
mod search;
mod sums;

pub(crate) use excerpt::Document;
pub use near::{Passage, near_copies};
pub(crate) use rules::{Against, Masks};
pub(crate) use search::{Copies, DocumentWords, Finder, Found, Needles, Search};
pub(crate) use sums::FEWEST_PASSAGES;
