//! A model whose probabilities can be computed by hand, for tests without a model.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use rand_mt::Mt64;

use crate::backend::{
    Backend, BackendError, Capabilities, Decoding, GenerateRequest, Generated, ModelDescription,
    ScoreRequest, Scored, TokenScore, Wants,
};

type Logits = dyn Fn(&[u32]) -> Vec<f32> + Send + Sync;

/// A backend that is a function from the tokens so far to the logits of the next one.
pub struct FakeModel {
    logits: Box<Logits>,
    vocab_size: u32,
    description: ModelDescription,
    capabilities: Capabilities,
    faults: Faults,
    calls: AtomicU64,
    scored: AtomicU64,
    prompted: AtomicU64,
    generated: AtomicU64,
}

/// What a fake model does wrong on command, as real servers do.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Puts this token before every sequence, and says in `evaluated` that it saw one more.
    pub adds: Option<u32>,
    /// Ends a continuation at this token.
    pub stops_at: Option<u32>,
    /// Leaves out the last token's score.
    pub loses_last: bool,
    /// Adds this to the log-probabilities of every second call.
    pub drifts: f64,
    /// Adds this to the log-probabilities of a batch of more than one.
    pub batch_drifts: f64,
    /// Scores are those of this many ids further on, as if ids meant something else.
    pub shifts_ids: u32,
    /// Fails from this call on, counted from 0.
    pub fails_at: Option<u64>,
}

/// What a fake model was asked for, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Calls of either kind.
    pub calls: u64,
    /// Tokens of sequences to score.
    pub scored: u64,
    /// Tokens of prompts.
    pub prompted: u64,
    /// Tokens of continuations.
    pub generated: u64,
}

impl FakeModel {
    /// A model with as many token ids as `logits` gives values, which must be `vocab_size` every time.
    #[must_use]
    pub fn new(vocab_size: u32, logits: impl Fn(&[u32]) -> Vec<f32> + Send + Sync + 'static) -> Self {
        let description = ModelDescription {
            name: "fake".into(),
            fingerprint: "fake".into(),
            backend: "fake".into(),
            vocab_size: Some(vocab_size),
            context_length: None,
            memory: None,
            template: None,
        };
        Self {
            logits: Box::new(logits),
            vocab_size,
            description,
            capabilities: Capabilities {
                score: true,
                moments: true,
                schemes: true,
                generate: true,
                candidates: true,
            },
            faults: Faults::default(),
            calls: AtomicU64::new(0),
            scored: AtomicU64::new(0),
            prompted: AtomicU64::new(0),
            generated: AtomicU64::new(0),
        }
    }

    /// A model that recites passages: after any `context` tokens that occur in one, the next token of the (first) passage has
    /// logit `sure`, all others 0. Elsewhere the token `(7 * last + 3) mod vocab_size` has logit ln 2, all others 0.
    #[must_use]
    pub fn reciting(vocab_size: u32, passages: &[Vec<u32>], context: usize, sure: f32) -> Self {
        let mut next: HashMap<Vec<u32>, u32> = HashMap::new();
        for window in passages.iter().flat_map(|passage| passage.windows(context + 1)) {
            next.entry(window[..context].to_vec()).or_insert(window[context]);
        }
        Self::new(vocab_size, move |tokens| {
            let mut logits = vec![0.0; vocab_size as usize];
            let known = tokens.len().checked_sub(context).and_then(|start| next.get(&tokens[start..]));
            let (token, logit) = match known {
                Some(token) => (*token, sure),
                None => {
                    let last = tokens.last().copied().unwrap_or(0);
                    ((last.wrapping_mul(7) + 3) % vocab_size, std::f32::consts::LN_2)
                }
            };
            if let Some(place) = logits.get_mut(token as usize) {
                *place = logit;
            }
            logits
        })
    }

    /// The same model with other capabilities.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// The same model with faults.
    #[must_use]
    pub fn with_faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// The logits after some tokens.
    #[must_use]
    pub fn logits(&self, tokens: &[u32]) -> Vec<f32> {
        (self.logits)(tokens)
    }

    /// What it was asked for so far.
    #[must_use]
    pub fn asked(&self) -> Asked {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Asked {
            calls: get(&self.calls),
            scored: get(&self.scored),
            prompted: get(&self.prompted),
            generated: get(&self.generated),
        }
    }

    fn call(&self) -> Result<u64, BackendError> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        match self.faults.fails_at {
            Some(at) if number >= at => Err(BackendError::Failed {
                backend: "fake".into(),
                reason: format!("scripted to fail at call {at}"),
                retry_after: None,
            }),
            _ => Ok(number),
        }
    }

    /// The sequence as the model sees it, and how many tokens it sees.
    fn seen(&self, ids: &[u32]) -> Result<Vec<u32>, BackendError> {
        let vocab_size = self.vocab_size;
        if let Some(id) = ids.iter().find(|id| **id >= vocab_size) {
            return Err(BackendError::UnknownToken { backend: "fake".into(), id: *id, vocab_size });
        }
        Ok(self.faults.adds.iter().chain(ids).copied().collect())
    }

    fn cannot(&self, what: &str) -> BackendError {
        BackendError::Unsupported {
            backend: "fake".into(),
            what: what.into(),
            advice: "ask for what its capabilities name".into(),
        }
    }
}

impl Backend for FakeModel {
    fn describe(&self) -> Result<ModelDescription, BackendError> {
        Ok(self.description.clone())
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn score(&self, requests: &[ScoreRequest<'_>], wants: &Wants) -> Result<Vec<Scored>, BackendError> {
        let number = self.call()?;
        if !self.capabilities.score {
            return Err(self.cannot("score given sequences"));
        }
        let wants = Wants {
            moments: wants.moments && self.capabilities.moments,
            scheme: wants.scheme.filter(|_| self.capabilities.schemes),
            candidates: if self.capabilities.candidates { wants.candidates } else { 0 },
        };
        let mut drift = if number % 2 == 1 { self.faults.drifts } else { 0.0 };
        if requests.len() > 1 {
            drift += self.faults.batch_drifts;
        }
        let score = |request: &ScoreRequest<'_>| {
            self.scored.fetch_add(request.ids.len() as u64, Ordering::Relaxed);
            let ids = self.seen(request.ids)?;
            let first = request.from + ids.len() - request.ids.len();
            let (mut tokens, mut candidates) = (Vec::new(), Vec::new());
            for position in first..ids.len() {
                let token = (ids[position] + self.faults.shifts_ids) % self.vocab_size;
                let logits = (self.logits)(&ids[..position]);
                let score = TokenScore::from_logits(&logits, token, &wants);
                let score = score.ok_or_else(|| self.cannot("make logits for its vocabulary"))?;
                tokens.push(TokenScore { log_prob: score.log_prob + drift, ..score });
                if let Some(scheme) = wants.scheme.filter(|_| wants.candidates > 0) {
                    candidates.push(scheme.candidates(&logits, wants.candidates as usize));
                }
            }
            if self.faults.loses_last {
                tokens.pop();
            }
            Ok(Scored { tokens, candidates, evaluated: Some(ids.len() as u64), exchange: None })
        };
        requests.iter().map(score).collect()
    }

    fn generate(
        &self,
        requests: &[GenerateRequest<'_>],
        decoding: &Decoding,
    ) -> Result<Vec<Generated>, BackendError> {
        self.call()?;
        if !self.capabilities.generate {
            return Err(self.cannot("continue prompts"));
        }
        let continued = |(number, request): (usize, &GenerateRequest<'_>)| {
            self.prompted.fetch_add(request.prompt.len() as u64, Ordering::Relaxed);
            let mut ids = self.seen(request.prompt)?;
            let evaluated = ids.len();
            for _ in 0..request.tokens {
                let logits = (self.logits)(&ids);
                let token = choose(&logits, decoding, (number as u64, ids.len() as u64));
                ids.push(token);
                if self.faults.stops_at == Some(token) {
                    break;
                }
            }
            let ids = ids.split_off(evaluated);
            self.generated.fetch_add(ids.len() as u64, Ordering::Relaxed);
            Ok(Generated { ids, evaluated: Some(evaluated as u64), ..Generated::default() })
        };
        requests.iter().enumerate().map(continued).collect()
    }
}

/// The next token; `stream` is the request and the position, each with random numbers of its own.
fn choose(logits: &[f32], decoding: &Decoding, stream: (u64, u64)) -> u32 {
    let scheme_score = |token: u32, wants: &Wants| TokenScore::from_logits(logits, token, wants);
    match decoding {
        Decoding::Greedy => scheme_score(0, &Wants::default()).and_then(|score| score.greedy).unwrap_or(0),
        Decoding::Sampled { scheme, seed, first } => {
            let mut random = Mt64::new(seed ^ (first + stream.0).rotate_left(32) ^ stream.1);
            let mut left = (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
            let wants = Wants { moments: false, scheme: Some(*scheme), candidates: 0 };
            for token in 0..logits.len() as u32 {
                let log_prob = scheme_score(token, &wants).and_then(|score| score.scheme_log_prob);
                left -= log_prob.map_or(0.0, f64::exp);
                if left < 0.0 {
                    return token;
                }
            }
            // Rounding left a crumb: the likeliest token can always be drawn.
            choose(logits, &Decoding::Greedy, stream)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::SamplingScheme;

    #[test]
    fn recites_by_hand() {
        let model = FakeModel::reciting(10, &[vec![1, 2, 3, 4, 5]], 2, 3.0);
        let request = ScoreRequest { ids: &[1, 2, 3, 9], from: 1 };
        let scored = model.score(&[request], &Wants::default()).unwrap().remove(0).tokens;
        let known = 3f64.exp() + 9.0;
        // After 1: unknown, favorite (7 + 3) mod 10 = 0 with e^ln2 = 2 of 11.
        let expected = [-(11f64.ln()), 3.0 - known.ln(), -known.ln()];
        for (found, expected) in scored.iter().zip(expected) {
            assert!((found.log_prob - expected).abs() < 1e-6, "{} {expected}", found.log_prob);
        }
        assert_eq!(
            scored.iter().map(|s| (s.rank, s.greedy)).collect::<Vec<_>>(),
            [(3, Some(0)), (1, Some(3)), (10, Some(4))]
        );
        let request = GenerateRequest { prompt: &[1, 2], tokens: 4 };
        assert_eq!(model.generate(&[request], &Decoding::Greedy).unwrap()[0].ids, [3, 4, 5, 8]);
        assert_eq!(model.asked(), Asked { calls: 2, scored: 4, prompted: 2, generated: 4 });
    }

    #[test]
    fn draws_have_their_probability() {
        let model = FakeModel::new(3, |_| vec![0.0, 2f32.ln(), 5f32.ln()]);
        let draw = |scheme, n: usize| {
            let requests = vec![GenerateRequest { prompt: &[0], tokens: 1 }; n];
            let drawn = model.generate(&requests, &Decoding::Sampled { scheme, seed: 5, first: 0 }).unwrap();
            let count = |token| drawn.iter().filter(|g| g.ids == [token]).count() as f64 / n as f64;
            [count(0), count(1), count(2)]
        };
        let all = draw(SamplingScheme { temperature: 1.0, top_k: None, top_p: None }, 4000);
        for (found, expected) in all.iter().zip([0.125, 0.25, 0.625]) {
            assert!((found - expected).abs() < 0.03, "{all:?}");
        }
        let two = draw(SamplingScheme { temperature: 1.0, top_k: Some(2), top_p: None }, 4000);
        assert!(two[0] == 0.0 && (two[1] - 2.0 / 7.0).abs() < 0.03, "{two:?}");
    }
}
