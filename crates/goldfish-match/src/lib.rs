//! Finds every passage of a streamed corpus that copies an indexed *work*, edited or not.
//!
//! Works are indexed once, by winnowed fingerprints of their words ([Schleimer, Wilkerson and Aiken
//! 2003](https://doi.org/10.1145/872757.872770)). Documents are searched one by one, in any order and by any number of threads. A
//! shared fingerprint is a *seed*: its words are compared, extended in both directions over edits, and reported as a
//! [`Passage`] if enough words are the same. Nothing is reported because of a hash.
//!
//! Words are those of [`TextWords`](goldfish_mask::TextWords), which the mask rule `text` decides: case, layout and
//! punctuation make no difference.
//!
//! ```
//! use goldfish_mask::TextWords;
//! use goldfish_match::{IndexBuilder, Parameters, Search};
//!
//! let mut works = IndexBuilder::new(Parameters::default())?;
//! works.add("song", "Row, row, row your boat, gently down the stream. Merrily, merrily, merrily, merrily, life is but a dream.")?;
//! let index = works.build();
//!
//! let mut words = TextWords::default();
//! words.read("They sang: ROW ROW ROW YOUR BOAT / gently down the stream / merrily merrily merrily merrily / oh LIFE is but a dream / and left")?;
//! let mut search = Search::new(&index);
//! let [passage] = search.find(&words) else { panic!() };
//! assert_eq!(index.id(passage.work), Some("song"));
//! assert_eq!((passage.work_words(), passage.doc_words()), (0..18, 2..21));
//! assert_eq!((passage.words, passage.edits), (18, 1), "\"oh\" was inserted");
//! assert_eq!(passage.blocks[1].doc_start, 16);
//! # Ok::<(), goldfish_match::MatchError>(())
//! ```
//!
//! # What is found
//!
//! - Every run of [`guaranteed`](Parameters::guaranteed) words that a document has in common with a work is in a passage, all
//!   its words in blocks. If more than 8 places of the works have that run, it is so for a work that has it; a fingerprint
//!   with at most 8 places is followed to all of them.
//! - A passage has at least [`least_words`](Parameters::least_words) in common, and at most
//!   [`most_edits`](Parameters::most_edits) of 100 words edited.
//! - Where [`most_depth`](Parameters::most_depth) passages have a word of the document, further ones need not be reported.
//!
//! The number of passages and the time are therefore bounded by a multiple of the document's length, whatever the texts.

mod error;
mod extend;
mod filter;
mod index;
mod join;
mod parameters;
mod passage;
mod search;
mod table;
mod winnow;
mod works;

pub use error::MatchError;
pub use index::{Index, IndexBuilder};
pub use parameters::Parameters;
pub use passage::{Block, Passage};
pub use search::Search;
