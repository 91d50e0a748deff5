//! Whether another rule would leak less.

use std::fmt;

use goldfish_mask::RuleSpec;
use goldfish_remedy::{Remedies, Remedy, Setting};

use crate::report::{Duplicates, RuleLeak};

/// Least difference of two leaks that is worth a warning.
const LEAST_EXCESS: f64 = 0.01;

/// More leaks between copies than under another rule. Its `Display` says what was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct LeakWarning {
    /// The name of the rule of the masks.
    pub rule: &'static str,
    /// Whether it reproduces another implementation.
    pub reference: bool,
    /// Share of the tokens dropped in one copy that another copy trains on.
    pub leak: f64,
    /// The name that options have for the rule that leaks least.
    pub other: String,
    /// What would leak under it.
    pub other_leak: f64,
    /// Different passages that were compared.
    pub passages: u64,
}

impl Duplicates {
    /// Whether another rule leaks less: by more than a percentage point, and by more than chance, with passages as
    /// independent units. `rule` is that of the masks.
    #[must_use]
    pub fn warning(&self, rule: &RuleSpec) -> Option<LeakWarning> {
        let own = self.rules.iter().find(|row| row.own)?;
        let better = self.rules.iter().filter(|row| row.option.is_some() && self.is_better(row));
        let best = better.min_by(|a, b| a.leak.share.total_cmp(&b.leak.share))?;
        Some(LeakWarning {
            rule: rule.name(),
            reference: rule.is_reference(),
            leak: own.leak.share,
            other: best.option.clone()?,
            other_leak: best.leak.share,
            passages: self.passages,
        })
    }

    fn is_better(&self, row: &RuleLeak) -> bool {
        let Some((excess, error)) =
            row.excess.and_then(|excess| Some((excess.share, excess.standard_error?)))
        else {
            return false;
        };
        excess > LEAST_EXCESS && excess > quantile(self.passages.saturating_sub(1)) * error
    }
}

/// What chance exceeds once in a thousand: the 99.9% quantile of Student's t, by its expansion for many degrees of freedom
/// (Abramowitz and Stegun 26.7.5).
fn quantile(freedom: u64) -> f64 {
    let (z, n) = (3.0902, freedom.max(1) as f64);
    let (z3, z5) = (z * z * z, z * z * z * z * z);
    z + (z3 + z) / (4.0 * n) + (5.0 * z5 + 16.0 * z3 + 3.0 * z) / (96.0 * n * n)
}

impl fmt::Display for LeakWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "between copies of {} passages, {:.1}% of the tokens that {} drops in one are trained on in another; with the \
             rule {} it would be {:.1}%",
            self.passages,
            100.0 * self.leak,
            self.rule,
            self.other,
            100.0 * self.other_leak,
        )?;
        if self.reference {
            write!(f, ". Use {} only to match a run that used it", self.rule)?;
        }
        Ok(())
    }
}

impl Remedies for LeakWarning {
    fn remedies(&self) -> Vec<Remedy> {
        let purpose = if self.reference { "mask a new run" } else { "leak less" };
        vec![Remedy::give(Setting::Rule).value(&self.other).to(purpose)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (freedom, table) in [(9, 4.297), (14, 3.787), (29, 3.396), (99, 3.175)] {
            assert!((quantile(freedom) - table).abs() < 0.06, "{freedom}: {}", quantile(freedom));
        }
    }
}
