//! What an inspection finds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stretches::LongestKept;

/// All that was found in a folder of shards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Inspection {
    /// Documents and tokens of the folder.
    pub totals: Rates,
    /// Outcome of the tokens, and why. Missing for a rule that decides by text, where there is no tokenizer.
    pub tally: Option<TallyReport>,
    /// Distances between dropped tokens.
    pub gaps: Gaps,
    /// The longest stretches of tokens that are all kept.
    pub longest_kept: LongestKept,
    /// Documents without a drop.
    pub undropped: Undropped,
    /// Windows that the rule can't distinguish; missing for rules that look at no window of tokens.
    pub windows: Option<Windows>,
    /// Rates by the values of a column.
    pub groups: Option<Groups>,
    /// Rates by token id.
    pub ids: IdRates,
    /// Passages that recur, and what leaks between their copies.
    pub duplicates: Option<Duplicates>,
    /// Warnings about the rule on this corpus.
    pub warnings: Vec<String>,
}

/// Counts of documents and tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rates {
    /// Documents.
    pub documents: u64,
    /// Their tokens.
    pub tokens: u64,
    /// Tokens with a loss mask of 0.
    pub dropped: u64,
    /// `dropped / tokens`; 0 where there are no tokens.
    pub drop_rate: f64,
}

/// Outcome of the tokens of the sampled documents, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TallyReport {
    /// Documents that were looked at.
    pub documents: u64,
    /// Their tokens; the sum of `special`, `blank`, `head` and `decided`.
    pub tokens: u64,
    /// Kept as special tokens.
    pub special: u64,
    /// Kept because they have no letter or number (`text-v1` only).
    pub blank: u64,
    /// Kept because the context before them is not full.
    pub head: u64,
    /// Decided by the rule.
    pub decided: u64,
    /// Of the decided, dropped.
    pub dropped: u64,
    /// `dropped / decided`, which should be `1/k`.
    pub decided_drop_rate: f64,
    /// Documents in which no token was decided, so that none could be dropped.
    pub too_short: u64,
}

/// Distances between consecutive dropped tokens of a document: 1 where they are neighbors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gaps {
    /// How many there are.
    pub count: u64,
    /// Their quantiles.
    pub measured: GapQuantiles,
    /// The quantiles of the geometric law with a mean of `k`, which independent tosses would give; missing where the rule
    /// drops nothing.
    pub law: Option<GapQuantiles>,
    /// Tokens in the longest stretch without a drop, starts and ends of documents included.
    pub longest_kept: u64,
    /// Tokens in the longest stretch of drops.
    pub longest_dropped: u64,
    /// Share of the gaps of at least this many tokens, measured and by the law, at growing gaps.
    pub survival: Vec<GapSurvival>,
}

/// Mean and quantiles of gaps, in tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GapQuantiles {
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: u64,
    /// 99th percentile.
    pub p99: u64,
    /// The longest; missing for the law.
    pub max: Option<u64>,
}

/// How many gaps are at least this long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GapSurvival {
    /// Tokens.
    pub gap: u64,
    /// Share of the measured gaps.
    pub measured: f64,
    /// Share by the geometric law.
    pub law: f64,
}

/// Documents without a dropped token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Undropped {
    /// Documents.
    pub documents: u64,
    /// Their tokens.
    pub tokens: u64,
}

/// Windows of tokens that share a key with more other windows than chance would have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Windows {
    /// Different windows in the sample.
    pub distinct: u64,
    /// Their positions in the sampled documents.
    pub positions: u64,
    /// Whether all windows of the sampled documents were kept, or a share of them, chosen by their hashes.
    pub complete: bool,
    /// Different keys of the sampled windows.
    pub distinct_keys: u64,
    /// How many keys the rule has.
    pub key_space: u64,
    /// A key with at least so many different windows is degenerate: a fair hash has none in a billion corpora.
    pub threshold: u64,
    /// Keys above the threshold.
    pub degenerate_keys: u64,
    /// Positions with such a key.
    pub degenerate_positions: u64,
    /// `degenerate_positions / positions`.
    pub degenerate_share: f64,
    /// The keys with the most different windows among these.
    pub worst: Vec<WorstKey>,
}

/// A key that many windows share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorstKey {
    /// The key.
    pub key: u64,
    /// Different windows with it.
    pub windows: u64,
    /// Positions with it.
    pub positions: u64,
    /// Whether the rule drops them.
    pub dropped: bool,
    /// The first token ids of one of the windows.
    pub example: Vec<u32>,
}

/// Rates by the values of a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Groups {
    /// The column.
    pub column: String,
    /// Its values, the one with the most tokens first.
    pub rows: Vec<GroupRow>,
}

/// The documents with one value in a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GroupRow {
    /// The value; `null` for documents without one.
    pub value: Option<String>,
    /// Their counts.
    #[serde(flatten)]
    pub rates: Rates,
    /// Of the sampled documents: tokens that the rule decided about.
    pub decided: u64,
    /// `dropped / decided` of the sampled documents; 0 where none were decided.
    pub decided_drop_rate: f64,
    /// Tokens in the longest stretch without a drop.
    pub longest_kept: u64,
    /// Tokens in the longest stretch of drops.
    pub longest_dropped: u64,
}

/// Rates by token id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IdRates {
    /// Different ids that occur.
    pub distinct: u64,
    /// Occurrences below which nothing is said about an id.
    pub least_tokens: u64,
    /// Ids with that many occurrences, which are always dropped; the most frequent first.
    pub always: IdList,
    /// Ids with that many occurrences, which are never dropped; the most frequent first.
    pub never: IdList,
    /// Ids with that many occurrences by drop rate, in 20 equal steps from 0 to 1.
    pub histogram: Vec<u64>,
}

/// Some ids.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IdList {
    /// How many there are.
    pub count: u64,
    /// Their occurrences.
    pub tokens: u64,
    /// The most frequent of them.
    pub most_frequent: Vec<IdCount>,
}

/// A token id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IdCount {
    /// The id.
    pub id: u32,
    /// How often it occurs.
    pub tokens: u64,
}

/// Passages that recur in the sampled documents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Duplicates {
    /// Documents that were indexed: a sample where the folder is large.
    pub documents: u64,
    /// Their letters and numbers, after normalization.
    pub characters: u64,
    /// Documents that were searched for copies of what is in these: all.
    pub searched: u64,
    /// Share of the words of these documents that recur in passages of the least length or longer, in any of the documents searched.
    pub recurring_share: f64,
    /// Recurring words by the number of places: 2, 3 to 4, 5 to 8, 9 to 16, .... Of what is in more than eight of the indexed
    /// documents some may have more places than they are counted under.
    pub copies: Vec<CopyBucket>,
    /// Least length of a passage, in normalized characters.
    pub least_characters: u64,
    /// Pairs of passages that were compared.
    pub pairs: u64,
    /// Of these, pairs with some words that differ.
    pub near: u64,
    /// Different passages among them, as independent units: pairs that share text are copies of the same one.
    pub passages: u64,
    /// What leaks under the masks as they are, and what would under other rules with the same `k`.
    pub rules: Vec<RuleLeak>,
    /// The share that would leak if the masks of the copies were independent: `1 - 1/k`.
    pub independent: f64,
    /// What leaks, by what differs near the token.
    pub differences: Vec<DifferenceLeak>,
    /// What leaks, by the distance from the last edit or the start of the passage.
    pub distances: Vec<DistanceLeak>,
    /// The worst pairs under the masks as they are.
    pub worst: Vec<LeakingPair>,
}

/// Words with about so many places.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CopyBucket {
    /// Fewest places.
    pub from: u64,
    /// Most places.
    pub to: u64,
    /// Words.
    pub words: u64,
}

/// Dropped tokens of one copy, and those of them that the other copy trains on; over both directions of every pair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Leak {
    /// Tokens with letters or numbers that are in both copies and are dropped in one.
    pub dropped: u64,
    /// Of these, tokens of which the other copy trains on a part at least.
    pub leaked: u64,
    /// `leaked / dropped`; 0 where nothing was dropped.
    pub share: f64,
}

/// The leak under a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RuleLeak {
    /// The rule, in words.
    pub rule: String,
    /// Whether these are the folder's own masks.
    pub own: bool,
    /// The name that options have for the rule, where it could be used in place of the folder's own.
    pub option: Option<String>,
    /// What leaks.
    #[serde(flatten)]
    pub leak: Leak,
    /// How much more leaks under the masks as they are; missing for these themselves.
    pub excess: Option<Excess>,
}

/// How much more leaks under the masks as they are than under another rule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Excess {
    /// The difference of the shares: below 0 if less leaks.
    pub share: f64,
    /// Its standard error, over passages as independent units; missing where they are fewer than ten.
    pub standard_error: Option<f64>,
}

/// What differs between two copies near a token. An edit or the start of a passage counts for the 32 words after it. Inserted
/// and deleted are seen from the copy that comes first in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Difference {
    /// The passage starts, and what is before it differs.
    Entry,
    /// Words that differ are the last difference in words before the token.
    Replaced,
    /// Words that only the second copy has are the last difference in words before the token.
    Inserted,
    /// Words that only the first copy has are the last difference in words before the token.
    Deleted,
    /// No such difference is near, but words that differ, or the end of the passage, come within 32 words.
    Ahead,
    /// Line breaks, spaces or punctuation differ within 32 words before the token, and no words.
    Layout,
    /// The case differs there.
    Case,
    /// The same letters are written with other characters there, such as a ligature.
    Forms,
    /// None of these.
    Nothing,
}

impl Difference {
    /// It in a few words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Entry => "start of a passage",
            Self::Replaced => "words replaced",
            Self::Inserted => "words inserted",
            Self::Deleted => "words deleted",
            Self::Ahead => "words or end ahead",
            Self::Layout => "layout",
            Self::Case => "case",
            Self::Forms => "character forms",
            Self::Nothing => "nothing",
        }
    }
}

/// The leak near a difference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DifferenceLeak {
    /// What differs.
    pub difference: Difference,
    /// For each rule, in the order of [`Duplicates::rules`], what leaks.
    pub leaks: Vec<Leak>,
}

/// The leak at a distance from the last edit or the start of the passage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DistanceLeak {
    /// The least distance in words: 1 is the first word after it.
    pub from: u64,
    /// The largest; missing for all that is further on, or has none before it.
    pub to: Option<u64>,
    /// For each rule, in the order of [`Duplicates::rules`], what leaks.
    pub leaks: Vec<Leak>,
}

impl DistanceLeak {
    /// The distance in a few words.
    #[must_use]
    pub fn name(&self) -> String {
        match self.to {
            None => format!("{} and more, or none", self.from),
            Some(to) if to == self.from => to.to_string(),
            Some(to) => format!("{} to {to}", self.from),
        }
    }
}

impl RuleLeak {
    /// The rule as the heading of a column.
    #[must_use]
    pub fn heading(&self) -> &str {
        if self.own { "this folder" } else { self.rule.split(',').next().unwrap_or_default() }
    }
}

/// Two copies side by side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LeakingPair {
    /// What differs between them.
    pub kind: String,
    /// Normalized characters that they share.
    pub characters: u64,
    /// What leaks between them under the masks as they are.
    pub leak: Leak,
    /// The two passages.
    pub copies: [Copy; 2],
}

/// A passage in a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Copy {
    /// The document.
    pub doc_id: String,
    /// Position of the first token shown.
    pub token: u64,
    /// Consecutive tokens, around the first leak.
    pub tokens: Vec<ShownToken>,
}

/// A token with its outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShownToken {
    /// Its text.
    pub text: String,
    /// Whether it is excluded from the loss.
    pub dropped: bool,
    /// Whether it is dropped here and trained on in the other copy.
    pub leaked: bool,
}
