//! Whether a backend does what it says, measured before any probe is spent on it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backend::{
    Backend, Capabilities, Decoding, GenerateRequest, Generated, SamplingScheme, ScoreRequest, Scored, Wants,
};
use crate::error::AuditError;
use crate::options::Decide;

/// Log-probabilities of one sequence that differ by more than this, in nats, are not the same.
pub const TOLERANCE: f64 = 1e-3;

/// What is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckName {
    /// Every token id of the probes is one of the model's.
    Vocabulary,
    /// The longest probe fits the model's context.
    ContextLength,
    /// Scoring gives one answer for each position asked for.
    ScoreCount,
    /// Log-probabilities are none above 0, and the rank is 1 just where the token is the greedy one.
    ScoresMakeSense,
    /// Moments and scheme log-probabilities come where the backend says so.
    AskedValuesGiven,
    /// Nothing is put before the tokens that were sent.
    NoBosAdded,
    /// The scores of a sequence don't depend on what follows: one pass serves every split.
    OnePassServesAllSplits,
    /// A continuation has the length asked for, also past an end-of-sequence token.
    EosSuppressed,
    /// Scoring a continuation finds it greedy: ids mean the same in both directions.
    IdsRoundTrip,
    /// The same request gives the same answer.
    Repeatable,
    /// An answer doesn't depend on what else is in the batch.
    BatchInvariant,
    /// The loss on the audited text is one that a language model of that vocabulary can have.
    PlausibleLoss,
}

/// How a check ended, from the mildest to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing to test, or the backend doesn't report it.
    Skipped,
    /// As it should be.
    Passed,
    /// Not as it should be; results hold within what the detail says.
    Flagged,
    /// So that this way of asking can't be used.
    Failed,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What was tested.
    pub name: CheckName,
    /// How it ended.
    pub outcome: Outcome,
    /// What was seen, in words.
    pub detail: String,
    /// Largest difference in nats, where one was measured.
    pub measured: Option<f64>,
}

/// What a self-test found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SelfTest {
    /// What the backend says that it can do, less what it turned out not to.
    pub capabilities: Capabilities,
    /// The checks in order.
    pub checks: Vec<Check>,
}

/// What to test with.
#[derive(Debug, Clone, Copy)]
pub struct SelfTestOptions {
    /// The token put before every sequence, if any.
    pub bos: Option<u32>,
    /// The end-of-sequence token, where it is known.
    pub eos: Option<u32>,
    /// The scheme that will be asked for, if any.
    pub scheme: Option<SamplingScheme>,
    /// Whether the audit asks for continuations. If not, they are tested only where scores can't decide.
    pub continuations: bool,
}

/// Tests a backend with some token sequences of the audit, two at least of different lengths being best.
///
/// # Errors
///
/// If the backend doesn't answer at all. What it does wrong is in the [`SelfTest`].
pub fn self_test(
    backend: &dyn Backend,
    sequences: &[&[u32]],
    options: &SelfTestOptions,
) -> Result<SelfTest, AuditError> {
    let model = backend.describe()?;
    let capabilities = backend.capabilities();
    let sequences: Vec<Vec<u32>> =
        sequences.iter().map(|ids| options.bos.iter().chain(*ids).copied().collect()).collect();
    let mut test = Tester {
        backend,
        result: SelfTest { capabilities, checks: Vec::new() },
        sequences,
        wants: Wants {
            moments: capabilities.moments,
            scheme: options.scheme.filter(|_| capabilities.schemes),
            candidates: 0,
        },
    };
    let largest = test.sequences.iter().flatten().max().copied().unwrap_or(0);
    let known = model.vocab_size.is_none_or(|size| largest < size);
    match model.vocab_size {
        None => test.skip(CheckName::Vocabulary, "the backend doesn't report its number of token ids"),
        Some(size) => {
            let detail = format!("largest id {largest}, the model has {size}");
            test.note(CheckName::Vocabulary, known, Outcome::Failed, detail, None);
        }
    }
    let longest = test.sequences.iter().map(Vec::len).max().unwrap_or(0) as u64;
    let fits = model.context_length.is_none_or(|context| longest <= context);
    let context = model.context_length.map_or("unknown".into(), |context| format!("{context} tokens"));
    let detail = format!("longest sequence {longest} tokens, context {context}");
    test.note(CheckName::ContextLength, fits, Outcome::Failed, detail, None);
    if known && fits && longest >= 2 {
        test.sequences.retain(|ids| ids.len() >= 2);
        test.scoring()?;
        if options.continuations || !test.result.scores_decide() {
            test.generating(options.eos.filter(|eos| model.vocab_size.is_none_or(|size| *eos < size)))?;
        } else {
            test.skip(CheckName::EosSuppressed, "no continuations will be asked for");
        }
    }
    Ok(test.result)
}

impl SelfTest {
    /// How one check ended, the worse if it was made for scores and for continuations; skipped if it wasn't made.
    #[must_use]
    pub fn outcome(&self, name: CheckName) -> Outcome {
        let outcomes = self.checks.iter().filter(|check| check.name == name).map(|check| check.outcome);
        outcomes.max().unwrap_or(Outcome::Skipped)
    }

    /// How the audit can be made with this backend.
    ///
    /// # Errors
    ///
    /// If it can't, with the failed checks and their details.
    pub fn verdict(&self, backend: &str) -> Result<Decide, AuditError> {
        use CheckName::*;
        if self.sound(&[Vocabulary, ContextLength, PlausibleLoss]) {
            if self.scores_decide() {
                return Ok(Decide::Score);
            }
            if self.capabilities.generate && self.sound(&[NoBosAdded, EosSuppressed]) {
                return Ok(Decide::Generate);
            }
        }
        let failed = self.checks.iter().filter(|check| check.outcome == Outcome::Failed);
        let mut reasons: Vec<String> = failed.map(|check| check.detail.clone()).collect();
        if !self.capabilities.score && !self.capabilities.generate {
            reasons.push("it neither scores nor continues".into());
        }
        Err(AuditError::Unfit { backend: backend.into(), reason: reasons.join("; ") })
    }

    fn sound(&self, names: &[CheckName]) -> bool {
        names.iter().all(|name| self.outcome(*name) != Outcome::Failed)
    }

    /// Whether scores alone can decide, as far as was tested.
    fn scores_decide(&self) -> bool {
        use CheckName::*;
        let needed = [ScoreCount, ScoresMakeSense, NoBosAdded, OnePassServesAllSplits, IdsRoundTrip];
        self.capabilities.score && self.sound(&needed)
    }

    /// Notes about the backend, for reports.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let odd = |check: &&Check| matches!(check.outcome, Outcome::Flagged | Outcome::Failed);
        self.checks.iter().filter(odd).map(|check| check.detail.clone()).collect()
    }
}

/// What is said of repetition where nothing was asked for again.
fn not_again() -> String {
    "not asked again: alone and together gave the same answers".into()
}

struct Tester<'a> {
    backend: &'a dyn Backend,
    result: SelfTest,
    sequences: Vec<Vec<u32>>,
    wants: Wants,
}

impl Tester<'_> {
    fn note(&mut self, name: CheckName, good: bool, bad: Outcome, detail: String, measured: Option<f64>) {
        let outcome = if good { Outcome::Passed } else { bad };
        self.result.checks.push(Check { name, outcome, detail, measured });
    }

    fn skip(&mut self, name: CheckName, detail: &str) {
        self.result.checks.push(Check {
            name,
            outcome: Outcome::Skipped,
            detail: detail.into(),
            measured: None,
        });
    }

    fn score(&self, sequences: &[&[u32]]) -> Result<Vec<Scored>, AuditError> {
        let requests: Vec<_> = sequences.iter().map(|ids| ScoreRequest { ids, from: 1 }).collect();
        Ok(self.backend.score(&requests, &self.wants)?)
    }

    fn scoring(&mut self) -> Result<(), AuditError> {
        use CheckName::*;
        if !self.result.capabilities.score {
            let detail = "the backend doesn't score given sequences; continuations decide instead".into();
            self.note(ScoreCount, false, Outcome::Flagged, detail, None);
            return Ok(());
        }
        let sequences = self.sequences.clone();
        let all: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
        let together = self.score(&all)?;
        let wrong = |(scored, ids): &(&Scored, &&[u32])| scored.tokens.len() + 1 != ids.len();
        let counted = together.len() == all.len() && !together.iter().zip(&all).any(|pair| wrong(&pair));
        let answers: usize = together.iter().map(|scored| scored.tokens.len()).sum();
        let asked: usize = all.iter().map(|ids| ids.len() - 1).sum();
        let detail = format!("{answers} scores came for {asked} positions");
        self.note(ScoreCount, counted, Outcome::Failed, detail, None);
        self.bos_added(together.iter().map(|scored| scored.evaluated), &all);
        if !counted {
            return Ok(());
        }
        self.sense(&together, &all);
        self.asked_values(&together);
        let alone = all
            .iter()
            .map(|ids| Ok(self.score(&[ids])?.remove(0)))
            .collect::<Result<Vec<_>, AuditError>>()?;
        let batched = largest_difference(&together, &alone);
        // Where being alone changes nothing, asking again would change nothing either.
        let repeated = match batched {
            0.0 => None,
            _ => Some(largest_difference(&together, &self.score(&all)?)),
        };
        let detail = repeated.map_or_else(not_again, |repeated| {
            format!("the same request twice: log-probabilities differ by up to {repeated:.1e} nats")
        });
        let noise = repeated.unwrap_or(0.0);
        self.note(Repeatable, noise == 0.0, Outcome::Flagged, detail, repeated);
        let detail = format!("alone and in a batch: log-probabilities differ by up to {batched:.1e} nats");
        self.note(BatchInvariant, batched == 0.0, Outcome::Flagged, detail, Some(batched));
        let halves: Vec<&[u32]> = all.iter().map(|ids| &ids[..ids.len().div_ceil(2).max(2)]).collect();
        let halves = self.score(&halves)?;
        let split = largest_difference(&halves, &together);
        let allowed = TOLERANCE + batched + noise;
        let detail =
            format!("with and without what follows: log-probabilities differ by up to {split:.1e} nats");
        self.note(OnePassServesAllSplits, split <= allowed, Outcome::Failed, detail, Some(split));
        Ok(())
    }

    fn bos_added(&mut self, evaluated: impl Iterator<Item = Option<u64>>, sent: &[&[u32]]) {
        let (mut reported, mut detail) = (false, "as many tokens were evaluated as were sent".to_owned());
        let mut good = true;
        for (evaluated, ids) in evaluated.zip(sent) {
            let Some(evaluated) = evaluated else { continue };
            reported = true;
            if good && evaluated != ids.len() as u64 {
                good = false;
                detail = format!(
                    "{} tokens were sent, but {evaluated} evaluated: a BOS is added or the prompt is cut; switch that off at the server",
                    ids.len()
                );
            }
        }
        if self.result.outcome(CheckName::NoBosAdded) == Outcome::Failed {
            return;
        }
        if reported {
            self.note(CheckName::NoBosAdded, good, Outcome::Failed, detail, None);
        } else {
            self.skip(CheckName::NoBosAdded, "the backend doesn't report how many tokens it evaluated");
        }
    }

    fn sense(&mut self, scored: &[Scored], sent: &[&[u32]]) {
        let mut odd = None;
        for (scored, ids) in scored.iter().zip(sent) {
            for (token, id) in scored.tokens.iter().zip(&ids[1..]) {
                let possible = token.log_prob <= 1e-6 && token.rank >= 1;
                let fits = token.greedy.is_none_or(|greedy| (token.rank == 1) == (greedy == *id));
                if !possible || !fits {
                    odd = odd.or(Some((*id, *token)));
                }
            }
        }
        let detail = match odd {
            None => "log-probabilities and ranks fit each other".to_owned(),
            Some((id, token)) => format!(
                "token {id} has log-probability {}, rank {} and the greedy token is {}, which can't be",
                token.log_prob,
                token.rank,
                token.greedy.map_or("unknown".into(), |greedy| greedy.to_string())
            ),
        };
        self.note(CheckName::ScoresMakeSense, odd.is_none(), Outcome::Failed, detail, None);
    }

    fn asked_values(&mut self, scored: &[Scored]) {
        let tokens = || scored.iter().flat_map(|scored| &scored.tokens);
        let moments = !self.wants.moments || tokens().all(|token| token.moments.is_some());
        let schemes = self.wants.scheme.is_none() || tokens().all(|token| token.scheme_log_prob.is_some());
        let capabilities = &mut self.result.capabilities;
        capabilities.moments &= moments;
        capabilities.schemes &= schemes;
        let missing = [(moments, "moments"), (schemes, "log-probabilities under the sampling scheme")];
        let missing: Vec<_> = missing.iter().filter(|(given, _)| !given).map(|(_, name)| *name).collect();
        let detail = if missing.is_empty() {
            "everything asked for came".to_owned()
        } else {
            format!("{} did not come; scores that need them are left out", missing.join(" and "))
        };
        self.note(CheckName::AskedValuesGiven, missing.is_empty(), Outcome::Flagged, detail, None);
    }

    fn generate(&self, prompts: &[&[u32]], tokens: usize) -> Result<Vec<Generated>, AuditError> {
        let requests: Vec<_> = prompts.iter().map(|prompt| GenerateRequest { prompt, tokens }).collect();
        Ok(self.backend.generate(&requests, &Decoding::Greedy)?)
    }

    fn generating(&mut self, eos: Option<u32>) -> Result<(), AuditError> {
        use CheckName::*;
        const TOKENS: usize = 32;
        if !self.result.capabilities.generate {
            self.skip(
                EosSuppressed,
                "the backend doesn't continue prompts; scores that need it are left out",
            );
            return Ok(());
        }
        let mut prompts: Vec<Vec<u32>> =
            self.sequences.iter().map(|ids| ids[..ids.len().div_ceil(2)].to_vec()).collect();
        // After an end of sequence a model is most inclined to end again.
        prompts.extend(eos.and_then(|eos| Some([prompts.first()?.as_slice(), &[eos]].concat())));
        let all: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let together = self.generate(&all, TOKENS)?;
        let short = together.iter().find(|generated| generated.ids.len() != TOKENS);
        let reported = |generated: &Generated| generated.caveats.iter().any(|caveat| caveat.allows_fewer());
        let bad = if together.iter().all(|generated| generated.ids.len() == TOKENS || reported(generated)) {
            Outcome::Flagged
        } else {
            Outcome::Failed
        };
        let detail = match short {
            None if together.len() == all.len() => {
                format!("continuations have the {TOKENS} tokens asked for")
            }
            None => format!("{} continuations came for {} prompts", together.len(), all.len()),
            Some(short) => format!(
                "a continuation has {} tokens instead of {TOKENS}: {}",
                short.ids.len(),
                match self.backend.describe()?.template {
                    None => "it stops at the end of sequence; make the server ignore it",
                    Some(_) => "the model ended its answer",
                }
            ),
        };
        let whole = short.is_none() && together.len() == all.len();
        let bad = if together.len() == all.len() { bad } else { Outcome::Failed };
        self.note(EosSuppressed, whole, bad, detail, None);
        self.bos_added(together.iter().map(|generated| generated.evaluated), &all);
        let other =
            |a: &[Generated], b: &[Generated]| a.iter().zip(b).filter(|(a, b)| a.ids != b.ids).count();
        let alone = all.iter().map(|prompt| Ok(self.generate(&[prompt], TOKENS)?.remove(0)));
        let batched = other(&together, &alone.collect::<Result<Vec<_>, AuditError>>()?);
        let repeated = match batched {
            0 => None,
            _ => Some(other(&together, &self.generate(&all, TOKENS)?)),
        };
        let detail = repeated.map_or_else(not_again, |repeated| {
            format!("of {} continuations, {repeated} differed when asked for again", all.len())
        });
        self.note(Repeatable, repeated.is_none_or(|repeated| repeated == 0), Outcome::Flagged, detail, None);
        let detail = format!("of {} continuations, {batched} differed when asked for alone", all.len());
        self.note(BatchInvariant, batched == 0, Outcome::Flagged, detail, None);
        if self.result.capabilities.score && whole {
            self.round_trip(&all, &together)?;
        }
        Ok(())
    }

    /// Scores continuations: all must be greedy, but where two tokens are as good as equal.
    fn round_trip(&mut self, prompts: &[&[u32]], continued: &[Generated]) -> Result<(), AuditError> {
        let whole: Vec<Vec<u32>> = prompts
            .iter()
            .zip(continued)
            .map(|(prompt, generated)| [prompt, &*generated.ids].concat())
            .collect();
        let requests: Vec<_> =
            whole.iter().zip(prompts).map(|(ids, prompt)| ScoreRequest { ids, from: prompt.len() }).collect();
        let scored = self.backend.score(&requests, &Wants::default())?;
        let tokens = || scored.iter().flat_map(|scored| &scored.tokens);
        let tied = |token: &crate::backend::TokenScore| {
            token.rival.is_some_and(|rival| (rival - token.log_prob).abs() <= TOLERANCE)
        };
        let total = tokens().count();
        let other = tokens().filter(|token| token.rank != 1 && !tied(token)).count();
        let detail =
            format!("{} of {total} tokens of greedy continuations have rank 1 when scored", total - other);
        self.note(CheckName::IdsRoundTrip, other == 0, Outcome::Failed, detail, None);
        Ok(())
    }
}

/// Largest difference of log-probabilities over the positions that both answers have.
fn largest_difference(a: &[Scored], b: &[Scored]) -> f64 {
    let pairs = a.iter().zip(b).flat_map(|(a, b)| a.tokens.iter().zip(&b.tokens));
    let difference = |a: f64, b: f64| if a == b { 0.0 } else { (a - b).abs() };
    pairs.map(|(a, b)| difference(a.log_prob, b.log_prob)).fold(0.0, f64::max)
}
