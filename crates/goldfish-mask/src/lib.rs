//! Goldfish mask rules: which tokens of a document are left out of the loss.
//!
//! A rule looks at the token ids of one document (or of one packed sequence) and decides for each
//! position whether the token there may be a *target* of the loss. Rules are pure functions: no
//! input or output, no global state, the same slice always gives the same mask.
//!
//! ```
//! use goldfish_mask::{ShortContext, Masker, RuleParameters, RuleSpec, TokenSpan, Window};
//!
//! let spec = RuleSpec::new(RuleParameters::Hash {
//!     k: 4,
//!     context: 13,
//!     window: Window::Preceding,
//!     head: ShortContext::Keep,
//!     seed: 0,
//! });
//! let masker = Masker::new(spec.build(None)?, &[]);
//!
//! let ids: Vec<u32> = (0..1000).collect();
//! let mut mask = vec![0u8; ids.len()];
//! masker.decide(&TokenSpan::document(&ids), &mut mask);
//!
//! assert!(mask[..13].iter().all(|&m| m == 1), "the head of a document is kept");
//! let dropped = mask.iter().filter(|&&m| m == 0).count();
//! assert!((200..300).contains(&dropped), "about one token in k is dropped");
//! # Ok::<(), goldfish_mask::MaskError>(())
//! ```
//!
//! # Masks
//!
//! A mask holds one byte a token: `1` lets the token be a target of the loss, `0` drops it. Masks are
//! aligned with the tokens and never shifted: `mask[i]` belongs to `ids[i]`, and a training loop that
//! predicts token `i + 1` at position `i` weights that prediction with `mask[i + 1]`.
//!
//! # The road through this crate
//!
//! [`RuleSpec`] describes a rule with every parameter (it is what a manifest stores), builds a
//! [`MaskRule`], and a [`Masker`] adds the exemption of special tokens. [`SequenceMasker`] runs a masker
//! over packed sequences that cross document boundaries, as the reference implementation does.

mod error;
mod keys;
mod masker;
mod rule;
mod rules;
mod sequence;
mod spec;
mod tally;
mod text;

pub use error::MaskError;
pub use keys::WindowKeys;
pub use masker::{Masker, document_key};
pub use rule::{MaskRule, TokenSpan};
pub use rules::table::{TABLE_LEN, UniformTable};
pub use sequence::{SequenceMasker, SequenceState};
pub use spec::{
    Coverage, Granularity, MAX_CONTEXT, RuleParameters, RuleSpec, Scope, ShortContext, TableSource, Window,
};
pub use tally::{Tally, TokenCounter, Warning};
pub use text::{NormalizedText, UNICODE_VERSION, normalize};

#[cfg(target_endian = "big")]
compile_error!(
    "goldfish hashes token ids as little-endian bytes in place; big-endian targets are not supported"
);
