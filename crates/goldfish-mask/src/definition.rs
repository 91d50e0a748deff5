use std::fmt::{Debug, Display};

use crate::window_keys::WindowKeys;
use crate::{MaskError, MaskRule, RunUnit, UniformTable};

/// Which tokens a rule could drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// Those that the rule decides: not the tokens that are kept because their context is short, and for `text-v1` no
    /// token without normalized characters.
    Decided,
    /// Those with a short context too: for `text-v1` every token with a normalized character, for the other rules
    /// every token.
    Present,
}

/// A rule's parameters, and all that follows from them.
///
/// Each rule of this crate implements it in a file of its own. [`RuleSpec`](crate::RuleSpec) chooses between those by
/// name; a rule that needs no name in a manifest can be used without one, as `examples/own_rule.rs` shows.
///
/// [`Display`] gives the parameters other than [`k`](Self::k) in a line, such as "context 13 (preceding), head keep,
/// seed 0".
pub trait RuleDefinition: Debug + Display + Send + Sync {
    /// The rule's name in manifests. A rule that decides otherwise and is meant to stay beside this one needs another.
    fn name(&self) -> &'static str;

    /// Version of the definition, from 1: a change of any decision raises it.
    fn version(&self) -> u32;

    /// `k`: one token in `k` is dropped; `None` if the rule drops none.
    fn k(&self) -> Option<u32>;

    /// The share of the tokens that it decides that it should drop: `1/k`, or 0.
    fn rate(&self) -> f64 {
        self.k().map_or(0.0, |k| 1.0 / f64::from(k))
    }

    /// Context width in tokens, or in normalized characters if the rule [needs the text](Self::needs_text); `None` if
    /// decisions depend on no context.
    fn context(&self) -> Option<u32>;

    /// Whether the rule reproduces another implementation bit for bit, including its defects. Such a rule exempts no
    /// special tokens by default.
    fn is_reference(&self) -> bool {
        false
    }

    /// Whether decisions depend on the text, so that every [`TokenSpan`](crate::TokenSpan) must have it.
    fn needs_text(&self) -> bool {
        false
    }

    /// Whether decisions depend on the [key of the document](crate::document_key).
    fn needs_key(&self) -> bool {
        false
    }

    /// What the rule's [longest runs](MaskRule::decide_measuring) are counted in; `None` if it doesn't count them.
    fn run_unit(&self) -> Option<RunUnit> {
        None
    }

    /// The most decided [units](Self::run_unit) in a row that the rule keeps, whatever the document; `None` if it promises
    /// no bound.
    fn longest_run(&self) -> Option<u32> {
        None
    }

    /// Builds the rule. `table` is needed only if the parameters name a table from a file.
    ///
    /// # Errors
    ///
    /// If a parameter is out of range, or `table` is not the one that is named.
    fn build(&self, table: Option<&UniformTable>) -> Result<Box<dyn MaskRule>, MaskError>;

    /// Builds a rule that drops every token of this one's `coverage`, to count them: of the tokens that are dropped with
    /// [`Coverage::Decided`], the rule itself should drop one in `k`.
    ///
    /// # Errors
    ///
    /// If a parameter is out of range.
    fn build_coverage(&self, coverage: Coverage) -> Result<Box<dyn MaskRule>, MaskError>;

    /// The keys that the rule decides windows of token ids by; `None` if it decides by something else.
    fn window_keys(&self) -> Option<WindowKeys<'_>>;
}
