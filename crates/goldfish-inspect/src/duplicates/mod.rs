//! Passages that recur, and what leaks between their copies.
//!
//! A document's normalized stream is *winnowed* (Schleimer, Wilkerson and Aiken, SIGMOD 2003): of all hashes of 32 letters in
//! a row, the least of every 32 consecutive ones is a fingerprint, so that two streams with 63 letters in common share one.
//! Locations with the same fingerprint are pairs of copies. They are aligned letter by letter, and beyond words that differ
//! word by word; then their masks are compared. Where there is no text, ids take the part of letters and words.

mod align;
mod compare;
mod differences;
mod excerpt;
mod extend;
mod fingerprint;
mod grain;
mod groups;
mod location;
mod near;
mod rules;
mod search;
mod sums;

pub(crate) use excerpt::Document;
pub(crate) use fingerprint::Fingerprints;
pub use near::{Passage, near_copies};
pub(crate) use rules::{Against, Masks};
pub(crate) use search::{Found, Search};
pub(crate) use sums::FEWEST_PASSAGES;
