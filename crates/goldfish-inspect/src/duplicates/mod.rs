//! Passages that recur, and what leaks between their copies.
//!
//! A document's normalised stream is *winnowed* (Schleimer, Wilkerson and Aiken, SIGMOD 2003): of all hashes of
//! [`GRAM`] characters in a row, the least of every [`WINDOW`] consecutive ones is a fingerprint, so that two streams
//! with `GRAM + WINDOW - 1` characters in common share one. Places with the same fingerprint are pairs of copies. They
//! are aligned character by character, and over words that differ word by word; then the masks are held side by side.

mod align;
mod compare;
mod excerpt;
mod fingerprint;
mod search;

pub(crate) use fingerprint::fingerprint;
pub(crate) use search::Search;

/// Normalised characters that are hashed together.
pub(crate) const GRAM: usize = 32;

/// Consecutive hashes of which the least is a fingerprint.
pub(crate) const WINDOW: usize = 32;

/// Normalised characters on each side of a shared fingerprint that are compared.
pub(crate) const RADIUS: usize = 1000;
