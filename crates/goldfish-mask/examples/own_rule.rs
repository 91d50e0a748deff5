//! A rule of one's own, in one file: its parameters, validation, kernel, and what diagnostics ask of it.
//!
//! It drops a token by the sum of the ids before it: a poor rule, as the diagnostics then say. A rule of this crate is
//! such a file in `src/rules/`, and a line in the list of `src/spec.rs` that gives it a name in manifests.

#![allow(clippy::print_stdout, reason = "an example")]

use std::fmt;

use goldfish_mask::diagnostics::{Tally, TokenCounter, WindowKeys};
use goldfish_mask::rules::AfterPrefix;
use goldfish_mask::{Coverage, MaskError, MaskRule, Masker, RuleDefinition, TokenSpan, UniformTable, Window};

/// Drops iff the sum of the `context` ids before a token is a multiple of `k`.
#[derive(Debug, Clone)]
struct WindowSum {
    k: u32,
    context: u32,
}

impl fmt::Display for WindowSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "context {}", self.context)
    }
}

fn remainder(window: &[u32], k: u32) -> u64 {
    window.iter().map(|&id| u64::from(id)).sum::<u64>() % u64::from(k)
}

impl RuleDefinition for WindowSum {
    fn name(&self) -> &'static str {
        "window-sum"
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

    fn build(&self, _table: Option<&UniformTable>) -> Result<Box<dyn MaskRule>, MaskError> {
        if self.k < 2 {
            return Err(MaskError::K { k: self.k });
        }
        Ok(Box::new(Kernel(self.clone())))
    }

    fn build_coverage(&self, coverage: Coverage) -> Result<Box<dyn MaskRule>, MaskError> {
        Ok(AfterPrefix::covering(coverage, self.context.into()))
    }

    fn window_keys(&self) -> Option<WindowKeys<'_>> {
        let key = |window: &[u32]| remainder(window, self.k);
        Some(WindowKeys::new(self.context, Window::Preceding, self.k.into(), key))
    }
}

#[derive(Debug)]
struct Kernel(WindowSum);

impl MaskRule for Kernel {
    fn lookback(&self) -> usize {
        self.0.context as usize
    }

    fn decide(&self, span: &TokenSpan<'_>, mask: &mut [u8]) {
        for (keep, end) in mask.iter_mut().zip(span.history()..) {
            let window = end.checked_sub(self.lookback()).map(|start| &span.ids()[start..end]);
            *keep = u8::from(window.is_none_or(|window| remainder(window, self.0.k) != 0));
        }
    }
}

fn main() -> Result<(), MaskError> {
    let rule = WindowSum { k: 4, context: 5 };
    let masker = Masker::new(rule.build(None)?, &[]);
    let mut counter = TokenCounter::new(&rule, &[])?;
    let mut tally = Tally::default();
    for document in 0..64u32 {
        // Even ids, as if a corpus had little variety.
        let ids: Vec<u32> = (0..1000).map(|i| 2 * ((i * i + document) % 97)).collect();
        let span = TokenSpan::document(&ids);
        let mut mask = vec![0; ids.len()];
        masker.decide(&span, &mut mask);
        tally.add(&counter.count(&span, &mask).0);
    }
    println!(
        "{} ({rule}) dropped {:.1}% of {} tokens",
        rule.name(),
        100.0 * tally.decided_rate(),
        tally.decided
    );
    tally.warnings(&rule).iter().for_each(|warning| println!("warning: {warning}"));

    let keys = rule.window_keys().map_or(0, |keys| keys.space());
    println!("its windows have {keys} different keys");
    Ok(())
}
