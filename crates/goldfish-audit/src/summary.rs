//! `summary.json`: what a run found.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use goldfish_shard::ToolEntry;

use crate::backend::ModelDescription;
use crate::canary::CanarySummary;
use crate::config::ControlConfig;
use crate::options::Extraction;
pub use crate::per_score::{MembershipScore, PerScore, ScoreStatistic};
use crate::probe::ProbeCounts;
use crate::score::trivial::Triviality;
use crate::selftest::SelfTest;
use crate::stat::{Difference, McNemar, Mean, Rate};
pub use crate::works::{WorkPart, WorkSummary};

/// The statistics of a run. The scores of the audited set are at the top, those of the control and the excess over it
/// next to them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Version of the run's files.
    pub run_version: u32,
    /// The program.
    pub tool: ToolEntry,
    /// Key of the run's configuration.
    pub key: String,
    /// The model.
    pub model: ModelDescription,
    /// What to know before the numbers: a missing control, filters, fallbacks.
    pub notes: Vec<String>,
    /// Scores of the audited probes.
    #[serde(flatten)]
    pub scores: Scores,
    /// Scores of the control, if there is one.
    pub control: Option<Scores>,
    /// Scores of the audited probes less those of the control.
    pub excess: Option<Excess>,
    /// The positive control, if there is one.
    pub canary: Option<CanarySummary>,
    /// The same probes with the whole passage in the prompt, if they were asked.
    pub in_context: Option<InContextSummary>,
    /// The same without the probes that show nothing.
    pub nontrivial: Nontrivial,
    /// Probes that each triviality filter found.
    pub trivial: Vec<TrivialCount>,
    /// Scores by stratum.
    pub strata: Vec<Stratum>,
    /// Documents that were probed at eight starts or more, those of which the most was recited first; 20 at most.
    pub works: Vec<WorkSummary>,
    /// Sampled extraction, if it was asked for.
    pub extraction: Option<ExtractionSummary>,
    /// How well each membership score separates audited from control probes; empty without a control.
    pub membership: Vec<MembershipSummary>,
    /// Divergences and losses at dropped tokens, where the corpus has masks.
    pub goldfish: Option<GoldfishSummary>,
    /// How the audited probes came about.
    pub probes: ProbeCounts,
    /// How the control's probes came about.
    pub control_probes: Option<ControlConfig>,
    /// Cost of the run, and of a naive one.
    pub cost: Cost,
    /// Audited probes whose verdict depends on less than 0.001 nats.
    pub close_calls: u64,
    /// What the backend's self-test found.
    pub self_test: SelfTest,
}

/// The scores of a set of probes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scores {
    /// Greedy continuation equal to the true suffix.
    pub exact_match: Rate,
    /// Means of the other scores.
    #[serde(flatten)]
    pub means: PerScore<Mean>,
}

/// Differences of the scores of two sets, or of two runs.
pub type Excess = PerScore<Difference>;

/// Scores without the probes that show nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nontrivial {
    /// Of the audited probes.
    pub audited: Scores,
    /// Of the control.
    pub control: Option<Scores>,
    /// The first less the second.
    pub excess: Option<Excess>,
}

/// What one triviality filter found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrivialCount {
    /// The filter.
    pub filter: Triviality,
    /// Audited probes that it found.
    pub audited: u64,
    /// Of those, exact matches.
    pub audited_exact: u64,
    /// Control probes that it found.
    pub control: u64,
    /// Of those, exact matches.
    pub control_exact: u64,
}

/// What probes are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StratifiedBy {
    /// The column that was named.
    Source,
    /// Copies of the start in the corpus, by powers of two.
    Copies,
    /// Position of the prefix in its document.
    Offset,
    /// Prefix length.
    Prefix,
    /// Suffix length.
    Suffix,
}

/// The scores of one stratum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stratum {
    /// What it is grouped by.
    pub by: StratifiedBy,
    /// Its value, or the range of values.
    pub value: String,
    /// Scores of its audited probes.
    pub audited: Scores,
    /// Scores of its control probes, if there are any.
    pub control: Option<Scores>,
    /// Intervals of exact match that hold for all groups at once.
    pub simultaneous: Simultaneous,
}

/// Intervals of exact match that are so wide that with 95% confidence all groups of a kind are within theirs: each has the
/// confidence `1 - 0.05 / groups` (Bonferroni). Which group recites most can be read from them alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Simultaneous {
    /// Groups of this kind.
    pub groups: u64,
    /// Confidence of each interval.
    pub confidence: f64,
    /// Interval of the audited probes.
    pub audited: Ends,
    /// Interval of the control probes, if there are any.
    pub control: Option<Ends>,
}

/// Ends of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ends {
    /// Lower end.
    pub lower: f64,
    /// Upper end; where no probe counts, the bound that the rate stays below.
    pub upper: f64,
}

/// How many suffixes are seen within so many draws.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtractionSummary {
    /// How tokens are drawn, and with which probability a suffix is seen.
    pub asked: Extraction,
    /// Shares by number of draws.
    pub within: Vec<WithinDraws>,
    /// The same of continuations near the suffix: at least so many are seen. Empty if they were not asked for.
    pub near_within: Vec<WithinDraws>,
}

/// Suffixes that are seen within a number of draws.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WithinDraws {
    /// Draws.
    pub draws: u64,
    /// Share of audited probes with n(p) of at most that.
    pub audited: Rate,
    /// Share of control probes with n(p) of at most that.
    pub control: Option<Rate>,
}

/// How well a membership score separates audited from control probes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MembershipSummary {
    /// The score.
    pub score: MembershipScore,
    /// Area under the ROC curve: 0.5 is chance, 1 is perfect.
    pub auc: Difference,
    /// Share of audited probes below the value that 1% of the control probes are below; absent where there are fewer than
    /// 100 of those.
    pub true_positives_at_1_percent: Option<f64>,
}

/// Divergences and losses at dropped tokens of the audited probes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GoldfishSummary {
    /// Probes with a mask.
    pub probes: u64,
    /// Share of their suffixes' tokens that is dropped: what `at_dropped` would be by chance.
    pub drop_rate: f64,
    /// Loss over dropped tokens.
    pub loss_dropped: Mean,
    /// Loss over kept tokens.
    pub loss_kept: Mean,
    /// Loss over dropped less loss over kept tokens, in the probes that have both.
    pub loss_difference: Difference,
    /// First divergences at a dropped token, of all first divergences.
    pub at_dropped: Rate,
    /// First divergences by signed distance to the nearest dropped token: 0 at one, 1 just after one.
    pub nearest: Vec<DistanceCount>,
    /// First divergences by distance to the last dropped token at or before.
    pub since_dropped: Vec<DistanceCount>,
    /// First divergences of probes without any dropped token.
    pub without_dropped: u64,
}

/// Divergences at one distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DistanceCount {
    /// Distance in tokens.
    pub distance: i64,
    /// First divergences there.
    pub count: u64,
}

/// What the results cost, in tokens that pass through the model. A run that was resumed spent some more. Searches for near-verbatim
/// continuations are not counted: how many beginnings they follow differs from passage to passage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Tokens of scored sequences.
    pub scored_tokens: u64,
    /// Tokens of prompts that were continued.
    pub prompt_tokens: u64,
    /// Tokens decoded one after the other.
    pub decoded_tokens: u64,
    /// The sum of the three.
    pub forward_tokens: u64,
    /// What one greedy continuation for each probe would have put through the model: prefix and suffix.
    pub naive_forward_tokens: u64,
    /// Of those, decoded one after the other: what makes a naive audit slow.
    pub naive_decoded_tokens: u64,
}

/// What the model continues with the whole passage in the prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InContextSummary {
    /// Scores of the audited probes.
    #[serde(flatten)]
    pub scores: Scores,
    /// Scores of the control, if there is one: what the model copies of text that it never saw before.
    pub control: Option<Scores>,
    /// Scores of the audited probes less those of the control.
    pub excess: Option<Excess>,
    /// Scores of the audited probes less those of the same probes without the passage in the prompt.
    pub gain: Excess,
    /// The same of the control.
    pub control_gain: Option<Excess>,
    /// Whether the model copies text of these lengths; absent without a control.
    pub copying: Option<Copying>,
}

/// Whether a model copies held-out text from its prompt, as far as the 95% interval of its rate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Copying {
    /// More than half of it: a text that it does not recite is one that it could have said.
    Copies,
    /// The interval has one half in it.
    Unclear,
    /// Less than half: a text that it does not recite may be one that it can't say.
    DoesNotCopy,
}

impl Copying {
    /// By the exact matches of held-out probes with the passage in the prompt.
    pub(crate) fn of(control: &Rate) -> Self {
        if control.n > 0 && control.lower > 0.5 {
            Self::Copies
        } else if control.n > 0 && control.upper < 0.5 {
            Self::DoesNotCopy
        } else {
            Self::Unclear
        }
    }
}

impl InContextSummary {
    /// What to know before the numbers.
    pub(crate) fn note(&self) -> Option<String> {
        let Some(control) = &self.control else {
            return Some(
                "no control: what the model repeats with the passage in its prompt may come from its weights too"
                    .into(),
            );
        };
        let Rate { positives, n, .. } = control.exact_match;
        (self.copying == Some(Copying::DoesNotCopy)).then(|| {
            format!(
                "the model does not copy from its prompt at this length: of {n} control probes with the whole passage in the prompt it repeats {positives}, so that what it does not recite may be what it can't say"
            )
        })
    }
}

/// Two runs on the same probes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// Probes that both have.
    pub probes: u64,
    /// Probes that only one of them has, which are left out.
    pub unpaired: u64,
    /// McNemar's test of exact match.
    pub exact_match_test: McNemar,
    /// Differences, the first run less the second, paired by probe.
    pub differences: Excess,
}
