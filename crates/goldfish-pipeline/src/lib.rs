//! Corpus to shards: one thread reads, many tokenize and mask, one writes.
//!
//! [`mask_corpus`] runs all of it. The reading thread cuts the inputs into work items of some hundred
//! kibibytes, the workers of a `rayon` pool turn each into a batch, and the calling thread writes the batches
//! in the order in which they were read. A bounded queue between them bounds the memory. Where work items and
//! batches end depends on the inputs alone, so the number of threads changes no byte of the output.
//!
//! [`scan_corpus`] reads a corpus in the same way, for what only looks at its texts.
//!
//! [`DocumentMasker`] decides documents that are in memory in the same way, and [`recompute`] reads shards back and decides every mask again.

mod document;
mod error;
mod estimate;
mod execute;
mod job;
mod job_error;
mod kept;
mod message;
mod passage;
mod plan;
mod policy;
mod progress;
mod protect;
mod read;
mod recompute;
mod repeated;
mod resolve;
mod results;
mod resume;
mod rule;
mod run;
mod sample;
mod scan;
mod sidecars;
mod text;
mod work;
mod write;

pub use document::{DocumentMasker, DocumentScratch};
pub use error::{PipelineError, mask_remedies};
pub use estimate::{Estimate, Stage, estimate};
pub use execute::reports_panics;
pub use job::{MaskJob, OnError, OnNull, TokenizeOptions};
pub use job_error::JobError;
pub use passage::Passage;
pub use plan::Partition;
pub use policy::{MAX_POLICY_BYTES, Policy, PolicyEntry, PolicyError, SampledEntry};
pub use progress::{Progress, TokenizedText};
pub use protect::{ProtectOptions, Protection};
pub use recompute::{MadeWith, recompute};
pub use repeated::RepeatedIds;
pub use resolve::{
    DocumentKind, MaskOptions, ResolveError, ResolvedMask, RuleReason, ScopeName, SequenceToken, exempt_ids,
    resolve_content,
};
pub use run::mask_corpus;
pub use sample::SampledDocument;
pub use scan::{ScanIdentity, ScanJob, ScanState, ScannedDocument, Scanner, scan_corpus};
pub use sidecars::{SidecarJob, SidecarOutcome, mask_sidecars, shared_folder};
pub use text::{ShardText, check_tokenizer};
pub use write::Outcome;
