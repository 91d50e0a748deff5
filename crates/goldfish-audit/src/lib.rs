//! Memorization audits: does a model recite what it was trained on?
//!
//! [Documents](documents) -> [probes](probe) and [controls](control) -> a [`Backend`](backend::Backend) that passed its
//! [self-test](selftest) -> the [engine], which scores first and generates second -> [scores](score) -> a crash-safe
//! [store] -> [statistics](stat) in a [`Summary`](summary::Summary).
//!
//! Scores and statistics are pure functions. Everything is compared as token ids; text, where there is a tokenizer,
//! is used for the word-level score, the boilerplate filter and display only.
//!
//! The [files] of a run are [tables](table) of [rows](columns) and JSON.
//!
//! [Canaries](canaries) are apart from this: passages planted before training, whose losses are compared with those of twins.

mod aggregate;
mod answers;
pub mod backend;
mod backend_error;
pub mod canaries;
pub mod canary;
pub mod check;
pub mod columns;
pub mod config;
pub mod control;
pub mod documents;
pub mod engine;
mod error;
pub mod evidence;
pub mod fake;
pub mod files;
pub mod gate;
pub mod in_context;
mod measured;
pub mod options;
pub mod output_folder;

mod per_score;
pub mod plausible;
pub mod probe;
pub mod prompt_template;
pub mod replay;
mod rows;
pub mod run;
pub mod runs;
pub mod sampling;
pub mod score;
pub mod selftest;
mod set;
mod sha256;
mod sketch;
pub mod stat;
pub mod store;
pub mod summary;
pub mod sums;
pub mod table;
pub mod tokens;
mod unrelated;
mod works;

pub use aggregate::{compare, summarize};
pub use error::{Ability, AuditError};
pub use rows::{ProbeRow, ResultRow, reference, tables_reference};
pub use table::{read_probes, read_results};
