//! The choice of the next token.

use goldfish_audit::backend::{Decoding, SamplingScheme};
use rand_mt::Mt64;

use super::read::greedy;

/// The next token; `stream` and position choose the random numbers. `None` if a logit is not a number.
pub(super) fn choose(logits: &[f32], decoding: &Decoding, [stream, position]: [u64; 2]) -> Option<u32> {
    // `None` also where the largest logits are numbers and others are not.
    let best = greedy(logits)?;
    match decoding {
        Decoding::Greedy => Some(best),
        Decoding::Sampled { scheme, seed, first } => {
            let mut random = Mt64::new(seed ^ (first + stream).rotate_left(32) ^ position);
            let uniform = (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
            drawn(logits, scheme, uniform).or(Some(best))
        }
    }
}

/// The token at which the probabilities, summed in the order of the ids, exceed a number from 0 up to 1.
fn drawn(logits: &[f32], scheme: &SamplingScheme, uniform: f64) -> Option<u32> {
    let kept = scheme.drawable(logits);
    let logit = |id: u32| logits[id as usize];
    let highest = kept.iter().map(|id| logit(*id)).fold(f32::NEG_INFINITY, f32::max);
    let weight = |id: u32| ((f64::from(logit(id)) - f64::from(highest)) / scheme.temperature).exp();
    let total: f64 = kept.iter().map(|id| weight(*id)).sum();
    let mut left = uniform * total;
    kept.into_iter().find(|id| {
        left -= weight(*id);
        left < 0.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equals_the_first() {
        assert_eq!(choose(&[1.0, 3.0, 3.0], &Decoding::Greedy, [0, 0]), Some(1));
        assert_eq!(choose(&[1.0, f32::NAN], &Decoding::Greedy, [0, 0]), None);
    }

    #[test]
    fn draws_have_their_probability() {
        let logits = [0.0, 2f32.ln(), 5f32.ln()];
        let share = |scheme: SamplingScheme, token: u32| {
            let hits = (0..8000u64).filter(|stream| {
                choose(&logits, &Decoding::Sampled { scheme, seed: 5, first: 0 }, [*stream, 9]) == Some(token)
            });
            hits.count() as f64 / 8000.0
        };
        let all = SamplingScheme { temperature: 1.0, top_k: None, top_p: None };
        let two = SamplingScheme { temperature: 0.5, top_k: Some(2), top_p: None };
        for (scheme, token, expected) in
            [(all, 0, 0.125), (all, 2, 0.625), (two, 0, 0.0), (two, 1, 4.0 / 29.0)]
        {
            assert!((share(scheme, token) - expected).abs() < 0.02, "{scheme:?} {token}");
        }
    }
}
