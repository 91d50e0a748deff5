//! Memorization audits.
pub mod backend;
mod error;
pub mod runs;
pub mod score;
pub mod stat;
pub use error::AuditError;
