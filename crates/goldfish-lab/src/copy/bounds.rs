//! What a state of bounded size can copy, after [Jelassi et al. 2024](https://arxiv.org/abs/2402.01032), section 2.

/// The longest text that a model with a state of so many bytes can copy more often than in half of all cases (corollary 2.8): with
/// `b` bits of state and texts of `L` letters of 26, at most `2^b` of `26^L` texts are copied (theorem 2.7), which is less than half
/// from `L = (b + 1) / log2 26` on.
#[must_use]
pub fn longest_copy(state_bytes: u64) -> f64 {
    (8.0 * state_bytes as f64 + 1.0) / 26_f64.log2()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every way in which `texts` can share `states`, up to the states' names: calls `each` with the states that are in use.
    fn maps(texts: usize, states: usize, used: usize, each: &mut dyn FnMut(usize)) {
        if texts == 0 {
            return each(used);
        }
        for state in 0..(used + 1).min(states) {
            maps(texts - 1, states, used.max(state + 1), each);
        }
    }

    #[test]
    fn no_map_from_texts_to_states_copies_more_texts_than_states() {
        // Theorem 2.7 with D = 2, L = 4, |S| = 4. What is written after the text depends on the state alone, so that of the texts
        // that lead to a state one at most is copied.
        let (texts, states) = (2_usize.pow(4), 4);
        let (mut count, mut least) = (0_u64, f64::INFINITY);
        maps(texts, states, 0, &mut |used| {
            count += 1;
            least = least.min(1.0 - used as f64 / texts as f64);
        });
        // Stirling numbers of the second kind: S(16, 1) + ... + S(16, 4).
        assert_eq!(count, 1 + 32_767 + 7_141_686 + 171_798_901);
        assert_eq!(least, 1.0 - states as f64 / texts as f64);
        assert!(least >= 0.75);
    }

    /// The texts of `length` letters of `letters`, as numbers to that base.
    fn text(number: u32, letters: u32, length: u32) -> Vec<u32> {
        (0..length).map(|at| number / letters.pow(at) % letters).collect()
    }

    #[test]
    fn repeated_n_grams_are_rarer_than_the_bound() {
        // Lemma 2.4: fewer than L^2 D^-n of the texts have an n-gram twice.
        for (letters, length, n) in [(2, 10, 7), (2, 12, 8), (3, 8, 5), (4, 6, 3), (5, 5, 2), (26, 3, 2)] {
            let all = u32::pow(letters, length);
            let repeats = |number: &u32| {
                let text = text(*number, letters, length);
                let grams: BTreeSet<&[u32]> = text.windows(n).collect();
                grams.len() < text.len() - n + 1
            };
            let share = f64::from((0..all).filter(repeats).count() as u32) / f64::from(all);
            let bound = f64::from(length * length) / f64::from(letters).powi(n as i32);
            assert!(share > 0.0 && share < bound, "{letters} letters, {length}, {n}: {share} of {bound}");
        }
    }

    #[test]
    fn states_of_small_models_bound_texts_beyond_any_trained_length() {
        // Two layers of an LSTM with d = 256, and of Aaren with d = 128 and 8 heads, in f32.
        for (numbers, expected) in [(2 * 2 * 256, 6971.5), (2 * (128 + 8), 1852.0)] {
            assert!((longest_copy(4 * numbers) - expected).abs() < 0.1, "{numbers}");
        }
    }
}
