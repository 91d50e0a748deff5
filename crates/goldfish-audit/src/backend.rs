//! What an audit asks of a model, whether it runs in this process or on a server.

use std::cmp::Ordering;
use std::fmt::{self, Display, Formatter};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::backend_error::BackendError;
use crate::prompt_template::PromptTemplate;
use crate::stat::OutOfRange;

/// A model that can be audited.
///
/// Three things: it [describes](Self::describe) itself, [scores](Self::score) given sequences, and
/// [continues](Self::generate) prompts. All in token ids; a backend never adds a token (no BOS, no template)
/// and never stops early. One that can't do without says so: with its [template](ModelDescription::template), and with
/// [caveats](Caveat).
///
/// Answers come in the order of the requests and one for each, or the call as a whole is an error: a
/// backend retries what failed on the way on its own, so that nothing is lost or counted twice. An answer must not
/// depend on what else is in the batch; where a server can't promise that, the
/// [self-test](crate::selftest) measures it.
///
/// The engine hands over requests sorted so that neighbors share their beginnings, and scores the whole
/// sequence of a start at once, whose every (prefix, suffix) split is then read from one answer. A backend that
/// keeps keys and values of a prefix may use both.
pub trait Backend {
    /// What the model is. Asked once, before anything else.
    ///
    /// # Errors
    ///
    /// If the model can't be reached.
    fn describe(&self) -> Result<ModelDescription, BackendError>;

    /// What it can do. The [self-test](crate::selftest) checks the claims.
    fn capabilities(&self) -> Capabilities;

    /// Log-probabilities of given tokens, each after all tokens before it.
    ///
    /// # Errors
    ///
    /// If an answer could not be had.
    fn score(&self, requests: &[ScoreRequest<'_>], wants: &Wants) -> Result<Vec<Scored>, BackendError>;

    /// Continuations of exactly the requested number of tokens.
    ///
    /// # Errors
    ///
    /// If an answer could not be had.
    fn generate(
        &self,
        requests: &[GenerateRequest<'_>],
        decoding: &Decoding,
    ) -> Result<Vec<Generated>, BackendError>;

    /// Its own tokenizer, where it can be asked for text: to [check](crate::tokens) that the ids of a corpus are the model's.
    fn tokenizer(&self) -> Option<&dyn TextTokenizer> {
        None
    }
}

/// A tokenizer that can be asked for text and ids.
pub trait TextTokenizer {
    /// The text of ids, special tokens included.
    ///
    /// # Errors
    ///
    /// [`BackendError::UnknownToken`] if an id is none of its own, [`BackendError::Unsupported`] if it turns out that it can't be asked.
    fn decode(&self, ids: &[u32]) -> Result<String, BackendError>;

    /// The ids of a text, with nothing put around it. Special tokens in it become their ids.
    ///
    /// # Errors
    ///
    /// [`BackendError::Unsupported`] if it turns out that it can't be asked.
    fn encode(&self, text: &str) -> Result<Vec<u32>, BackendError>;
}

/// What a model is, as in the run's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelDescription {
    /// Its name: the checkpoint folder's or the server's.
    pub name: String,
    /// What identifies it: a hash of its weights, or the server's own answer.
    pub fingerprint: String,
    /// The kind of backend, such as `fake`, `local`, `vllm`.
    pub backend: String,
    /// Number of token ids, where it is known.
    pub vocab_size: Option<u32>,
    /// Longest sequence in tokens, where it is known.
    pub context_length: Option<u64>,
    /// What each token attends to, if not to all tokens before it; then a sequence may be of any length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<BlockMemory>,
    /// The message around each prefix, if the model is asked in words. What it does not recite then it may know all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<PromptTemplate>,
}

/// A memory of blocks: what a token attends to in sequences longer than the model's context
/// ([InfLLM](https://arxiv.org/abs/2402.04617)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockMemory {
    /// The last tokens, its own included; at least 1.
    pub window: u32,
    /// How many blocks of the tokens before them are retrieved.
    pub blocks: u32,
    /// Tokens of a block; at least 1.
    pub block_tokens: u32,
    /// The first tokens of the sequence.
    pub init: u32,
}

impl Display for BlockMemory {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { window, blocks, block_tokens, init } = self;
        write!(
            f,
            "each token attends to the last {window}, to {blocks} blocks of {block_tokens} before them, and to the first {init}"
        )
    }
}

/// What a backend can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Capabilities {
    /// Scores given sequences, with the rank of each token.
    pub score: bool,
    /// Gives mean and variance of the log-probability over the vocabulary (for Min-K%++).
    pub moments: bool,
    /// Gives log-probabilities under a sampling scheme (for n(p)).
    pub schemes: bool,
    /// Continues prompts.
    pub generate: bool,
    /// Names the likeliest tokens under a sampling scheme.
    #[serde(default)]
    pub candidates: bool,
}

/// One sequence to score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScoreRequest<'a> {
    /// The tokens.
    pub ids: &'a [u32],
    /// The first position to answer for, at least 1: there is nothing before position 0.
    pub from: usize,
}

/// What is asked for besides log-probability and rank, for a whole batch.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Wants {
    /// Mean and variance over the vocabulary.
    pub moments: bool,
    /// Log-probability under this scheme.
    pub scheme: Option<SamplingScheme>,
    /// So many of the likeliest tokens that the scheme can draw, at each position.
    pub candidates: u32,
}

/// How tokens are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SamplingScheme {
    /// Divides the logits; above 0.
    pub temperature: f64,
    /// Only so many of the likeliest tokens can be drawn; all of them if absent.
    pub top_k: Option<u32>,
    /// Of these, only so many of the likeliest can be drawn as have this much of the probability together; all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
}

/// The answer to a [`ScoreRequest`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scored {
    /// One for each position from `from` to the end of the sequence.
    pub tokens: Vec<TokenScore>,
    /// At each position the likeliest tokens that the scheme can draw, the likeliest first, with their log-probabilities under it. Empty
    /// unless asked for.
    pub candidates: Vec<Vec<(u32, f64)>>,
    /// How many tokens the model saw, where the backend knows: more than were sent means that a BOS was added.
    pub evaluated: Option<u64>,
    /// The exchange with a server as it went over the wire, without secrets, where it is kept for evidence.
    pub exchange: Option<String>,
}

/// What the model thinks of one given token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenScore {
    /// Natural log of the token's probability.
    pub log_prob: f64,
    /// 1 for the token that greedy decoding takes. One more than the number of tokens with a larger logit, or with the same and
    /// a smaller id: of equals, greedy decoding takes the first. Of a server that names a few best tokens alone, one more than
    /// those of them that are better.
    pub rank: u32,
    /// The token that greedy decoding takes; `None` where a server doesn't give its id.
    pub greedy: Option<u32>,
    /// Log-probability of the likeliest token other than this one, where it is known. Within rounding of `log_prob`, the rank is
    /// a matter of chance.
    pub rival: Option<f64>,
    /// Moments of the log-probability over the vocabulary, if asked for.
    pub moments: Option<Moments>,
    /// Log-probability under the asked scheme, if any; minus infinity for a token that can't be drawn.
    pub scheme_log_prob: Option<f64>,
}

impl TokenScore {
    /// The score without what must be asked for.
    #[must_use]
    pub fn of(log_prob: f64, rank: u32, greedy: u32) -> Self {
        Self { log_prob, rank, greedy: Some(greedy), rival: None, moments: None, scheme_log_prob: None }
    }

    /// The score of `token` from the logits of the whole vocabulary.
    ///
    /// Sums are in `f64` and in the order of the ids, so that the same logits give the same bits. `None` if `token` has no logit, or
    /// a logit is not a number.
    #[must_use]
    pub fn from_logits(logits: &[f32], token: u32, wants: &Wants) -> Option<Self> {
        let own = *logits.get(token as usize)?;
        let (mut greedy, mut rank, mut rival) = (0usize, 1u32, f32::NEG_INFINITY);
        for (id, logit) in logits.iter().enumerate() {
            if logit.is_nan() {
                return None;
            }
            if *logit > logits[greedy] {
                greedy = id;
            }
            if id != token as usize {
                rank += u32::from(*logit > own || (*logit == own && id < token as usize));
                rival = rival.max(*logit);
            }
        }
        let highest = f64::from(logits[greedy]);
        let sum: f64 = logits.iter().map(|logit| (f64::from(*logit) - highest).exp()).sum();
        let normalizer = highest + sum.ln();
        Some(Self {
            log_prob: f64::from(own) - normalizer,
            rank,
            greedy: Some(greedy as u32),
            rival: (logits.len() > 1).then(|| f64::from(rival) - normalizer),
            moments: wants.moments.then(|| Moments::of(logits, normalizer)),
            scheme_log_prob: wants.scheme.map(|scheme| scheme.log_prob(logits, own, rank)),
        })
    }
}

/// Mean and variance of the log-probability of a token drawn from the model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// Sum of `p * ln p` over the vocabulary.
    pub mean: f64,
    /// Sum of `p * (ln p - mean)^2`.
    pub variance: f64,
}

impl Moments {
    fn of(logits: &[f32], normalizer: f64) -> Self {
        let weighted = |value: &dyn Fn(f64) -> f64| -> f64 {
            let terms = logits.iter().map(|logit| f64::from(*logit) - normalizer);
            // A token of no probability adds nothing, whatever its logarithm.
            terms.filter(|log_p| *log_p > f64::NEG_INFINITY).map(|log_p| log_p.exp() * value(log_p)).sum()
        };
        let mean = weighted(&|log_p| log_p);
        Self { mean, variance: weighted(&|log_p| (log_p - mean).powi(2)) }
    }
}

impl SamplingScheme {
    /// Checks that every number is in its range.
    ///
    /// # Errors
    ///
    /// If one isn't, with its name.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let Self { temperature, top_k, top_p } = *self;
        let fits = temperature.is_finite() && temperature > 0.0;
        OutOfRange::check("the temperature", temperature, fits, "above 0; 0 would be greedy decoding")?;
        let k = top_k.map_or(f64::INFINITY, f64::from);
        OutOfRange::check("top-k", k, k >= 1.0, "at least 1")?;
        let p = top_p.unwrap_or(1.0);
        OutOfRange::check("top-p", p, p > 0.0 && p <= 1.0, "above 0 and at most 1")
    }

    /// Log-probability of a token with logit `own` and rank `rank` among `logits`. Log-probabilities serve as well as logits, and of a
    /// server's answer the `top_k` best suffice.
    #[must_use]
    pub fn log_prob(&self, logits: &[f32], own: f32, rank: u32) -> f64 {
        let mut kept = logits.to_vec();
        if let Some(k) = self.top_k {
            if rank > k {
                return f64::NEG_INFINITY;
            }
            if (k as usize) < kept.len() {
                kept.select_nth_unstable_by(k as usize - 1, |a, b| b.total_cmp(a));
                kept.truncate(k as usize);
                kept.sort_by(|a, b| b.total_cmp(a));
            }
        }
        if self.top_p.is_some() {
            kept.sort_by(|a, b| b.total_cmp(a));
            kept.truncate(self.nucleus(&kept));
            if rank as usize > kept.len() {
                return f64::NEG_INFINITY;
            }
        }
        let scaled = |logit: f32| f64::from(logit) / self.temperature;
        let highest = kept.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = kept.iter().map(|logit| (scaled(*logit) - scaled(highest)).exp()).sum();
        scaled(own) - scaled(highest) - sum.ln()
    }

    /// The tokens that can be drawn, by their ids.
    #[must_use]
    pub fn drawable(&self, logits: &[f32]) -> Vec<u32> {
        let mut kept: Vec<u32> = (0..logits.len() as u32).collect();
        if let Some(k) = self.top_k.map(|k| k.max(1) as usize).filter(|k| *k < kept.len()) {
            kept.select_nth_unstable_by(k - 1, likelier(logits));
            kept.truncate(k);
        }
        if self.top_p.is_some() {
            kept.sort_unstable_by(likelier(logits));
            let descending: Vec<f32> = kept.iter().map(|id| logits[*id as usize]).collect();
            kept.truncate(self.nucleus(&descending));
        }
        kept.sort_unstable();
        kept
    }

    /// The likeliest tokens that can be drawn, at most so many, with their log-probabilities.
    #[must_use]
    pub fn candidates(&self, logits: &[f32], most: usize) -> Vec<(u32, f64)> {
        let mut kept = self.drawable(logits);
        let (logit, likelier) = (|id: u32| logits[id as usize], likelier(logits));
        let highest = kept.iter().map(|id| logit(*id)).fold(f32::NEG_INFINITY, f32::max);
        let scaled = |logit: f32| (f64::from(logit) - f64::from(highest)) / self.temperature;
        let normalizer = kept.iter().map(|id| scaled(logit(*id)).exp()).sum::<f64>().ln();
        if most < kept.len() {
            kept.select_nth_unstable_by(most, &likelier);
            kept.truncate(most);
        }
        kept.sort_unstable_by(likelier);
        kept.into_iter().map(|id| (id, scaled(logit(id)) - normalizer)).collect()
    }

    /// How many of some logits, the highest first, are needed until they have `top_p` of the probability of all of them; at least one.
    #[must_use]
    pub fn nucleus(&self, descending: &[f32]) -> usize {
        let (Some(top_p), Some(highest)) = (self.top_p, descending.first()) else { return descending.len() };
        let weight = |logit: f32| ((f64::from(logit) - f64::from(*highest)) / self.temperature).exp();
        let needed = top_p * descending.iter().map(|logit| weight(*logit)).sum::<f64>();
        let mut sum = 0.0;
        let enough = descending.iter().position(|logit| {
            sum += weight(*logit);
            sum >= needed
        });
        enough.map_or(descending.len(), |last| last + 1)
    }
}

/// The order of ids by their logits, the highest first, and of equals the smallest id.
fn likelier(logits: &[f32]) -> impl Fn(&u32, &u32) -> Ordering + '_ {
    let logit = |id: u32| logits[id as usize];
    move |a, b| logit(*b).total_cmp(&logit(*a)).then(a.cmp(b))
}

/// One prompt to continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerateRequest<'a> {
    /// The tokens.
    pub prompt: &'a [u32],
    /// How many tokens to add; exactly so many come back, whatever they are.
    pub tokens: usize,
}

/// How continuations are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decoding {
    /// The likeliest token at each position; of equals the one with the smallest id.
    Greedy,
    /// Drawn from a scheme. Request `i` is drawn from stream `first + i` of the seed.
    Sampled {
        /// How tokens are drawn.
        scheme: SamplingScheme,
        /// Seed of the draws.
        seed: u64,
        /// The stream of the first request.
        first: u64,
    },
}

/// The answer to a [`GenerateRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Generated {
    /// The tokens after the prompt. Fewer than were asked for only with a [caveat](Caveat::allows_fewer).
    pub ids: Vec<u32>,
    /// In what the answer is less than what was asked for, where a server can't do better.
    pub caveats: Vec<Caveat>,
    /// How many tokens of prompt the model saw, where the backend knows it.
    pub evaluated: Option<u64>,
    /// The exchange with a server as it went over the wire, without secrets, where it is kept for evidence.
    pub exchange: Option<String>,
}

/// What a server that takes and gives text alone can't promise for a continuation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caveat {
    /// The prompt's last tokens don't survive as text: it was cut before them, and the model had to make them too.
    CutMoved,
    /// The prompt has no cut at which its tokens survive as text: the model saw other tokens.
    PromptChanged,
    /// The text doesn't tokenize to the prompt's tokens and more: the continuation was tokenized on its own.
    Reencoded,
    /// The model ended the text before the last token that was asked for.
    EndedEarly,
    /// The answer to a message began with the end of the prompt, which was taken off.
    PrefixRepeated,
    /// The server says that the model refused to answer, or that it filtered the answer.
    Refused,
}

impl Caveat {
    /// Its name in a run's files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CutMoved => "cut_moved",
            Self::PromptChanged => "prompt_changed",
            Self::Reencoded => "reencoded",
            Self::EndedEarly => "ended_early",
            Self::PrefixRepeated => "prefix_repeated",
            Self::Refused => "refused",
        }
    }

    /// Whether fewer tokens than were asked for may come with it.
    #[must_use]
    pub fn allows_fewer(self) -> bool {
        matches!(self, Self::Reencoded | Self::EndedEarly | Self::PrefixRepeated | Self::Refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Probabilities 1/2, 1/4, 1/8, 1/8.
    fn logits() -> [f32; 4] {
        [3.0, 2.0, 1.0, 1.0].map(|bits: f32| bits * std::f32::consts::LN_2)
    }

    #[test]
    fn by_hand() {
        let ln2 = std::f64::consts::LN_2;
        let wants = Wants {
            moments: true,
            scheme: Some(SamplingScheme { temperature: 1.0, top_k: Some(2), top_p: None }),
            candidates: 0,
        };
        let score = |token| TokenScore::from_logits(&logits(), token, &wants).unwrap();
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} {b}");
        near(score(1).log_prob, -2.0 * ln2);
        near(score(1).rival.unwrap(), -ln2);
        near(score(0).rival.unwrap(), -2.0 * ln2);
        assert_eq!(
            [0, 1, 2, 3].map(|token| score(token).rank),
            [1, 2, 3, 4],
            "of equals the first comes first"
        );
        assert_eq!(score(3).greedy, Some(0));
        // Mean -(1/2 + 2/4 + 3/8 + 3/8) ln 2 = -1.75 ln 2; second moment (1/2 + 4/4 + 9/8 + 9/8) = 3.75.
        let moments = score(0).moments.unwrap();
        near(moments.mean, -1.75 * ln2);
        near(moments.variance, (3.75 - 1.75 * 1.75) * ln2 * ln2);
        near(score(0).scheme_log_prob.unwrap(), (2.0f64 / 3.0).ln());
        near(score(1).scheme_log_prob.unwrap(), (1.0f64 / 3.0).ln());
        assert_eq!(score(2).scheme_log_prob, Some(f64::NEG_INFINITY));
    }

    #[test]
    fn schemes() {
        let ln_p = |temperature, top_k, token: u32| {
            let wants = Wants {
                moments: false,
                scheme: Some(SamplingScheme { temperature, top_k, top_p: None }),
                candidates: 0,
            };
            TokenScore::from_logits(&logits(), token, &wants).unwrap().scheme_log_prob.unwrap()
        };
        // Squared probabilities 16, 4, 1, 1 of 22; square roots of the first two: 1 and 1/sqrt 2.
        assert!((ln_p(0.5, None, 0) - (16.0f64 / 22.0).ln()).abs() < 1e-6);
        assert!((ln_p(2.0, Some(2), 0) + (1.0 + 0.5f64.sqrt()).ln()).abs() < 1e-6);
        assert_eq!(ln_p(1.0, Some(1), 0), 0.0);
        // Of the two equal tokens, the one with the smaller id is the third.
        assert!(ln_p(1.0, Some(3), 2).is_finite());
        assert_eq!(ln_p(1.0, Some(3), 3), f64::NEG_INFINITY);
    }

    #[test]
    fn nuclei() {
        let ln_p = |temperature, top_k, top_p, token: u32| {
            let scheme = SamplingScheme { temperature, top_k, top_p: Some(top_p) };
            let wants = Wants { moments: false, scheme: Some(scheme), candidates: 0 };
            TokenScore::from_logits(&logits(), token, &wants).unwrap().scheme_log_prob.unwrap()
        };
        let near = |a: f64, b: f64| assert!((a - b.ln()).abs() < 1e-6, "{a} {b}");
        // 1/2 is not enough for 0.6, 1/2 and 1/4 are.
        near(ln_p(1.0, None, 0.6, 0), 2.0 / 3.0);
        near(ln_p(1.0, None, 0.6, 1), 1.0 / 3.0);
        assert_eq!(ln_p(1.0, None, 0.6, 2), f64::NEG_INFINITY);
        assert_eq!(ln_p(1.0, None, 0.3, 0), 0.0);
        near(ln_p(1.0, None, 1.0, 3), 1.0 / 8.0);
        // Of the two equal tokens, the one with the smaller id is in.
        near(ln_p(1.0, None, 0.8, 2), 1.0 / 7.0);
        assert_eq!(ln_p(1.0, None, 0.8, 3), f64::NEG_INFINITY);
        // Of the two that top-k leaves, the first has 2/3.
        assert_eq!(ln_p(1.0, Some(2), 0.65, 0), 0.0);
        // At temperature 1/2 it has 16/22 of all.
        assert_eq!(ln_p(0.5, None, 0.7, 0), 0.0);
    }

    #[test]
    fn schemes_that_draw_nothing_are_refused() {
        let fits = |temperature, top_k, top_p| SamplingScheme { temperature, top_k, top_p }.check().is_ok();
        assert!(fits(0.7, None, None) && fits(1.0, Some(1), Some(1.0)));
        for temperature in [0.0, -1.0, f64::INFINITY, f64::NAN] {
            assert!(!fits(temperature, None, None), "{temperature}");
        }
        assert!(!fits(1.0, Some(0), None));
        for p in [0.0, 1.5, f64::NAN] {
            assert!(!fits(1.0, None, Some(p)), "{p}");
        }
    }

    #[test]
    fn candidates_are_the_tokens_that_can_be_drawn() {
        for (temperature, top_k, top_p) in
            [(1.0, None, None), (0.5, Some(3), None), (2.0, None, Some(0.6)), (1.0, Some(3), Some(0.8))]
        {
            let scheme = SamplingScheme { temperature, top_k, top_p };
            let wants = Wants { scheme: Some(scheme), ..Wants::default() };
            let one = |id| TokenScore::from_logits(&logits(), id, &wants).unwrap().scheme_log_prob.unwrap();
            let drawable: Vec<u32> = (0..4).filter(|id| one(*id).is_finite()).collect();
            let found = scheme.candidates(&logits(), 9);
            assert_eq!(found.iter().map(|(id, _)| *id).collect::<Vec<_>>(), drawable);
            assert!(found.iter().all(|(id, log_prob)| (log_prob - one(*id)).abs() < 1e-12));
            assert_eq!(scheme.candidates(&logits(), 1), found[..1]);
        }
    }

    #[test]
    fn logits_that_are_none() {
        assert_eq!(TokenScore::from_logits(&[0.0, f32::NAN], 0, &Wants::default()), None);
        assert_eq!(TokenScore::from_logits(&[0.0], 1, &Wants::default()), None);
        let barred = TokenScore::from_logits(
            &[0.0, f32::NEG_INFINITY],
            0,
            &Wants { moments: true, scheme: None, candidates: 0 },
        );
        assert_eq!(barred.unwrap().moments, Some(Moments { mean: 0.0, variance: 0.0 }));
    }
}
