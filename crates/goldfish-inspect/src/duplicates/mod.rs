//! Passages that recur, and what leaks between their copies.
//!
//! A document's normalized stream is *winnowed* (Schleimer, Wilkerson and Aiken, SIGMOD 2003): of all hashes of
//! [`GRAM`](fingerprint::GRAM) characters in a row, the least of every [`WINDOW`](fingerprint::WINDOW) consecutive ones is a
//! fingerprint, so that two streams with `GRAM + WINDOW - 1` characters in common share one. Locations with the same
//! fingerprint are pairs of copies. They are aligned character by character, and over words that differ word by word; then
//! their masks are compared.

mod align;
mod compare;
mod excerpt;
mod fingerprint;
mod location;
mod search;

pub(crate) use fingerprint::fingerprint;
pub(crate) use search::Search;
