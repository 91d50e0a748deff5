use crate::parameters::LongestRunOption;
use crate::{Granularity, MaskError, ShortContext, TableSource, Window};

/// The options of all rules, as a front end gets them: each rule takes those that it has.
///
/// ```
/// use goldfish_mask::{RuleName, RuleOption, RuleOptions, RuleSpec};
///
/// let options = RuleOptions { context: Some(20), ..RuleOptions::new(4) };
/// let spec = RuleSpec::new(RuleName::Hash.parameters(&options)?);
/// assert_eq!((spec.name(), spec.context()), ("hash", Some(20)));
/// assert!(!RuleName::Hash.options().contains(&RuleOption::Granularity));
/// # Ok::<(), goldfish_mask::MaskError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct RuleOptions {
    /// One token in `k` is dropped.
    pub k: u32,
    /// Width of the context, if not the rule's default.
    pub context: Option<u32>,
    /// See [`RuleOption::Granularity`].
    pub granularity: Option<Granularity>,
    /// See [`RuleOption::Window`].
    pub window: Option<Window>,
    /// What happens where the context is short.
    pub short_context: ShortContext,
    /// Seed of the hash.
    pub seed: u64,
    /// First dropped position.
    pub start: u64,
    /// See [`RuleOption::LongestRun`].
    pub longest_run: Option<LongestRunOption>,
    /// See [`RuleOption::Table`].
    pub table: Option<TableSource>,
    /// See [`RuleOption::Coefficients`].
    pub coefficients: Option<Vec<i64>>,
}

impl RuleOptions {
    /// The defaults.
    #[must_use]
    pub fn new(k: u32) -> Self {
        Self { k, ..Self::default() }
    }
}

/// The options that some rules have, and that a front end should refuse for the others. (Those that are not listed have
/// the same default for every rule, and are ignored by rules that don't have them.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuleOption {
    /// Whether words or tokens are decided.
    Granularity,
    /// Where the window is.
    Window,
    /// The most words or tokens in a row that are kept.
    LongestRun,
    /// The table of uniform numbers, if not that of a CPU.
    Table,
    /// One factor for each token of the window.
    Coefficients,
}

/// A rule's parameters from options.
pub(crate) trait FromOptions: Sized {
    /// Which of the [`RuleOption`]s the rule has.
    const OPTIONS: &'static [RuleOption];

    fn from_options(options: &RuleOptions) -> Result<Self, MaskError>;
}
