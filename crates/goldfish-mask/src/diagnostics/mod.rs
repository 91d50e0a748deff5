//! Measures what a rule does to a corpus: how many tokens it drops and keeps and why, what speaks against it there, and
//! which windows it can't distinguish.

mod tally;

pub use crate::window_keys::WindowKeys;
pub use tally::{Tally, TokenCounter, Warning};
