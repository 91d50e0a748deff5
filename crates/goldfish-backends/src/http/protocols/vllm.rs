//! vLLM's `/v1/completions`, by token ids.
//!
//! Scores are `prompt_logprobs`: for each position the true token and the likeliest ones, each with its log-probability before any
//! temperature or penalty. Sources: `vllm/entrypoints/openai` (`CompletionRequest`, `CompletionResponseChoice`), vLLM 0.10.2 or
//! later for `return_token_ids`.

use std::collections::BTreeMap;

use goldfish_audit::backend::{
    BackendError, Decoding, GenerateRequest, Generated, SamplingScheme, ScoreRequest, Scored, TokenScore,
    Wants,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::http::completions::{self, Completion, MODELS, PATH, card};
use crate::http::probe::{Found, Kind, Probe};
use crate::http::protocol::{Generator, Sampling, Scorer};
use crate::http::response::{ResponseError, check_length, evaluated, log_prob, part};
use crate::http::tokenizer::TokenizerEndpoints;

pub(super) static KIND: Kind = Kind { protocol: "vllm", page: MODELS, detect };

/// By the owner in the list of models, unless the protocol is named.
fn detect(probe: &Probe<'_>) -> Result<Option<Found>, BackendError> {
    let Some(card) = card(probe)?.filter(|card| probe.named || card["owned_by"] == "vllm") else {
        return Ok(None);
    };
    let found = completions::describe(probe, &card)?;
    let protocol = |candidates| Vllm { model: found.model.clone(), candidates };
    let scorer = |candidates| -> (Box<dyn Scorer>, Wants) {
        let scheme = Some(SamplingScheme { temperature: 1.0, top_k: Some(candidates), top_p: None });
        (Box::new(protocol(candidates)), Wants { moments: false, scheme, candidates: 0 })
    };
    let scorers = probe.top_k.into_iter().chain([2]).map(scorer).collect();
    let tokenizer = TokenizerEndpoints {
        text: "prompt",
        both: json!({ "model": found.model }),
        encode: json!({ "add_special_tokens": false }),
    };
    Ok(Some(Found { scorers, generator: Some(Box::new(protocol(2))), tokenizer: Some(tokenizer), ..found }))
}

/// The protocol for one model of a server.
struct Vllm {
    model: String,
    /// Candidates to ask for at each position.
    candidates: u32,
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
    /// The choice, if it answers the prompt that was sent; and the number of evaluated tokens, if known.
    fn read(raw: &RawValue, sent: &[u32]) -> Result<(Self, Option<u64>), ResponseError> {
        let choice: Self = part(raw)?;
        let Some(ids) = &choice.prompt_token_ids else { return Ok((choice, None)) };
        if ids.len() == sent.len() && ids != sent {
            return Err(ResponseError::transient(
                "the prompt that was answered is not the one that was sent",
            ));
        }
        let evaluated = ids.len() as u64;
        Ok((choice, Some(evaluated)))
    }
}

impl Vllm {
    /// Sets everything that changes a result: what is left out falls to the server's defaults.
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
    ) -> Result<Vec<Scored>, ResponseError> {
        let (choices, total) = Completion::read(answer, requests.len())?;
        let evaluated_of = evaluated(total, requests.iter().map(|request| request.ids.len()));
        let mut all = Vec::with_capacity(requests.len());
        for (raw, request) in choices.into_iter().zip(requests) {
            let (choice, evaluated) = Choice::read(raw, request.ids)?;
            let positions = choice.prompt_logprobs;
            let positions =
                positions.ok_or_else(|| ResponseError::permanent("the answer has no `prompt_logprobs`"))?;
            let evaluated = evaluated.or_else(|| evaluated_of(request.ids.len()));
            // A server that adds tokens returns that many more positions, before those that were asked for.
            let added = evaluated.map_or(0, |n| (n as usize).saturating_sub(request.ids.len()));
            if positions.len() != request.ids.len() + added {
                let (found, sent) = (positions.len(), request.ids.len());
                return Err(ResponseError::transient(format!(
                    "log-probabilities of {found} positions came for {sent} tokens"
                )));
            }
            let asked = positions[added + request.from..].iter().zip(&request.ids[request.from..]);
            let tokens = asked.map(|(candidates, id)| token_score(candidates.as_ref(), *id, wants.scheme));
            let tokens = tokens.collect::<Result<Vec<_>, ResponseError>>()?;
            all.push(Scored { tokens, evaluated, exchange: Some(raw.get().to_owned()), ..Scored::default() });
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
        let Sampling { temperature, top_k, top_p } = Sampling::new(decoding);
        body["temperature"] = temperature.into();
        body["top_k"] = top_k.into();
        body["top_p"] = top_p.into();
        if let Some(seed) = seed {
            body["seed"] = seed.into();
        }
        body
    }

    fn read(&self, answer: &[u8], requests: &[GenerateRequest<'_>]) -> Result<Vec<Generated>, ResponseError> {
        let (choices, total) = Completion::read(answer, requests.len())?;
        let evaluated_of = evaluated(total, requests.iter().map(|request| request.prompt.len()));
        let read = |(raw, request): (&RawValue, &GenerateRequest<'_>)| {
            let (choice, evaluated) = Choice::read(raw, request.prompt)?;
            let no_ids = || {
                ResponseError::permanent(
                    "the answer has no `token_ids`; vLLM gives them from version 0.10.2 on",
                )
            };
            let ids = choice.token_ids.ok_or_else(no_ids)?;
            check_length(ids.len(), request.tokens, choice.finish_reason.as_deref())?;
            let evaluated = evaluated.or_else(|| evaluated_of(request.prompt.len()));
            let exchange = Some(raw.get().to_owned());
            Ok(Generated { ids, evaluated, exchange, ..Generated::default() })
        };
        choices.into_iter().zip(requests).map(read).collect()
    }
}

/// One position: the true token among the candidates.
fn token_score(
    candidates: Option<&BTreeMap<u32, Candidate>>,
    id: u32,
    scheme: Option<SamplingScheme>,
) -> Result<TokenScore, ResponseError> {
    let candidates =
        candidates.ok_or_else(|| ResponseError::transient("the log-probabilities of a position are null"))?;
    let mut named = Vec::with_capacity(candidates.len());
    for (id, candidate) in candidates {
        named.push((*id, log_prob(candidate.logprob)?));
    }
    let own = named.iter().find(|(named, _)| *named == id).map(|(_, log_prob)| *log_prob);
    let own = own.ok_or_else(|| {
        ResponseError::transient(format!("the token {id} that was sent has no log-probability"))
    })?;
    // Stable: of equals the smallest id comes first, which greedy decoding takes.
    named.sort_by(|a, b| b.1.total_cmp(&a.1));
    let index = named.iter().position(|(named, _)| *named == id).unwrap_or(0);
    // With a token that isn't the best, a better candidate is always named.
    let given = candidates.get(&id).and_then(|own| own.rank).unwrap_or(1);
    let tied = named.get(1).is_some_and(|(_, next)| *next == own);
    if named.len() < 2 || (index == 0 && given > 1 && !tied) {
        return Err(ResponseError::transient(format!(
            "the token {id} has rank {given}, and no better one is named"
        )));
    }
    let rank = match index {
        0 => 1,
        // The server counts equals as better; among the candidates it is known.
        _ => candidates.get(&id).and_then(|own| own.rank).unwrap_or(0).max(2).max(index as u32 + 1),
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

    fn score(candidates: &str, id: u32, scheme: Option<SamplingScheme>) -> Result<TokenScore, ResponseError> {
        let candidates: BTreeMap<u32, Candidate> = serde_json::from_str(candidates).unwrap();
        token_score(Some(&candidates), id, scheme)
    }

    #[test]
    fn a_position() {
        // 1/2, 1/4 and the true token far below.
        let candidates = r#"{"9": {"logprob": -5.0, "rank": 17, "decoded_token": "x"}, "4": {"logprob": -0.6931471805599453, "rank": 1},
            "7": {"logprob": -1.3862943611198906, "rank": 2}}"#;
        let scheme = SamplingScheme { temperature: 1.0, top_k: Some(2), top_p: None };
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
        let more = SamplingScheme { temperature: 1.0, top_k: Some(4), top_p: None };
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
