//! Corpora as streams of documents, with bounded memory.
//!
//! [`resolve`] turns files, folders and globs into an ordered list of [`Input`]s; [`Input::open`] reads one of
//! them as a [`Source`]. Reading has two halves, so that the costly one can run on many threads:
//! [`Source::next_chunk`] reads and decompresses in order, and [`Chunk::documents`] parses a chunk into a
//! [`DocumentBatch`], which holds the documents' text or token ids in Arrow buffers.
//!
//! No row disappears: a row that can't become a document is among the batch's [`Reject`]s with its
//! row number and reason, and a file that can't be read further is an error that names the file and the position.
//!
//! ```no_run
//! use goldfish_corpus::{Content, Part, ReadOptions, resolve};
//!
//! let inputs = resolve(&["corpus/".into()], None)?.inputs;
//! let options = ReadOptions::new(Content::Text { column: "text".into() });
//! for input in &inputs {
//!     let mut source = input.open(&options, Part::WHOLE)?;
//!     while let Some(chunk) = source.next_chunk()? {
//!         let batch = chunk.documents(&options)?;
//!         println!("{} documents, {} rejected", batch.len(), batch.rejects.len());
//!     }
//! }
//! # Ok::<(), goldfish_corpus::CorpusError>(())
//! ```

mod batch;
mod columnar;
mod error;
mod existing;
mod file;
mod formats;
mod head;
mod input;
mod json_row;
mod non_finite;
mod npy;
mod objects;
mod options;
mod packed;
mod paths;
mod reject;
mod resolve;
mod source;
mod texts;
mod warning;

pub use batch::{BatchContent, DocumentBatch};
pub use error::CorpusError;
pub use file::{digest_file, digest_start};
pub use goldfish_digest::FileDigest;
pub use input::{Format, Input, check_columns_exist, warnings};
pub use npy::{MAX_ARRAY_BYTES, NpyNumber, read_npy};
pub use options::{
    Content, DEFAULT_MAX_DOCUMENT, ExistingMask, IdType, MASK_COLUMNS, MAX_DOCUMENT_BYTES,
    MAX_DOCUMENT_TOKENS, ReadOptions,
};
pub use reject::Reject;
pub use resolve::{Resolved, resolve, resolve_with_stdin};
pub use source::{Chunk, Part, Source};
pub use texts::for_each_text;
pub use warning::Warning;
