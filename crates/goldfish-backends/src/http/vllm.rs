//! vLLM's `/v1/completions`, by token ids.
//!
//! Scores are `prompt_logprobs`: for each position the true token and the likeliest ones, each with its log-probability before any
//! temperature or penalty. Sources: `vllm/entrypoints/openai` (`CompletionRequest`, `CompletionResponseChoice`), vLLM 0.10.2 or
//! later for `return_token_ids`.

use std::collections::BTreeMap;

use goldfish_audit::backend::{
    Decoding, GenerateRequest, Generated, SamplingScheme, ScoreRequest, Scored, TokenScore, Wants,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::client::Fault;
use super::protocol::{self, Generator, Scorer, in_order, log_prob, malformed, sampling, share};

const PATH: &str = "/v1/completions";

/// The protocol for one model of a server.
pub(super) struct Vllm {
    pub(super) model: String,
    /// Candidates a position that are asked for.
    pub(super) candidates: u32,
}

/// What OpenAI-like servers answer.
#[derive(Deserialize)]
pub(super) struct Completion<'a> {
    #[serde(borrow)]
    choices: Vec<&'a RawValue>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<u64>,
}

impl<'a> Completion<'a> {
    /// The choices in the order of the prompts, and how many tokens of prompt there were over all of them.
    pub(super) fn read(answer: &'a [u8], prompts: usize) -> Result<(Vec<&'a RawValue>, Option<u64>), Fault> {
        let completion: Self = serde_json::from_slice(answer).map_err(malformed)?;
        Ok((in_order(completion.choices, prompts)?, completion.usage.and_then(|usage| usage.prompt_tokens)))
    }
}

#[derive(Deserialize)]
struct Choice {
    prompt_token_ids: Option<Vec<u32>>,
    token_ids: Option<Vec<u32>>,
    finish_reason: Option<String>,
    prompt_logprobs: Option<Vec<Option<BTreeMap<u32, Candidate>>>>,
}

#[derive(Deserialize)]
struct Candidate {
    logprob: Option<f64>,
    rank: Option<u32>,
}

impl Choice {
    /// The choice, if the prompt it answers is the one that was sent; and how many tokens that had, if it is told.
    fn read(part: &RawValue, sent: &[u32]) -> Result<(Self, Option<u64>), Fault> {
        let choice: Self = protocol::part(part)?;
        let Some(ids) = &choice.prompt_token_ids else { return Ok((choice, None)) };
        if ids.len() == sent.len() && ids != sent {
            return Err(Fault::passing("the prompt that was answered is not the one that was sent"));
        }
        let evaluated = ids.len() as u64;
        Ok((choice, Some(evaluated)))
    }
}

impl Vllm {
    /// Says everything that changes a result: what is left out falls to the server's defaults.
    fn completion(&self, prompts: Vec<&[u32]>, tokens: usize) -> Value {
        json!({
            "model": self.model, "prompt": prompts, "max_tokens": tokens, "n": 1, "stream": false,
            "ignore_eos": true, "stop": [], "stop_token_ids": [], "return_token_ids": true, "skip_special_tokens": false, "add_special_tokens": false,
            "temperature": 0.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0,
            "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
        })
    }
}

impl Scorer for Vllm {
    fn path(&self) -> &str {
        PATH
    }

    fn body(&self, requests: &[ScoreRequest<'_>], wants: &Wants) -> Value {
        // One token must be asked for; it is thrown away.
        let mut body = self.completion(requests.iter().map(|request| request.ids).collect(), 1);
        let scheme = wants.scheme.and_then(|scheme| scheme.top_k);
        // With two, the likeliest token other than the true one is always among them.
        body["prompt_logprobs"] = scheme.unwrap_or(0).clamp(2, self.candidates.max(2)).into();
        body
    }

    fn read(
        &self,
        answer: &[u8],
        requests: &[ScoreRequest<'_>],
        wants: &Wants,
    ) -> Result<Vec<Scored>, Fault> {
        let (choices, total) = Completion::read(answer, requests.len())?;
        let shares = share(total, requests.iter().map(|request| request.ids.len()));
        let mut all = Vec::with_capacity(requests.len());
        for (part, request) in choices.into_iter().zip(requests) {
            let (choice, evaluated) = Choice::read(part, request.ids)?;
            let positions = choice.prompt_logprobs;
            let positions = positions.ok_or_else(|| Fault::lasting("the answer has no `prompt_logprobs`"))?;
            let evaluated = evaluated.or_else(|| shares(request.ids.len()));
            // A server that adds tokens gives that many more positions: what stands behind them is what was asked.
            let added = evaluated.map_or(0, |n| (n as usize).saturating_sub(request.ids.len()));
            if positions.len() != request.ids.len() + added {
                let (found, sent) = (positions.len(), request.ids.len());
                return Err(Fault::passing(format!(
                    "log-probabilities of {found} positions came for {sent} tokens"
                )));
            }
            let asked = positions[added + request.from..].iter().zip(&request.ids[request.from..]);
            let tokens = asked.map(|(candidates, id)| token_score(candidates.as_ref(), *id, wants.scheme));
            let tokens = tokens.collect::<Result<Vec<_>, Fault>>()?;
            all.push(Scored { tokens, evaluated, exchange: Some(part.get().to_owned()) });
        }
        Ok(all)
    }
}

impl Generator for Vllm {
    fn path(&self) -> &str {
        PATH
    }

    fn body(&self, requests: &[GenerateRequest<'_>], decoding: &Decoding, seed: Option<u64>) -> Value {
        let tokens = requests.first().map_or(0, |request| request.tokens);
        let mut body = self.completion(requests.iter().map(|request| request.prompt).collect(), tokens);
        let (temperature, top_k) = sampling(decoding);
        body["temperature"] = temperature.into();
        body["top_k"] = top_k.into();
        if let Some(seed) = seed {
            body["seed"] = seed.into();
        }
        body
    }

    fn read(&self, answer: &[u8], requests: &[GenerateRequest<'_>]) -> Result<Vec<Generated>, Fault> {
        let (choices, total) = Completion::read(answer, requests.len())?;
        let shares = share(total, requests.iter().map(|request| request.prompt.len()));
        let read = |(part, request): (&RawValue, &GenerateRequest<'_>)| {
            let (choice, evaluated) = Choice::read(part, request.prompt)?;
            let no_ids =
                || Fault::lasting("the answer has no `token_ids`; vLLM gives them from version 0.10.2 on");
            let ids = choice.token_ids.ok_or_else(no_ids)?;
            whole(ids.len(), request.tokens, choice.finish_reason.as_deref())?;
            let evaluated = evaluated.or_else(|| shares(request.prompt.len()));
            let exchange = Some(part.get().to_owned());
            Ok(Generated { ids, evaluated, exchange, ..Generated::default() })
        };
        choices.into_iter().zip(requests).map(read).collect()
    }
}

/// Whether a continuation ended where it should: at its length, or at an end of sequence, which the self-test finds.
pub(super) fn whole(found: usize, asked: usize, reason: Option<&str>) -> Result<(), Fault> {
    let ended = found < asked && matches!(reason, Some("stop" | "eos"));
    if found == asked || ended {
        return Ok(());
    }
    let reason = reason.unwrap_or("no reason");
    Err(Fault::passing(format!("a continuation has {found} tokens instead of {asked} ({reason})")))
}

/// One position: the true token among the candidates.
fn token_score(
    candidates: Option<&BTreeMap<u32, Candidate>>,
    id: u32,
    scheme: Option<SamplingScheme>,
) -> Result<TokenScore, Fault> {
    let candidates =
        candidates.ok_or_else(|| Fault::passing("the log-probabilities of a position are null"))?;
    let mut named = Vec::with_capacity(candidates.len());
    for (id, candidate) in candidates {
        named.push((*id, log_prob(candidate.logprob)?));
    }
    let own = named.iter().find(|(named, _)| *named == id).map(|(_, log_prob)| *log_prob);
    let own =
        own.ok_or_else(|| Fault::passing(format!("the token {id} that was sent has no log-probability")))?;
    // Stable: of equals the smallest id comes first, which greedy decoding takes.
    named.sort_by(|a, b| b.1.total_cmp(&a.1));
    let place = named.iter().position(|(named, _)| *named == id).unwrap_or(0);
    // One better candidate is always named beside a token that isn't the best.
    let told = candidates.get(&id).and_then(|own| own.rank).unwrap_or(1);
    let tied = named.get(1).is_some_and(|(_, next)| *next == own);
    if named.len() < 2 || (place == 0 && told > 1 && !tied) {
        return Err(Fault::passing(format!("the token {id} has rank {told}, and no better one is named")));
    }
    let rank = match place {
        0 => 1,
        // The server counts equals as better; among the candidates it is known.
        _ => candidates.get(&id).and_then(|own| own.rank).unwrap_or(0).max(2).max(place as u32 + 1),
    };
    let rival = named.iter().find(|(named, _)| *named != id).map(|(_, log_prob)| *log_prob);
    let mut score = TokenScore { rival, ..TokenScore::of(own, rank, named[0].0) };
    score.scheme_log_prob = scheme.and_then(|scheme| {
        let k = scheme.top_k? as usize;
        let best: Vec<f32> = named.iter().take(k).map(|(_, log_prob)| *log_prob as f32).collect();
        (best.len() == k).then(|| scheme.log_prob(&best, own as f32, rank))
    });
    Ok(score)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(candidates: &str, id: u32, scheme: Option<SamplingScheme>) -> Result<TokenScore, Fault> {
        let candidates: BTreeMap<u32, Candidate> = serde_json::from_str(candidates).unwrap();
        token_score(Some(&candidates), id, scheme)
    }

    #[test]
    fn a_position() {
        // 1/2, 1/4 and far behind the true token.
        let candidates = r#"{"9": {"logprob": -5.0, "rank": 17, "decoded_token": "x"}, "4": {"logprob": -0.6931471805599453, "rank": 1},
            "7": {"logprob": -1.3862943611198906, "rank": 2}}"#;
        let scheme = SamplingScheme { temperature: 1.0, top_k: Some(2) };
        let far = score(candidates, 9, Some(scheme)).unwrap();
        assert_eq!((far.log_prob, far.rank, far.greedy), (-5.0, 17, Some(4)));
        assert_eq!(
            (far.rival.unwrap(), far.scheme_log_prob),
            (-std::f64::consts::LN_2, Some(f64::NEG_INFINITY))
        );
        let second = score(candidates, 7, Some(scheme)).unwrap();
        assert_eq!(second.rank, 2);
        assert!((second.scheme_log_prob.unwrap() - (1.0f64 / 3.0).ln()).abs() < 1e-6);
        let first = score(candidates, 4, None).unwrap();
        assert_eq!(
            (first.rank, first.greedy, first.rival),
            (1, Some(4), Some(-2.0 * std::f64::consts::LN_2))
        );
        let more = SamplingScheme { temperature: 1.0, top_k: Some(4) };
        assert_eq!(
            score(candidates, 4, Some(more)).unwrap().scheme_log_prob,
            None,
            "three of four are known"
        );
    }

    #[test]
    fn equals_and_clamps() {
        // The server calls the second of two equals rank 2, whichever it is.
        let equal = r#"{"3": {"logprob": -1.0, "rank": 2}, "8": {"logprob": -1.0, "rank": 1}}"#;
        assert_eq!(score(equal, 3, None).unwrap().rank, 1);
        assert_eq!(score(equal, 8, None).unwrap().rank, 2);
        let clamped = r#"{"3": {"logprob": -9999.0, "rank": 40}, "8": {"logprob": -0.5, "rank": 1}}"#;
        assert_eq!(score(clamped, 3, None).unwrap().log_prob, f64::NEG_INFINITY);
        assert!(score(r#"{"3": {"logprob": null}}"#, 3, None).is_err());
        assert!(score(r#"{"3": {"logprob": -1.0}}"#, 4, None).is_err());
    }
}
