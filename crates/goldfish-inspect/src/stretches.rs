//! The longest stretches of tokens that are all kept.

use goldfish_mask::RunUnit;
use goldfish_pipeline::ShardText;
use goldfish_shard::{DecidedRun, KeptCounter, KeptRun, Manifest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Tokens of a stretch whose text is shown.
const SHOWN_TOKENS: usize = 160;

/// What a model trains on in one piece: the longest stretches of tokens of a document that are all kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LongestKept {
    /// The most decided words or tokens in a row that the rule keeps, whatever the corpus; missing if it promises no
    /// bound.
    pub bound: Option<u32>,
    /// In tokens, whether or not the rule decided about them.
    pub tokens: KeptStretch,
    /// In decided words or tokens, as the manifest states it; missing if the rule doesn't count them.
    pub decided: Option<KeptStretch>,
}

/// A stretch of kept tokens. Of equally long ones it is the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeptStretch {
    /// How many units it has; if that is 0, the other values say nothing.
    pub length: u64,
    /// What they are.
    pub unit: RunUnit,
    /// Tokens from its first to its last unit.
    pub tokens: u64,
    /// Number of its document, from 0.
    pub document: u64,
    /// Id of the document, cut if it is long.
    pub doc_id: String,
    /// Position of its first token in the document, from 0.
    pub position: u64,
    /// Its text, or the start of it, where there is a tokenizer that gives it.
    pub text: Option<String>,
}

/// Looks for the stretches, document by document.
#[derive(Debug)]
pub(crate) struct StretchSearch {
    counter: KeptCounter,
    bound: Option<u32>,
    decided: Option<DecidedRun>,
    /// The first ids of either stretch.
    ids: [Vec<u32>; 2],
}

impl StretchSearch {
    pub(crate) fn new(manifest: &Manifest) -> Self {
        let decided = manifest.longest_kept_run.as_ref().and_then(|runs| runs.decided.clone());
        let bound = manifest.policy.is_empty().then(|| manifest.rule.definition().longest_run()).flatten();
        Self { counter: KeptCounter::new(None), bound, decided, ids: Default::default() }
    }

    /// Adds the next document, with the length of its longest stretch.
    pub(crate) fn add(&mut self, doc_id: &str, ids: &[u32], mask: &[u8], longest_kept: u64) {
        let document = self.counter.documents();
        if longest_kept > self.counter.runs().tokens.tokens {
            self.counter.add(doc_id, mask);
            let longest = &self.counter.runs().tokens;
            self.ids[0] = first_ids(ids, longest.position, longest.tokens);
        } else {
            self.counter.pass(1);
        }
        if let Some(run) = self.decided.as_ref().filter(|run| run.document == document) {
            self.ids[1] = first_ids(ids, run.position, run.tokens);
        }
    }

    pub(crate) fn report(self, text: Option<&ShardText>) -> LongestKept {
        let text = |ids: &[u32], tokens: u64| {
            let mut shown = String::new();
            text?.read(ids, &mut shown, &mut Vec::new()).ok()?;
            if ids.len() as u64 != tokens {
                shown.push('…');
            }
            Some(shown)
        };
        let KeptRun { tokens, document, doc_id, position } = self.counter.runs().tokens.clone();
        let [ids, decided_ids] = &self.ids;
        let (length, unit, shown) = (tokens, RunUnit::Tokens, text(ids, tokens));
        LongestKept {
            bound: self.bound,
            tokens: KeptStretch { length, unit, tokens, document, doc_id, position, text: shown },
            decided: self.decided.map(|DecidedRun { unit, length, tokens, document, doc_id, position }| {
                let text = text(decided_ids, tokens);
                KeptStretch { length, unit, tokens, document, doc_id, position, text }
            }),
        }
    }
}

/// The first ids of a stretch. Manifests can be edited, so that it may not be there.
fn first_ids(ids: &[u32], position: u64, tokens: u64) -> Vec<u32> {
    let start = usize::try_from(position).unwrap_or(usize::MAX).min(ids.len());
    let tokens = usize::try_from(tokens).unwrap_or(usize::MAX);
    ids[start..].iter().take(tokens.min(SHOWN_TOKENS)).copied().collect()
}
