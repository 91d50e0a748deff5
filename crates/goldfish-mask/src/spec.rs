use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::{
    coefficient::CoefficientSum, coverage::AfterPrefix, hash::Hash, product::Product, random::Random,
    stride::Static, text::Text,
};
use crate::{MaskError, MaskRule, UniformTable};

/// Largest context width, in tokens (characters for the rule `text-v1`).
pub const MAX_CONTEXT: u32 = 1 << 16;

/// The tokens that a windowed hash sees when it decides position `i` with context `h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Window {
    /// `ids[i-h..i]`: the tokens before the decided one, as the paper's prose says (section 3.1).
    Preceding,
    /// `ids[i-h+1..=i]`: the decided token is part of the window, as in the reference code.
    Inclusive,
}

/// What happens at the start of a document, where the window is not full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ShortContext {
    /// Every token whose window is not full is kept.
    Keep,
    /// Decide on the shorter window that exists; a first token without a full window is kept. (With an
    /// inclusive window of 1 token even the first window is full, and decided like any other.)
    Short,
}

/// What the rule `text-v1` decides about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Granularity {
    /// Whole words: every token that overlaps a dropped word is dropped, whatever the tokenizer.
    #[default]
    Word,
    /// Each token by what stands before its first contributing character: finer, but tokenizations that
    /// differ lose different tokens.
    Token,
}

/// Which tokens belong together: no window crosses the end of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Scope {
    /// Each document by itself.
    #[default]
    Document,
    /// Packed sequences: documents are joined in input order; block `b` decides the tokens
    /// `b * length + 1 ..= (b + 1) * length` of the whole stream, the targets of one training sequence.
    Sequence {
        /// Targets in one block, in tokens.
        length: u32,
    },
}

/// Which tokens a rule could have dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// Those that the rule decides about: not the kept head of a unit, and for `text-v1` no token without
    /// normalised characters.
    Decided,
    /// The head too: for `text-v1` every token with a normalised character, for the other rules every token.
    Present,
}

/// Where the table of uniform numbers behind a rule comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TableSource {
    /// The table that torch makes on the CPU from the seed 2971215073.
    #[default]
    Cpu,
    /// A table from a file, named by [`UniformTable::fingerprint`].
    File(String),
}

/// A rule and its parameters. One token in `k` is dropped; windows and contexts count tokens, except
/// for `text-v1`, which counts normalised characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum RuleParameters {
    /// Drops position `i` iff `i >= start` and `(i - start) % k == 0` (the paper's static mask).
    Static {
        /// One token in `k` is dropped.
        k: u32,
        /// First dropped position.
        start: u64,
    },
    /// Drops iff `xxh3_64(seed, key as LE u64 ++ i as LE u64)` falls in the first `1/k` of its range,
    /// `key` being [`document_key`](crate::document_key) (the paper's random mask: copies differ).
    Random {
        /// One token in `k` is dropped.
        k: u32,
        /// Seed of the hash.
        seed: u64,
    },
    /// Drops iff `xxh3_64(seed, window as LE u32 bytes)` falls in the first `1/k` of its range.
    Hash {
        /// One token in `k` is dropped.
        k: u32,
        /// Tokens in the window.
        context: u32,
        /// Where the window stands.
        window: Window,
        /// What happens where it is not full.
        head: ShortContext,
        /// Seed of the hash.
        seed: u64,
    },
    /// Drops a word iff `xxh3_64(seed, the last context normalised characters before it, as UTF-8)` falls in the
    /// first `1/k` of its range, and every token that overlaps the word: independent of white space, case,
    /// punctuation and tokenizer.
    ///
    /// - *Normalised characters*: NFKC, then full case folding, then letters and numbers (general categories
    ///   `L*`, `N*`) with the marks (`Mn`, `Mc`) that follow them. Marks behind anything else, enclosing marks and
    ///   default-ignorable characters (joiners, variation selectors, soft hyphens, fillers) contribute nothing.
    ///   All tables are those of [`UNICODE_VERSION`](crate::UNICODE_VERSION), 16.0.0.
    /// - *Where they come from*: a character and those behind it that normalization may compose with it or
    ///   reorder (its combining marks, the jamo of a syllable) count as one, a segment: what it contributes comes
    ///   from all of its bytes. If its first character contributes nothing by itself, it ends the word before it.
    /// - *Words*: what contributes without a gap; an ideograph or kana with its marks is a word by itself;
    ///   a word ends after 24 normalised characters. A segment that contributes to several words overlaps each.
    #[serde(rename = "text-v1")]
    Text {
        /// One word in `k` is dropped.
        k: u32,
        /// Normalised characters that the hash sees.
        context: u32,
        /// Whether words or tokens are decided.
        unit: Granularity,
        /// What happens where fewer than `context` characters stand before. With nothing before it, a word
        /// is always kept.
        head: ShortContext,
        /// Seed of the hash.
        seed: u64,
    },
    /// Drops iff `table[product of the inclusive window mod 1000003] < 1/k`: bit-exact with
    /// `apply_goldfish(strategy="hash-table")`, ahans30/goldfish-loss 35d29f9, `lit_gpt/utils.py`.
    HashTable {
        /// One token in `k` is dropped.
        k: u32,
        /// Tokens in the window.
        context: u32,
        /// Which table.
        #[serde(default)]
        table: TableSource,
    },
    /// Drops iff an avalanche hash of the product of the inclusive window is below `(2^32 - 1) / k`:
    /// bit-exact with `apply_goldfish(strategy="hash-avalanche")` of the same file.
    HashAvalanche {
        /// One token in `k` is dropped.
        k: u32,
        /// Tokens in the window.
        context: u32,
    },
    /// Drops iff `table[sum of coefficient * token over the inclusive window mod 1000003] < 1/k`:
    /// bit-exact with `megatron/core/datasets/goldfish.py` of swiss-ai/Megatron-LM-MoE.
    CoefficientSum {
        /// One token in `k` is dropped.
        k: u32,
        /// Tokens in the window.
        context: u32,
        /// One factor a token of the window, the oldest token first.
        coefficients: Vec<i64>,
        /// Which table.
        #[serde(default)]
        table: TableSource,
    },
}

/// The full description of a rule: what a manifest stores and what a mask is recomputed from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleSpec {
    /// Version of the rule's definition; a change of any decision raises it.
    pub version: u32,
    /// The rule and its parameters.
    #[serde(flatten)]
    pub parameters: RuleParameters,
}

impl RuleParameters {
    /// Version of the rule's definition in this build.
    fn version(&self) -> u32 {
        match self {
            // 2: a character that contributes nothing ends a word, whatever combines with it.
            Self::Text { .. } => 2,
            _ => 1,
        }
    }
}

impl RuleSpec {
    /// Describes a rule at the version that this build implements.
    #[must_use]
    pub fn new(parameters: RuleParameters) -> Self {
        Self { version: parameters.version(), parameters }
    }

    /// Builds the rule. `table` is needed only where the description names a table from a file.
    ///
    /// # Errors
    ///
    /// If a parameter is out of its range, the version is unknown, or `table` is not the one described.
    pub fn build(&self, table: Option<&UniformTable>) -> Result<Box<dyn MaskRule>, MaskError> {
        let context = self.check()?;
        let k = self.k();
        Ok(match &self.parameters {
            RuleParameters::Static { start, .. } => Box::new(Static::new(k, *start)),
            RuleParameters::Random { seed, .. } => Box::new(Random::new(k, *seed)),
            RuleParameters::Hash { window, head, seed, .. } => {
                Box::new(Hash::new(k, context, *window, *head, *seed))
            }
            RuleParameters::Text { unit, head, seed, .. } => {
                Box::new(Text::new(k, context, *unit, *head, *seed))
            }
            RuleParameters::HashTable { table: source, .. } => {
                Box::new(Product::table(context, resolve(source, table)?.dropped(k)))
            }
            RuleParameters::HashAvalanche { .. } => Box::new(Product::avalanche(context, k)),
            RuleParameters::CoefficientSum { coefficients, table: source, context: declared, .. } => {
                if coefficients.len() != context {
                    return Err(MaskError::Coefficients { context: *declared, found: coefficients.len() });
                }
                Box::new(CoefficientSum::new(coefficients, resolve(source, table)?.dropped(k)))
            }
        })
    }

    /// Builds a rule that drops each token within this one's reach, to count them: of the tokens that it drops
    /// with [`Coverage::Decided`], the rule itself should drop one in `k`.
    ///
    /// # Errors
    ///
    /// If a parameter is out of its range, or the version is unknown.
    pub fn build_coverage(&self, reach: Coverage) -> Result<Box<dyn MaskRule>, MaskError> {
        let context = self.check()?;
        let head = match (&self.parameters, reach) {
            (RuleParameters::Text { unit, head, seed, .. }, _) => {
                let text = Text::new(self.k(), context, *unit, *head, *seed);
                return Ok(Box::new(if reach == Coverage::Decided {
                    text.decided()
                } else {
                    text.present()
                }));
            }
            (_, Coverage::Present) | (RuleParameters::Random { .. }, _) => 0,
            (RuleParameters::Static { start, .. }, _) => *start,
            (RuleParameters::Hash { window, head, .. }, _) => match (window, head) {
                (Window::Preceding, ShortContext::Keep) => context as u64,
                (Window::Inclusive, ShortContext::Keep) => context as u64 - 1,
                (Window::Inclusive, ShortContext::Short) if context == 1 => 0,
                (_, ShortContext::Short) => 1,
            },
            (
                RuleParameters::HashTable { .. }
                | RuleParameters::HashAvalanche { .. }
                | RuleParameters::CoefficientSum { .. },
                _,
            ) => context as u64 - 1,
        };
        Ok(Box::new(AfterPrefix::new(head)))
    }

    /// Checks version, `k` and context; gives the context, 0 where there is none.
    fn check(&self) -> Result<usize, MaskError> {
        let known = self.parameters.version();
        if self.version != known {
            return Err(MaskError::Version { version: self.version, known });
        }
        let k = self.k();
        if k < 2 {
            return Err(MaskError::K { k });
        }
        match self.context() {
            Some(context) if !(1..=MAX_CONTEXT).contains(&context) => Err(MaskError::Context { context }),
            context => Ok(context.unwrap_or(0) as usize),
        }
    }

    /// The rule's name, as in a manifest.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.parameters {
            RuleParameters::Static { .. } => "static",
            RuleParameters::Random { .. } => "random",
            RuleParameters::Hash { .. } => "hash",
            RuleParameters::Text { .. } => "text-v1",
            RuleParameters::HashTable { .. } => "hash-table",
            RuleParameters::HashAvalanche { .. } => "hash-avalanche",
            RuleParameters::CoefficientSum { .. } => "coefficient-sum",
        }
    }

    /// `k`: one token in `k` is dropped.
    #[must_use]
    pub fn k(&self) -> u32 {
        match self.parameters {
            RuleParameters::Static { k, .. }
            | RuleParameters::Random { k, .. }
            | RuleParameters::Hash { k, .. }
            | RuleParameters::Text { k, .. }
            | RuleParameters::HashTable { k, .. }
            | RuleParameters::HashAvalanche { k, .. }
            | RuleParameters::CoefficientSum { k, .. } => k,
        }
    }

    /// Context width in tokens, or in characters for `text-v1`; `None` for the rules that look at no window.
    #[must_use]
    pub fn context(&self) -> Option<u32> {
        match self.parameters {
            RuleParameters::Static { .. } | RuleParameters::Random { .. } => None,
            RuleParameters::Hash { context, .. }
            | RuleParameters::Text { context, .. }
            | RuleParameters::HashTable { context, .. }
            | RuleParameters::HashAvalanche { context, .. }
            | RuleParameters::CoefficientSum { context, .. } => Some(context),
        }
    }

    /// Whether the rule reproduces another implementation to the bit, faults included. Such a rule
    /// exempts no special tokens unless asked.
    #[must_use]
    pub fn is_reference(&self) -> bool {
        matches!(
            self.parameters,
            RuleParameters::HashTable { .. }
                | RuleParameters::HashAvalanche { .. }
                | RuleParameters::CoefficientSum { .. }
        )
    }
}

/// The table that `source` names.
fn resolve(source: &TableSource, given: Option<&UniformTable>) -> Result<UniformTable, MaskError> {
    match (source, given) {
        (TableSource::Cpu, _) => Ok(UniformTable::cpu()),
        (TableSource::File(expected), None) => Err(MaskError::TableMissing { expected: expected.clone() }),
        (TableSource::File(expected), Some(table)) => {
            let found = table.fingerprint();
            if found != *expected {
                return Err(MaskError::TableDiffers { expected: expected.clone(), found });
            }
            Ok(table.clone())
        }
    }
}
