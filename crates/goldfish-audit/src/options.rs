//! What an audit measures.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backend::SamplingScheme;
use crate::score::near_verbatim::NearVerbatim;
use crate::stat::{Bootstrap, OutOfRange, RateMethod};

/// What is measured. Part of a run's configuration: everything in it can change results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditOptions {
    /// How exact match is decided.
    pub decide: Decide,
    /// Whether continuations are compared, as Rouge-L and others need; they take decoding.
    pub continuations: bool,
    /// Probability and draws of a sampled continuation, if asked for.
    pub extraction: Option<Extraction>,
    /// After how many unrelated prefixes the suffix is scored too, if at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unrelated_prefixes: Option<u32>,
    /// Whether membership scores are computed.
    pub membership: bool,
    /// Fraction of tokens that Min-K% and Min-K%++ take.
    pub min_k: f64,
    /// A token put before every sequence, for models that expect one; not counted in prefix or offset.
    pub bos: Option<u32>,
    /// Whether there was text for the word scores, the zlib score and the boilerplate filter.
    pub text: bool,
    /// SHA-256 of the tokenizer that gave it, where it came from a file.
    pub tokenizer: Option<String>,
    /// Whether texts and token ids are left out of the run's files.
    pub redact: bool,
    /// How the statistics are made.
    pub statistics: StatisticsOptions,
}

/// How the statistics are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatisticsOptions {
    /// Interval of rates.
    pub rates: RateMethod,
    /// The bootstrap of means.
    pub bootstrap: Bootstrap,
}

impl Default for StatisticsOptions {
    fn default() -> Self {
        Self { rates: RateMethod::default(), bootstrap: Bootstrap::new(0) }
    }
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self {
            decide: Decide::Score,
            continuations: true,
            extraction: None,
            unrelated_prefixes: None,
            membership: true,
            min_k: 0.2,
            bos: None,
            text: false,
            tokenizer: None,
            redact: false,
            statistics: StatisticsOptions::default(),
        }
    }
}

impl AuditOptions {
    /// Checks that every number is in its range.
    ///
    /// # Errors
    ///
    /// If one isn't, with its name.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let share = self.min_k;
        OutOfRange::check(
            "the share of Min-K%",
            share,
            share > 0.0 && share <= 1.0,
            "above 0 and at most 1",
        )?;
        let Some(Extraction { scheme, p, near }) = self.extraction else {
            return Ok(());
        };
        scheme.check()?;
        let beams = near.map_or(1.0, |near| f64::from(near.beams));
        OutOfRange::check("the number of beams", beams, beams >= 1.0, "at least 1")?;
        OutOfRange::check("p", p, p > 0.0 && p < 1.0, "above 0 and below 1")
    }
}

/// How sampled extraction is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Extraction {
    /// How tokens are drawn.
    pub scheme: SamplingScheme,
    /// The probability with which the suffix is seen after n(p) draws.
    pub p: f64,
    /// Whether continuations that differ in some tokens count too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub near: Option<NearVerbatim>,
}

/// How exact match is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decide {
    /// By the ranks of one teacher-forced pass.
    #[default]
    Score,
    /// By a greedy continuation: the fallback where given sequences can't be scored.
    Generate,
}

impl Decide {
    /// The name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::Generate => "generate",
        }
    }
}
