//! Memorization audits.
pub mod backend;
mod columns;
pub mod control;
pub mod documents;
mod error;
pub mod probe;
mod probe_rows;
pub mod runs;
pub mod score;
pub mod stat;
pub use error::AuditError;
pub use probe_rows::{ProbeRow, ResultRow, tables_reference};
