//! Sequences that are continued together, token by token.

use candle_core::{Result, bail};
use goldfish_audit::backend::{Decoding, GenerateRequest};

use super::draw::choose;
use super::vocabulary::Vocabulary;

/// Sequences with what the network keeps of them.
pub(super) trait Sequences {
    /// Appends a token to each of some sequences, whose numbers ascend; returns the hidden states of these tokens.
    fn append(&mut self, tokens: &[(usize, u32)]) -> Result<Vec<f32>>;
}

/// Continues prompts, each with its number among all requests, from the hidden states of their last tokens.
pub(super) fn continue_all(
    requests: &[(usize, &GenerateRequest<'_>)],
    decoding: &Decoding,
    vocabulary: &Vocabulary,
    hidden: &[f32],
    sequences: &mut dyn Sequences,
) -> Result<Vec<Vec<u32>>> {
    let mut continued: Vec<Vec<u32>> = vec![Vec::new(); requests.len()];
    let mut active: Vec<usize> =
        (0..requests.len()).filter(|number| requests[*number].1.tokens > 0).collect();
    let last = active.iter().map(|number| &hidden[number * vocabulary.width()..][..vocabulary.width()]);
    let mut hidden = last.collect::<Vec<_>>().concat();
    while !active.is_empty() {
        let chosen = vocabulary.each_logits(&hidden, |row, logits| {
            let (stream, request) = requests[active[row]];
            let position = request.prompt.len() + continued[active[row]].len();
            choose(logits, decoding, [stream as u64, position as u64])
        });
        let mut more = Vec::with_capacity(active.len());
        for (number, token) in active.iter().zip(chosen) {
            let Some(token) = token else { bail!("a logit is not a number; is the checkpoint damaged?") };
            continued[*number].push(token);
            if continued[*number].len() < requests[*number].1.tokens {
                more.push((*number, token));
            }
        }
        if !more.is_empty() {
            hidden = sequences.append(&more)?;
        }
        active = more.into_iter().map(|(number, _)| number).collect();
    }
    Ok(continued)
}
