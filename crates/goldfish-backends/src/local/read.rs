//! Scores of a token from a row of logits, and the greedy choice.

use goldfish_audit::backend::{Moments, TokenScore, Wants};

use super::math::{exp, vectorized};

/// Lanes of a sum: element `i` goes to lane `i` modulo this, so that a sum depends on its elements alone.
const LANES: usize = 16;

/// The score of `token` as [`TokenScore::from_logits`] defines it, with exponentials in single precision and sums in double.
///
/// `None` if `token` has no logit, or a logit is not a number.
pub(super) fn score(logits: &[f32], token: u32, wants: &Wants) -> Option<TokenScore> {
    let own = *logits.get(token as usize)?;
    vectorized(
        #[inline(always)]
        || {
            let highest = highest(logits)?;
            let (before, after) = (&logits[..token as usize], &logits[token as usize + 1..]);
            let rank = 1 + count(logits, |logit| logit > own) + count(before, |logit| logit == own);
            // Only numbers here: the whole row was checked.
            let rival = if own < highest { highest } else { maximum(before).max(maximum(after)) };
            let sum = total(logits, |logit| f64::from(exp(logit - highest)));
            let normalizer = f64::from(highest) + sum.ln();
            Some(TokenScore {
                log_prob: f64::from(own) - normalizer,
                rank,
                greedy: first(logits, highest),
                rival: (logits.len() > 1).then(|| f64::from(rival) - normalizer),
                moments: wants.moments.then(|| moments(logits, highest, sum)),
                scheme_log_prob: wants.scheme.map(|scheme| scheme.log_prob(logits, own, rank)),
            })
        },
    )
}

/// The first of the largest logits; `None` if one is not a number.
pub(super) fn greedy(logits: &[f32]) -> Option<u32> {
    vectorized(
        #[inline(always)]
        || first(logits, highest(logits)?),
    )
}

/// Moments of the log-probability, with `sum` of the exponentials less the highest logit.
#[inline(always)]
fn moments(logits: &[f32], highest: f32, sum: f64) -> Moments {
    // A token of no probability adds nothing, whatever its logarithm.
    let below = |logit: f32| (logit - highest).max(-1e4);
    let mean = total(logits, |logit| f64::from(exp(logit - highest)) * f64::from(below(logit))) / sum;
    let variance = total(logits, |logit| {
        let deviation = f64::from(below(logit)) - mean;
        f64::from(exp(logit - highest)) * deviation * deviation
    });
    Moments { mean: mean - sum.ln(), variance: variance / sum }
}

/// The largest value; `None` if one is not a number, or there is none.
#[inline(always)]
fn highest(values: &[f32]) -> Option<f32> {
    let sound = count(values, |value| !value.is_nan()) as usize == values.len();
    (sound && !values.is_empty()).then(|| maximum(values))
}

/// The largest value, minus infinity of none.
#[inline(always)]
fn maximum(values: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, *value);
        }
    }
    lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, larger)
}

/// The first index of a value that is there.
#[inline(always)]
fn first(values: &[f32], sought: f32) -> Option<u32> {
    const STEP: usize = 256;
    let block = values.chunks(STEP).position(|chunk| count(chunk, |value| value == sought) > 0)?;
    let within = values[block * STEP..].iter().position(|value| *value == sought)?;
    Some((block * STEP + within) as u32)
}

#[inline(always)]
fn count(values: &[f32], which: impl Fn(f32) -> bool) -> u32 {
    values.iter().map(|value| u32::from(which(*value))).sum()
}

#[inline(always)]
fn total(values: &[f32], term: impl Fn(f32) -> f64) -> f64 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [0f64; LANES];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += term(*value);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += term(*value);
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use goldfish_audit::backend::SamplingScheme;

    use super::*;

    #[test]
    fn as_the_definition_says() {
        let mut state = 7u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 20) as f32 / 128.0 - 16.0
        };
        let wants = Wants {
            moments: true,
            scheme: Some(SamplingScheme { temperature: 0.7, top_k: Some(5), top_p: None }),
            candidates: 0,
        };
        for size in (1..70).chain([255, 256, 257, 1000]) {
            let mut logits: Vec<f32> = (0..size).map(|_| random()).collect();
            if size % 5 == 4 {
                logits[size / 2] = f32::NEG_INFINITY;
                logits[size / 3] = logits[size - 1];
            }
            for token in 0..size as u32 {
                let found = score(&logits, token, &wants).unwrap();
                let expected = TokenScore::from_logits(&logits, token, &wants).unwrap();
                let near = |a: f64, b: f64| a == b || (a - b).abs() < 2e-6 * b.abs().max(1.0);
                assert_eq!((found.rank, found.greedy), (expected.rank, expected.greedy));
                assert!(near(found.log_prob, expected.log_prob), "{found:?} {expected:?}");
                assert_eq!(found.rival.is_some(), expected.rival.is_some());
                assert!(found.rival.is_none_or(|rival| near(rival, expected.rival.unwrap())));
                assert_eq!(found.scheme_log_prob, expected.scheme_log_prob);
                let (a, b) = (found.moments.unwrap(), expected.moments.unwrap());
                assert!(near(a.mean, b.mean) && near(a.variance, b.variance), "{a:?} {b:?}");
            }
            assert_eq!(greedy(&logits), score(&logits, 0, &wants).unwrap().greedy);
            logits[size / 2] = f32::NAN;
            assert!(score(&logits, 0, &wants).is_none() && greedy(&logits).is_none());
        }
        assert!(score(&[1.0], 1, &wants).is_none() && greedy(&[]).is_none());
    }

    #[test]
    fn certainty_is_not_rounded_away() {
        let found = score(&[0.0, -20.0, -25.0], 0, &Wants::default()).unwrap().log_prob;
        let expected = -((-20f64).exp() + (-25f64).exp()).ln_1p();
        assert!((found / expected - 1.0).abs() < 1e-5, "{found:e} {expected:e}");
    }
}
