//! Parameters that several rules have.

use crate::{MAX_ANCHOR_CONTEXT, MAX_CONTEXT, MaskError};

/// Default context of the rules over token ids, in tokens: that of the paper (section 3.1).
pub const TOKEN_CONTEXT: u32 = 13;

/// Default context of the rule `text-v1`, in normalized characters: about as much text as 13 tokens.
pub const TEXT_CONTEXT: u32 = 50;

/// Default context of the rule `text-v2`, in words.
pub const WORD_CONTEXT: u32 = 8;

/// Default context of the rule `anchor`, in tokens.
pub const ANCHOR_CONTEXT: u32 = 12;

/// A bound on the run of kept words or tokens, as an option gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LongestRunOption {
    /// At most so many in a row.
    Most(u32),
    /// As many as chance makes.
    Unbounded,
}

impl LongestRunOption {
    /// The bound, if there is one.
    #[must_use]
    pub fn most(self) -> Option<u32> {
        match self {
            Self::Most(most) => Some(most),
            Self::Unbounded => None,
        }
    }
}

/// A bound as descriptions show it.
pub(crate) fn longest_run_name(longest_run: Option<u32>) -> String {
    longest_run.map_or_else(|| "unbounded".to_owned(), |run| run.to_string())
}

/// The tokens that a rule over windows looks at when it decides position `i` with context `h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Window {
    /// `ids[i-h..i]`: the tokens before the decided one, as the paper's prose says (section 3.1).
    #[default]
    Preceding,
    /// `ids[i-h+1..=i]`: the decided token is part of the window, as in the reference code.
    Inclusive,
}

impl Window {
    /// Tokens of the window that are not before the decided one.
    pub(crate) fn overhang(self) -> usize {
        match self {
            Self::Preceding => 0,
            Self::Inclusive => 1,
        }
    }

    /// The value in manifests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Preceding => "preceding",
            Self::Inclusive => "inclusive",
        }
    }
}

/// What happens at the start of a document, where the context is shorter than it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum ShortContext {
    /// Every token with a short context is kept.
    #[default]
    Keep,
    /// Decide by the context that exists; a token without any is kept. (With an inclusive window of 1 token even the
    /// first window is full, and decided like any other.)
    Short,
}

impl ShortContext {
    /// How many of a context's `context` units must come before a unit for it to be decided.
    pub(crate) fn needed(self, context: usize) -> usize {
        match self {
            Self::Keep => context,
            Self::Short => 1,
        }
    }

    /// The value in manifests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Short => "short",
        }
    }
}

/// What the rules over text decide about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Granularity {
    /// Whole words: every token that overlaps a dropped word is dropped, whatever the tokenizer.
    #[default]
    Word,
    /// Each token by what precedes its first contributing character: finer, but tokenizations that
    /// differ lose different tokens.
    Token,
}

impl Granularity {
    /// The value in manifests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Word => "word",
            Self::Token => "token",
        }
    }
}

/// Checks that one token in `k` can be dropped.
pub(crate) fn check_k(k: u32) -> Result<u32, MaskError> {
    if k < 2 { Err(MaskError::K { k }) } else { Ok(k) }
}

/// Checks a context width.
pub(crate) fn check_context(context: u32) -> Result<usize, MaskError> {
    if (1..=MAX_CONTEXT).contains(&context) {
        Ok(context as usize)
    } else {
        Err(MaskError::Context { context })
    }
}

/// Checks the width of a context in which an anchor is chosen.
pub(crate) fn check_anchor_context(context: u32) -> Result<usize, MaskError> {
    if (1..=MAX_ANCHOR_CONTEXT).contains(&context) {
        Ok(context as usize)
    } else {
        Err(MaskError::AnchorContext { context })
    }
}

/// Largest 64-bit hash that drops: `(x as u128 * k) >> 64 == 0` iff `x <= u64::MAX / k`.
pub(crate) fn drop_threshold(k: u32) -> u64 {
    u64::MAX / u64::from(k)
}
