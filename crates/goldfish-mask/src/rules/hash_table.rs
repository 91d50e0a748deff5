use std::fmt;

use crate::options::{FromOptions, RuleOption, RuleOptions};
use crate::parameters::{TOKEN_CONTEXT, Window, check_context, check_k};
use crate::rule::MaskRule;
use crate::rules::AfterPrefix;
use crate::rules::product::{Product, product};
use crate::rules::table::{TableSource, UniformTable, key};
use crate::window_keys::WindowKeys;
use crate::{Coverage, MaskError, RuleDefinition, TABLE_LEN};

/// Drops iff `table[product of the inclusive window mod 1000003] < 1/k`: bit-exact with
/// `apply_goldfish(strategy="hash-table")`, ahans30/goldfish-loss 35d29f9, `lit_gpt/utils.py`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema), schemars(inline))]
#[non_exhaustive]
pub struct HashTable {
    /// One token in `k` is dropped.
    pub k: u32,
    /// Tokens in the window.
    pub context: u32,
    /// Which table.
    #[cfg_attr(feature = "serde", serde(default))]
    pub table: TableSource,
}

impl HashTable {
    /// Drops one token in `k` by a window of [`TOKEN_CONTEXT`] tokens, with the table of a CPU.
    #[must_use]
    pub fn new(k: u32) -> Self {
        Self { k, context: TOKEN_CONTEXT, table: TableSource::Cpu }
    }

    /// Sets the tokens in the window.
    #[must_use]
    pub fn context(self, context: u32) -> Self {
        Self { context, ..self }
    }

    /// Sets the table.
    #[must_use]
    pub fn table(self, table: TableSource) -> Self {
        Self { table, ..self }
    }
}

impl fmt::Display for HashTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "context {}", self.context)
    }
}

impl FromOptions for HashTable {
    const OPTIONS: &'static [RuleOption] = &[RuleOption::Table];

    fn from_options(options: &RuleOptions) -> Result<Self, MaskError> {
        let table = options.table.clone().unwrap_or_default();
        Ok(Self { k: options.k, context: options.context.unwrap_or(TOKEN_CONTEXT), table })
    }
}

impl RuleDefinition for HashTable {
    fn name(&self) -> &'static str {
        "hash-table"
    }

    fn version(&self) -> u32 {
        1
    }

    fn k(&self) -> Option<u32> {
        Some(self.k)
    }

    fn context(&self) -> Option<u32> {
        Some(self.context)
    }

    fn is_reference(&self) -> bool {
        true
    }

    fn build(&self, table: Option<&UniformTable>) -> Result<Box<dyn MaskRule>, MaskError> {
        let k = check_k(self.k)?;
        let context = check_context(self.context)?;
        Ok(Box::new(Product::new(context, self.table.resolve(table)?.dropped(k))))
    }

    fn build_coverage(&self, coverage: Coverage) -> Result<Box<dyn MaskRule>, MaskError> {
        check_k(self.k)?;
        Ok(AfterPrefix::covering(coverage, check_context(self.context)? as u64 - 1))
    }

    fn window_keys(&self) -> Option<WindowKeys<'_>> {
        let key = |window: &[u32]| key(product(window));
        Some(WindowKeys::new(self.context, Window::Inclusive, TABLE_LEN as u64, key))
    }
}
