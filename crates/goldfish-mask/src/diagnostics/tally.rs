use std::fmt;

use crate::{Coverage, MaskError, Masker, RuleDefinition, RunUnit, TokenSpan};

/// Decided tokens below which nothing is said about a drop rate.
const FEWEST_DECIDED: u64 = 4096;

/// How far a drop rate may be from `1/k`, as a share of it.
const RATE_TOLERANCE: f64 = 0.1;

/// Decisions that count as one: the tokens of a word are dropped together, and passages recur.
const CLUSTER: f64 = 8.0;

/// Share of the tokens that may have a short context.
const MOST_SHORT: f64 = 0.25;

/// Share of the tokens that must hold a letter or number for `text-v1`.
const LEAST_PRESENT: f64 = 0.2;

/// How many tokens of some documents a rule dropped and kept, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Tally {
    /// All tokens.
    pub tokens: u64,
    /// Those that are exempt as special tokens.
    pub special: u64,
    /// Of the others, those that the rule could look at: for `text-v1` those with a normalized character.
    pub present: u64,
    /// Of these, those that the rule decided: their context is not short.
    pub decided: u64,
    /// Of these, those that were dropped.
    pub dropped: u64,
}

impl Tally {
    /// Counts tokens of a rule that looks at tokens alone. `decided` and `mask` are what `coverage`, built with
    /// [`Coverage::Decided`], and the rule wrote for `ids`.
    #[must_use]
    pub fn of_tokens(coverage: &Masker, ids: &[u32], decided: &[u8], mask: &[u8]) -> Self {
        let special = ids.iter().filter(|&&id| coverage.exempts(id)).count() as u64;
        let tokens = ids.len() as u64;
        let (decided, dropped) = (dropped(decided), dropped(mask));
        Self { tokens, special, present: tokens - special, decided, dropped }
    }

    /// The same of those tokens alone that were in the loss before the rule, by their position.
    #[must_use]
    pub fn of_targets(
        coverage: &Masker,
        ids: &[u32],
        decided: &[u8],
        mask: &[u8],
        is_target: impl Fn(usize) -> bool,
    ) -> Self {
        let mut tally = Self::default();
        for position in (0..ids.len()).filter(|position| is_target(*position)) {
            tally.tokens += 1;
            tally.special += u64::from(coverage.exempts(ids[position]));
            tally.decided += u64::from(decided[position] == 0);
            tally.dropped += u64::from(mask[position] == 0);
        }
        tally.present = tally.tokens - tally.special;
        tally
    }

    /// Adds the counts of other documents.
    pub fn add(&mut self, other: &Self) {
        self.tokens += other.tokens;
        self.special += other.special;
        self.present += other.present;
        self.decided += other.decided;
        self.dropped += other.dropped;
    }

    /// Tokens kept because they are at the start of a document, where the context is short.
    #[must_use]
    pub fn short_context(&self) -> u64 {
        self.present - self.decided
    }

    /// Tokens kept because they hold no letter or number (`text-v1` only).
    #[must_use]
    pub fn blank(&self) -> u64 {
        self.tokens - self.special - self.present
    }

    /// Share of the decided tokens that were dropped, which should be `1/k`; 0 where none were decided.
    #[must_use]
    pub fn decided_rate(&self) -> f64 {
        share(self.dropped, self.decided)
    }

    /// What speaks against the rule on the documents counted, if anything does.
    #[must_use]
    pub fn warnings(&self, rule: &dyn RuleDefinition) -> Vec<Warning> {
        let mut found = Vec::new();
        let text = self.tokens - self.special;
        if text > 0 && self.present == 0 {
            return vec![Warning::Blank { share: 1.0 }];
        }
        if text < FEWEST_DECIDED {
            return found;
        }
        let present = share(self.present, text);
        if present < LEAST_PRESENT {
            found.push(Warning::Blank { share: 1.0 - present });
        }
        let short = share(self.short_context(), text);
        if let Some(context) = rule.context().filter(|_| short > MOST_SHORT) {
            found.push(Warning::ShortContext { share: short, context });
        }
        let expected = rule.rate();
        let rate = self.decided_rate();
        let error = (expected * (1.0 - expected) * CLUSTER / self.decided.max(1) as f64).sqrt();
        let off = (rate - expected).abs();
        if self.decided >= FEWEST_DECIDED && off > RATE_TOLERANCE * expected && off > 5.0 * error {
            let reference = rule.is_reference();
            let words = rate > expected && rule.run_unit() == Some(RunUnit::Words);
            found.push(Warning::Rate { rule: rule.name(), rate, expected, reference, words });
        }
        found
    }
}

fn dropped(mask: &[u8]) -> u64 {
    mask.iter().filter(|&&keep| keep == 0).count() as u64
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// What speaks against a rule on a corpus. Its `Display` says what was measured and what to do.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// The rule drops more or fewer tokens than one in `k`.
    Rate {
        /// The rule's name.
        rule: &'static str,
        /// Share of the decided tokens that it dropped.
        rate: f64,
        /// `1/k`.
        expected: f64,
        /// Whether it reproduces another implementation.
        reference: bool,
        /// Whether it drops more, and drops words: a token with each of the words that it overlaps.
        words: bool,
    },
    /// Many tokens have a short context and are never dropped.
    ShortContext {
        /// Share of the tokens.
        share: f64,
        /// The rule's context.
        context: u32,
    },
    /// Few tokens hold a letter or number, and the rule `text-v1` keeps the others.
    Blank {
        /// Share of the tokens without one.
        share: f64,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate { rule, rate, expected, reference, words } => {
                write!(
                    f,
                    "{rule} drops {:.2}% of the tokens that it decides, {:.2} times the 1/k of {:.2}%",
                    100.0 * rate,
                    rate / expected,
                    100.0 * expected
                )?;
                if *reference {
                    f.write_str(
                        ": its hash loses information about the window. Use it only to match a run that used it; for a \
                         new run use the rule text, or the rule anchor where there is no text",
                    )
                } else if *words {
                    f.write_str(
                        ": a token of several words is dropped with any of them, and many tokenizers have such tokens for \
                         scripts without spaces. Decide by token (unit token) to drop one token in k, or use a larger k. \
                         If the tokens are of single words, the corpus has few different contexts: remove duplicates",
                    )
                } else {
                    f.write_str(
                        ": the corpus has few different contexts, so that few decisions are independent. Remove \
                         duplicates, or use a larger context",
                    )
                }
            }
            Self::ShortContext { share, context } => write!(
                f,
                "{:.0}% of the tokens are at the start of their documents, before the context of {context} is full, and \
                 are never dropped; use a smaller context, or decide them by their short context",
                100.0 * share
            ),
            Self::Blank { share } => write!(
                f,
                "{:.0}% of the tokens have no letter or number, and the rule text keeps them all; for such data use the \
                 rule anchor",
                100.0 * share
            ),
        }
    }
}

/// Counts the tokens that a rule drops and keeps, and why.
#[derive(Debug)]
pub struct TokenCounter {
    present: Masker,
    decided: Masker,
    scratch: Vec<u8>,
}

impl TokenCounter {
    /// Counts for a rule that exempts these special tokens.
    ///
    /// # Errors
    ///
    /// As [`RuleDefinition::build_coverage`].
    pub fn new(rule: &dyn RuleDefinition, exempt: &[u32]) -> Result<Self, MaskError> {
        Ok(Self {
            present: Masker::new(rule.build_coverage(Coverage::Present)?, exempt),
            decided: Masker::new(rule.build_coverage(Coverage::Decided)?, exempt),
            scratch: Vec::new(),
        })
    }

    /// Counts the tokens of a span, whose `mask` the rule has decided. Returns the counts, and one byte a token: 0 if
    /// the rule decided it.
    ///
    /// # Panics
    ///
    /// As [`MaskRule::decide`](crate::MaskRule::decide).
    pub fn count(&mut self, span: &TokenSpan<'_>, mask: &[u8]) -> (Tally, &[u8]) {
        self.scratch.resize(span.len(), 0);
        self.present.decide(span, &mut self.scratch);
        let present = dropped(&self.scratch);
        self.decided.decide(span, &mut self.scratch);
        let tally = Tally::of_tokens(&self.decided, span.decided(), &self.scratch, mask);
        let tally = Tally { present, ..tally };
        (tally, &self.scratch)
    }

    /// Counts those tokens of a span alone that were in the loss before the rule.
    ///
    /// # Panics
    ///
    /// As [`count`](Self::count).
    pub fn count_targets(
        &mut self,
        span: &TokenSpan<'_>,
        mask: &[u8],
        is_target: impl Fn(usize) -> bool,
    ) -> Tally {
        self.scratch.resize(span.len(), 0);
        self.present.decide(span, &mut self.scratch);
        let present = self
            .scratch
            .iter()
            .enumerate()
            .filter(|&(position, keep)| *keep == 0 && is_target(position))
            .count();
        self.decided.decide(span, &mut self.scratch);
        let tally = Tally::of_targets(&self.decided, span.decided(), &self.scratch, mask, is_target);
        Tally { present: present as u64, ..tally }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Granularity;
    use crate::rules::{HashTable, Text};

    fn tally(present: u64, decided: u64, dropped: u64) -> Tally {
        Tally { tokens: 101_000, special: 1000, present, decided, dropped }
    }

    #[test]
    fn a_sound_rule_is_not_blamed() {
        let text = Text::new(4);
        assert_eq!(tally(80_000, 78_000, 19_500).warnings(&text), []);
        assert_eq!(tally(80_000, 78_000, 18_000).warnings(&text), []);
        assert_eq!(Tally::default().warnings(&text), []);
        // Few decisions say nothing about the rate.
        assert_eq!(tally(80_000, 70_000, 17_500).warnings(&text), []);
    }

    #[test]
    fn each_problem_is_named_with_what_was_measured() {
        let table = HashTable::new(50).context(50);
        let found = tally(100_000, 90_000, 1134).warnings(&table);
        let [Warning::Rate { reference: true, .. }] = found[..] else { panic!("{found:?}") };
        assert!(
            found[0].to_string().contains("1.26% of the tokens that it decides, 0.63 times the 1/k of 2.00%")
        );

        let found = tally(100_000, 60_000, 1200).warnings(&table);
        assert_eq!(found, [Warning::ShortContext { share: 0.4, context: 50 }]);

        // More than 1/k of the tokens, where they hold several words: not the corpus is to blame.
        let text = Text::new(4);
        let found = tally(80_000, 78_000, 29_000).warnings(&text);
        let [Warning::Rate { reference: false, words: true, .. }] = found[..] else { panic!("{found:?}") };
        assert!(found[0].to_string().contains("unit token"), "{}", found[0]);
        for (rule, dropped) in
            [(text.clone(), 15_000), (text.clone().granularity(Granularity::Token), 29_000)]
        {
            let found = tally(80_000, 78_000, dropped).warnings(&rule);
            let [Warning::Rate { reference: false, words: false, .. }] = found[..] else {
                panic!("{found:?}")
            };
            assert!(found[0].to_string().contains("few different contexts"), "{}", found[0]);
        }

        let found = tally(1000, 900, 200).warnings(&text);
        assert_eq!(found, [Warning::Blank { share: 0.99 }]);
    }
}
