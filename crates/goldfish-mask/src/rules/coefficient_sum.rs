use std::fmt;

use crate::options::{FromOptions, RuleOption, RuleOptions};
use crate::parameters::{TOKEN_CONTEXT, Window, check_context, check_k};
use crate::rule::{MaskRule, TokenSpan};
use crate::rules::AfterPrefix;
use crate::rules::full_windows::FullWindows;
use crate::rules::lanes::{ByLanes, TOGETHER, run};
use crate::rules::table::{DroppedKeys, TableSource, UniformTable, key};
use crate::window_keys::WindowKeys;
use crate::{Coverage, MaskError, RuleDefinition, TABLE_LEN};

/// Drops iff `table[sum of coefficient * token over the inclusive window mod 1000003] < 1/k`:
/// bit-exact with `megatron/core/datasets/goldfish.py` of swiss-ai/Megatron-LM-MoE.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema), schemars(inline))]
#[non_exhaustive]
pub struct CoefficientSum {
    /// One token in `k` is dropped.
    pub k: u32,
    /// Tokens in the window.
    pub context: u32,
    /// One factor a token of the window, the oldest token first.
    pub coefficients: Vec<i64>,
    /// Which table.
    #[cfg_attr(feature = "serde", serde(default))]
    pub table: TableSource,
}

impl CoefficientSum {
    /// Drops one token in `k` by a window of [`TOKEN_CONTEXT`] tokens, of which there must be as many coefficients, with
    /// the table of a CPU.
    #[must_use]
    pub fn new(k: u32, coefficients: Vec<i64>) -> Self {
        Self { k, context: TOKEN_CONTEXT, coefficients, table: TableSource::Cpu }
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

impl fmt::Display for CoefficientSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "context {}", self.context)
    }
}

/// The wrapping sum of products of two sequences.
fn sum(coefficients: &[i64], window: &[u32]) -> u64 {
    let terms = coefficients.iter().zip(window).map(|(&c, &id)| c.cast_unsigned().wrapping_mul(id.into()));
    terms.fold(0, u64::wrapping_add)
}

impl FromOptions for CoefficientSum {
    const OPTIONS: &'static [RuleOption] = &[RuleOption::Table, RuleOption::Coefficients];

    fn from_options(options: &RuleOptions) -> Result<Self, MaskError> {
        let coefficients = options.coefficients.clone().ok_or(MaskError::NoCoefficients)?;
        let table = options.table.clone().unwrap_or_default();
        Ok(Self { k: options.k, context: options.context.unwrap_or(TOKEN_CONTEXT), coefficients, table })
    }
}

impl RuleDefinition for CoefficientSum {
    fn name(&self) -> &'static str {
        "coefficient-sum"
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
        if self.coefficients.len() != check_context(self.context)? {
            let found = self.coefficients.len();
            return Err(MaskError::Coefficients { context: self.context, found });
        }
        let dropped = self.table.resolve(table)?.dropped(k);
        Ok(Box::new(Kernel { coefficients: self.coefficients.clone(), dropped }))
    }

    fn build_coverage(&self, coverage: Coverage) -> Result<Box<dyn MaskRule>, MaskError> {
        check_k(self.k)?;
        Ok(AfterPrefix::covering(coverage, check_context(self.context)? as u64 - 1))
    }

    fn window_keys(&self) -> Option<WindowKeys<'_>> {
        let key = |window: &[u32]| key(sum(&self.coefficients, window));
        Some(WindowKeys::new(self.context, Window::Inclusive, TABLE_LEN as u64, key))
    }
}

#[derive(Debug)]
struct Kernel {
    coefficients: Vec<i64>,
    dropped: DroppedKeys,
}

impl MaskRule for Kernel {
    fn lookback(&self) -> usize {
        self.coefficients.len() - 1
    }

    fn decide(&self, span: &TokenSpan<'_>, mask: &mut [u8]) {
        let full = FullWindows::of(span, self.lookback(), mask);
        run(Sums { rule: self, full });
    }
}

struct Sums<'a, 'm> {
    rule: &'a Kernel,
    full: FullWindows<'a, 'm>,
}

impl ByLanes for Sums<'_, '_> {
    #[inline(always)]
    fn in_lanes(self) {
        let Self { rule: Kernel { coefficients, dropped }, full: FullWindows { ids, mask } } = self;
        let mut sums = [0u64; TOGETHER];
        for (block, mask) in mask.chunks_mut(TOGETHER).enumerate() {
            let sums = &mut sums[..mask.len()];
            sums.fill(0);
            for (j, coefficient) in coefficients.iter().enumerate() {
                for (sum, &id) in sums.iter_mut().zip(&ids[block * TOGETHER + j..][..mask.len()]) {
                    *sum = sum.wrapping_add(coefficient.cast_unsigned().wrapping_mul(id.into()));
                }
            }
            dropped.decide(sums, mask);
        }
    }

    fn one_by_one(self) {
        self.in_lanes();
    }
}
