//! Which units are dropped, given their keys: from the definition.

#![allow(clippy::unwrap_used, reason = "tests")]

/// Which of these keys are dropped. `exempt` ones are not dropped, and `first` is the number
/// of the first one.
pub(crate) fn select(
    keys: &[u64],
    exempt: &[bool],
    (threshold, longest_run): (u64, Option<u32>),
    first: usize,
) -> Vec<bool> {
    let below: Vec<bool> = (0..keys.len())
        .map(|i| keys[i] < threshold && !exempt[i] && !keys[i.saturating_sub(8)..i].contains(&keys[i]))
        .collect();
    let mut dropped = below.clone();
    if let Some(run) = longest_run {
        let w = run as usize + 1;
        for start in 0..(keys.len() + 1).saturating_sub(w) {
            if !below[start..start + w].contains(&true) {
                let order = |i: usize| (if exempt[i] { u64::MAX } else { keys[i] }, (first + i) % w);
                let least = (start..start + w).min_by_key(|&i| order(i)).unwrap();
                dropped[least] = !exempt[least];
            }
        }
    }
    dropped
}
