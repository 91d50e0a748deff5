//! Where in a corpus do texts appear? The other question about what a model says: not whether it continues a known passage, but
//! whether what it said is in its training data, where, and how often.
//!
//! The texts are small, so they are indexed, and the corpus is streamed past them: [`trace()`] reads it once, in any format that
//! masks are made of, at the speed of the pipeline, and by parts on any number of machines ([`merge_traces`]).
//!
//! Words are those of the mask rule `text`: case, layout and punctuation make no difference.
//!
//! - A *span* is a part of a text that appears in the corpus word for word, and is not in a longer one. All are found, and all
//!   places of the corpus that have one are counted exactly: the longest common runs of each document and the texts are
//!   found in a suffix array of the texts, and are added up in the end.
//! - *Places with edits* are passages of documents that [`goldfish_match`] finds, with its guarantee.
//! - Of many places some are kept, chosen by a seeded hash, so that memory is bounded by the texts.
//!
//! [`Trace`] reads the tables and the summary back. [`Tracer`] searches documents that are in memory.

mod error;
mod folder;
mod hits;
mod needles;
mod results;
mod search;
mod spans;
mod summary;
mod tables;
mod texts;
mod trace;
mod tracer;

pub use error::TraceError;
pub use folder::{TRACE_NAME, Trace, TraceConfig};
pub use goldfish_audit::columns::Row;
pub use results::TRACE_VERSION;
pub use summary::{
    CorpusCounts, DocumentSummary, GroupSummary, LongestAtLeast, RecitedByCopies, SourceSummary, TraceExcess,
    TraceSummary,
};
pub use tables::{SpanRow, TextRow, trace_tables_reference};
pub use texts::{Group, LEAST_WORDS, Least, Texts, TextsKind, WORDS_OF_CHARACTERS};
pub use trace::{TraceJob, TraceProgress, Traced, is_trace, merge_traces, trace};
pub use tracer::{TracedDocuments, Tracer};
