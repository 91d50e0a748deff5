//! `/v1/completions` with `echo`, as `OpenAI`'s legacy API, llama-cpp-python and others have it.
//!
//! The prompt goes as token ids and comes back with log-probabilities. Candidates come as text, so that the id of the greedy
//! token isn't known, nor a rank beyond them. Continuations come as text too and are made by the rules of
//! [`text`](crate::http::text), where there is a codec.

use goldfish_audit::backend::{BackendError, ScoreRequest, Scored, TokenScore, Wants};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::plain_text::PlainText;
use crate::http::completions::{self, Completion, MODELS, PATH, card};
use crate::http::probe::{Found, Kind, Probe};
use crate::http::protocol::Scorer;
use crate::http::response::{ResponseError, evaluated, log_prob, part};
use crate::http::text::Text;

pub(super) static KIND: Kind = Kind { protocol: "openai", page: MODELS, detect };

fn detect(probe: &Probe<'_>) -> Result<Option<Found>, BackendError> {
    let Some(card) = card(probe)? else { return Ok(None) };
    let found = completions::describe(probe, &card)?;
    let scorer = |candidates| -> (Box<dyn Scorer>, Wants) {
        (Box::new(OpenAi { model: found.model.clone(), candidates }), Wants::default())
    };
    let scorers = [5, 1].map(scorer).into();
    let text = PlainText { model: found.model.clone() };
    Ok(Some(Found { scorers, generator: Text::generator(text, probe.codec.as_ref()), ..found }))
}

/// The protocol for one model of a server.
struct OpenAi {
    model: String,
    /// Candidates to ask for at each position: `OpenAI`'s API allows 5.
    candidates: u32,
}

#[derive(Deserialize)]
struct Choice {
    logprobs: Option<LogProbs>,
}

#[derive(Deserialize)]
struct LogProbs {
    tokens: Vec<String>,
    token_logprobs: Vec<Option<f64>>,
    top_logprobs: Option<Vec<Option<Map<String, Value>>>>,
}

impl Scorer for OpenAi {
    fn path(&self) -> &str {
        PATH
    }

    fn body(&self, requests: &[ScoreRequest<'_>], _wants: &Wants) -> Value {
        let prompts: Vec<&[u32]> = requests.iter().map(|request| request.ids).collect();
        json!({
            "model": self.model, "prompt": prompts, "max_tokens": 1, "echo": true, "logprobs": self.candidates, "n": 1,
            "stream": false, "temperature": 0.0, "top_p": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
        })
    }

    fn read(
        &self,
        answer: &[u8],
        requests: &[ScoreRequest<'_>],
        _wants: &Wants,
    ) -> Result<Vec<Scored>, ResponseError> {
        let (choices, total) = Completion::read(answer, requests.len())?;
        let evaluated_of = evaluated(total, requests.iter().map(|request| request.ids.len()));
        let mut all = Vec::with_capacity(requests.len());
        for (raw, request) in choices.into_iter().zip(requests) {
            let choice: Choice = part(raw)?;
            let given =
                choice.logprobs.ok_or_else(|| ResponseError::permanent("the answer has no `logprobs`"))?;
            let (found, sent) = (given.token_logprobs.len(), request.ids.len());
            if found <= 1 && sent > 1 {
                return Err(ResponseError::permanent(
                    "the prompt is not in the answer: the server ignores `echo`",
                ));
            }
            let evaluated = evaluated_of(sent);
            let added = evaluated.map_or(0, |n| (n as usize).saturating_sub(sent));
            // The prompt and the token after it. One position less could also mean that the first token was removed.
            if found != sent + added + 1 || given.tokens.len() != found {
                return Err(ResponseError::transient(format!(
                    "log-probabilities of {found} positions came for {sent} tokens and one more"
                )));
            }
            let positions = added + request.from..added + sent;
            let tokens = positions
                .map(|position| given.token(position, self.candidates as usize))
                .collect::<Result<Vec<_>, ResponseError>>()?;
            all.push(Scored { tokens, evaluated, exchange: Some(raw.get().to_owned()), ..Scored::default() });
        }
        Ok(all)
    }
}

impl LogProbs {
    fn token(&self, position: usize, asked: usize) -> Result<TokenScore, ResponseError> {
        let own = log_prob(self.token_logprobs[position])?;
        let top = self.top_logprobs.as_ref().and_then(|top| top.get(position)?.as_ref());
        let top = top.ok_or_else(|| ResponseError::transient("a position has no `top_logprobs`"))?;
        let (mut better, mut rival, mut seen) = (0, None::<f64>, false);
        for (text, value) in top {
            let candidate = log_prob(value.as_f64())?;
            if !seen && candidate == own && *text == self.tokens[position] {
                seen = true;
                continue;
            }
            better += u32::from(candidate > own);
            rival = Some(rival.map_or(candidate, |rival| rival.max(candidate)));
        }
        // Candidates go by their text, and two of one text are one of them: the better one may be the one that is missing.
        if better == 0 && (!seen || rival.is_none() || top.len() < asked) {
            return Err(ResponseError::transient("the best candidate of a position isn't named"));
        }
        Ok(TokenScore {
            log_prob: own,
            rank: better + 1,
            greedy: None,
            rival,
            moments: None,
            scheme_log_prob: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_among_the_named() {
        let given: LogProbs = serde_json::from_str(
            r#"{"tokens": ["a", " b", "c", "d"], "token_logprobs": [null, -0.5, -3.0, -1.0], "text_offset": [0, 1, 3, 4],
            "top_logprobs": [null, {" b": -0.5, "x": -1.0}, {"x": -0.1, "y": -2.9, "c": -3.0}, {"x": -0.2, "y": -0.9}]}"#,
        )
        .unwrap();
        let seen: Vec<_> =
            (1..4).map(|p| given.token(p, 2).unwrap()).map(|t| (t.log_prob, t.rank, t.rival)).collect();
        assert_eq!(seen, [(-0.5, 1, Some(-1.0)), (-3.0, 3, Some(-0.1)), (-1.0, 3, Some(-0.2))]);
        assert!(given.token(0, 2).is_err());
        // Three were asked for: the one that is missing may have the text of another, and be better.
        assert!(given.token(1, 3).is_err() && given.token(2, 3).is_ok());
    }
}
