//! Goldfish loss masks: rules that decide which tokens of a corpus are left out of the training loss.
//!
//! The *goldfish loss* ([Hans et al. 2024](https://arxiv.org/abs/2406.10209)) drops one token in `k` from the loss, so
//! that a model never learns every step of a passage and can't recite it. A good rule drops the same tokens of a passage
//! in each copy that the corpus has of it. This crate has those rules as pure functions over slices: no input or output,
//! no clock, no state; the same arguments always give the same mask, on every machine.
//!
//! - [`RuleSpec`] describes a rule with every parameter, as a manifest stores it, and builds it.
//! - [`MaskRule`] is a rule that was built: it decides a [`TokenSpan`].
//! - [`Masker`] is a rule with special tokens that must not be dropped.
//! - [`SequenceMasker`] runs a masker over packed training sequences.
//! - [`rules`] has the rules' parameters and definitions, [`diagnostics`] measures a rule on a corpus.
//!
//! # Masks
//!
//! A mask has one byte a token: 1 keeps the token in the loss, 0 drops it. Masks are aligned with the tokens and never
//! shifted: `mask[i]` belongs to `ids[i]`, and a training loop that predicts token `i + 1` at position `i` weights that
//! prediction with `mask[i + 1]`.
//!
//! ```
//! use goldfish_mask::{Masker, RuleSpec, TokenSpan};
//!
//! // Hashes the 13 tokens before each token; never drops the token 0.
//! let masker = Masker::new(RuleSpec::hash(4).build(None)?, &[0]);
//!
//! let ids: Vec<u32> = (0..1000).collect();
//! let mut mask = vec![0; ids.len()];
//! masker.decide(&TokenSpan::document(&ids), &mut mask);
//!
//! assert!(mask[..13].iter().all(|&keep| keep == 1), "tokens with a short context are kept");
//! let dropped = mask.iter().filter(|&&keep| keep == 0).count();
//! assert!((200..300).contains(&dropped), "about one token in k is dropped");
//! # Ok::<(), goldfish_mask::MaskError>(())
//! ```
//!
//! # Which rule
//!
//! [`rules::Text`] for new runs on text: copies lose the same words in any layout and with any tokenizer, and most of them
//! after edits. [`rules::Anchor`] where there are only token ids, [`struct@rules::Hash`] for packed sequences of them.
//! [`rules::Static`] and [`rules::Random`] are baselines of the paper, and the others reproduce existing implementations bit for bit, to match
//! a run that used them.
//!
//! # Example: text
//!
//! The rule `text-v2` decides words by two of the words before them. It needs the text of the document, and for each token
//! the bytes of the text that it covers.
//!
//! ```
//! use goldfish_mask::{RuleSpec, TokenSpan, rules::Text};
//!
//! let rule = RuleSpec::new(Text::new(2).context(1)).build(None)?;
//! let mask = |text: &str, tokens: &[(usize, usize)]| {
//!     let ids = vec![0; tokens.len()];
//!     let mut mask = vec![0; tokens.len()];
//!     rule.decide(&TokenSpan::document(&ids).with_text(text, tokens), &mut mask);
//!     mask
//! };
//!
//! // "the| brown| fox| ran", and the same words in another layout and other tokens: "The|\n  Brown| F|OX:| ran".
//! let plain = mask("the brown fox ran", &[(0, 3), (3, 9), (9, 13), (13, 17)]);
//! let other = mask("The\n  Brown FOX: ran", &[(0, 3), (3, 11), (11, 13), (13, 16), (16, 20)]);
//! assert_eq!((plain[2], plain[3]), (other[2], other[4]));
//! assert_eq!(other[2], other[3], "both tokens of a word are dropped or kept together");
//! # Ok::<(), goldfish_mask::MaskError>(())
//! ```
//!
//! # Example: a document in pieces
//!
//! A document can be decided in pieces, if each brings as many of the tokens before it as the rule
//! [looks back](MaskRule::lookback), and as many after it as it [looks ahead](MaskRule::lookahead).
//!
//! ```
//! use goldfish_mask::{MaskRule, RuleSpec, TokenSpan};
//!
//! let rule = RuleSpec::hash(3).build(None)?;
//! let ids: Vec<u32> = (0..100).map(|i| i * i).collect();
//! let mut whole = vec![0; 100];
//! rule.decide(&TokenSpan::document(&ids), &mut whole);
//!
//! let mut pieces = vec![0; 100];
//! for start in (0..100).step_by(40) {
//!     let end = 100.min(start + 40);
//!     let history = start.min(rule.lookback());
//!     let span = TokenSpan::continued(&ids[start - history..end], history, start as u64);
//!     rule.decide(&span, &mut pieces[start..end]);
//! }
//! assert_eq!(pieces, whole);
//! # Ok::<(), goldfish_mask::MaskError>(())
//! ```
//!
//! # Example: packed sequences
//!
//! A training loop that packs documents into sequences of fixed length can have windows cross documents and start anew
//! in each sequence, as the reference implementation does. The state of a [`SequenceMasker`] can be saved, and resumed
//! in another process.
//!
//! ```
//! use goldfish_mask::{Masker, RuleSpec, SequenceMasker, SequenceState};
//!
//! let masker = Masker::new(RuleSpec::hash(4).build(None)?, &[]);
//! let documents: [&[u32]; 3] = [&[5; 900], &[6; 2000], &[7; 300]];
//! let mut state = SequenceState::default();
//! for ids in documents {
//!     let mut sequences = SequenceMasker::new(&masker, 2048, state)?;
//!     let mut mask = vec![0; ids.len()];
//!     sequences.decide_next(ids, &mut mask);
//!     state = sequences.state().clone();
//! }
//! assert_eq!(state.tokens, 3200);
//! # Ok::<(), goldfish_mask::MaskError>(())
//! ```
//!
//! # Example: a rule of one's own
//!
//! Whatever implements [`MaskRule`] works with [`Masker`] and [`SequenceMasker`]. With a [`RuleDefinition`] it can be
//! measured by [`diagnostics`] too: `examples/own_rule.rs` has one.
//!
//! ```
//! use goldfish_mask::{MaskRule, Masker, TokenSpan};
//!
//! /// Drops every token with an odd id.
//! #[derive(Debug)]
//! struct DropOdd;
//!
//! impl MaskRule for DropOdd {
//!     fn lookback(&self) -> usize {
//!         0
//!     }
//!
//!     fn decide(&self, span: &TokenSpan<'_>, mask: &mut [u8]) {
//!         mask.iter_mut().zip(span.decided()).for_each(|(keep, id)| *keep = u8::from(id % 2 == 0));
//!     }
//! }
//!
//! let mut mask = [0; 4];
//! Masker::new(Box::new(DropOdd), &[7]).decide(&TokenSpan::document(&[4, 5, 6, 7]), &mut mask);
//! assert_eq!(mask, [1, 0, 1, 1]);
//! ```
//!
//! # Features
//!
//! - `serde`: the descriptions of rules and the states of sequences can be serialized, as in goldfish's manifests.
//! - `schemars`: JSON schemas of the descriptions.
//! - `clap`: the enums as values of options.

mod definition;
pub mod diagnostics;
mod error;
mod exempt;
mod limits;
mod masker;
mod options;
mod parameters;
mod rule;
pub mod rules;
mod runs;
mod selection;
mod sequence;
mod spec;
mod text;
mod text_words;
mod window_keys;

pub use definition::{Coverage, RuleDefinition};
pub use error::MaskError;
pub use limits::{MAX_ANCHOR_CONTEXT, MAX_CONTEXT, MAX_LONGEST_RUN, TABLE_LEN};
pub use masker::{Masker, document_key};
pub use options::{RuleOption, RuleOptions};
pub use parameters::{
    ANCHOR_CONTEXT, Granularity, LongestRunOption, ShortContext, TEXT_CONTEXT, TOKEN_CONTEXT, WORD_CONTEXT,
    Window,
};
pub use rule::{MaskRule, TokenSpan};
pub use rules::table::{TableSource, UniformTable};
pub use runs::{LongestRun, RunUnit, longest_stretch};
pub use sequence::{SequenceMasker, SequenceState};
pub use spec::{RuleName, RuleParameters, RuleSpec, Scope};
pub use text::{NormalizedText, UNICODE_VERSION, normalize};
pub use text_words::{TextWords, word_hash};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(target_endian = "big")]
compile_error!(
    "goldfish hashes token ids as little-endian bytes in place; big-endian targets are not supported"
);
