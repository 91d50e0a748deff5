//! Pages that show what goldfish found, for people who look before they read.
//!
//! A page is one HTML file: no network, no font from elsewhere, and no script but its own. It opens from disk, follows the reader's light
//! or dark scheme, prints, and says in words what its charts show. Whatever a corpus wrote is text on it and nothing else:
//! the templates escape it, characters that can't be seen or that turn the order of others are shown by their code
//! points, long texts are cut with a note, and a content security policy would keep anything from being loaded or run.
//!
//! [`inspect_page`] makes the page of `goldfish inspect --html`, [`audit_page`] that of `goldfish report`,
//! [`compare_page`] that of `goldfish compare`, [`sweep_page`] that of `goldfish lab sweep`, [`copy_page`] that of `goldfish lab copy`,
//! [`repair_page`] that of `goldfish lab repair`, [`trace_page`] that of `goldfish trace --html`.

mod architectures;
mod audit;
mod axis;
mod chart;
mod command;
mod compare;
mod copy;
mod error;
mod estimate;
mod inspect;
mod memory;
mod number;
mod page;
mod repair;
mod spread;
mod spread_charts;
mod sweep;
mod table;
mod text;
mod trace;
mod tuned;

pub use architectures::{SweepContext, SweepCost, SweepCostAt, SweepTask};
pub use audit::{AuditPage, Decode, audit_page, copying_in_words, of_passages};
pub use command::shell_line;
pub use compare::{
    Changed, ComparePage, Compared, ComparedRun, Comparisons, RunComparison, compare_page, compare_runs,
};
pub use copy::{CopyArm, CopyLength, CopyPage, copy_page};
pub use error::ReportError;
pub use inspect::{InspectPage, inspect_page};
pub use memory::{MemoryArm, MemoryPage, MemoryPoint, memory_page};
pub use repair::{RepairArm, RepairPage, RepairPoint, repair_page};
pub use sweep::{SweepArm, SweepPage, sweep_page};
pub use text::{escaped, is_hidden};
pub use trace::{TracePage, trace_page};
pub use tuned::{SweepLength, SweepLengths, SweepTuned};
