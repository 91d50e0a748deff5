//! Which documents are trained on.

use goldfish_remedy::{Remedy, Setting};
use rand_mt::Mt64;

use crate::draw::below;
use crate::error::LabError;
use crate::options::Documents;

/// Distinguishes the random numbers of the draw from those of the order.
const DRAW_STREAM: u64 = 2;

/// The numbers of the selected documents, ascending. Only documents with supervised tokens can be selected.
///
/// # Errors
///
/// If fewer documents have supervised tokens than are asked for, or none is asked for.
pub(crate) fn selected(supervised: &[u64], documents: Documents, seed: u64) -> Result<Vec<usize>, LabError> {
    let mut all: Vec<usize> = (0..supervised.len()).filter(|number| supervised[*number] > 0).collect();
    let (setting, count) = match documents {
        Documents::All => return Ok(all),
        Documents::Longest(count) => (Setting::Longest, count),
        Documents::Random(count) => (Setting::Random, count),
        Documents::RandomAsLongest(count) => (Setting::RandomAsLongest, count),
    };
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count == 0 || count > all.len() {
        let reason = format!("{count} are asked for, but {} have supervised tokens", all.len());
        return Err(LabError::option("documents", reason).with([Remedy::change(setting)]));
    }
    // A stable sort: of two with as many tokens, the one that stands first.
    let longest = |mut all: Vec<usize>| {
        all.sort_by_key(|number| std::cmp::Reverse(supervised[*number]));
        all.truncate(count);
        all
    };
    all = match documents {
        Documents::Random(_) => {
            shuffle(&mut all, seed);
            all.truncate(count);
            all
        }
        Documents::RandomAsLongest(_) => {
            let mut left: u64 = longest(all.clone()).iter().map(|number| supervised[*number]).sum();
            shuffle(&mut all, seed);
            all.into_iter()
                .take_while(|number| {
                    let wanted = left > 0;
                    left = left.saturating_sub(supervised[*number]);
                    wanted
                })
                .collect()
        }
        _ => longest(all),
    };
    all.sort_unstable();
    Ok(all)
}

fn shuffle(numbers: &mut [usize], seed: u64) {
    let mut random = Mt64::new_with_key([seed, 0, DRAW_STREAM]);
    for last in (1..numbers.len()).rev() {
        numbers.swap(last, below(&mut random, last as u64 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUPERVISED: [u64; 7] = [4, 9, 0, 9, 2, 9, 7];

    #[test]
    fn the_longest_in_order() {
        let longest = |count| selected(&SUPERVISED, Documents::Longest(count), 0).unwrap();
        assert_eq!(longest(2), [1, 3]);
        assert_eq!(longest(4), [1, 3, 5, 6]);
        assert_eq!(longest(6), [0, 1, 3, 4, 5, 6]);
        assert_eq!(selected(&SUPERVISED, Documents::All, 0).unwrap(), [0, 1, 3, 4, 5, 6]);
    }

    #[test]
    fn random_ones_differ_by_seed_and_hold_enough_tokens() {
        let lengths: Vec<u64> = (0..200).map(|number| 1 + number * 37 % 50).collect();
        let tokens = |numbers: &[usize]| numbers.iter().map(|number| lengths[*number]).sum::<u64>();
        let draw = |documents, seed| selected(&lengths, documents, seed).unwrap();
        let target = tokens(&draw(Documents::Longest(20), 0));
        let mut seen = Vec::new();
        for seed in 0..50 {
            let random = draw(Documents::Random(20), seed);
            assert_eq!(random.len(), 20);
            assert!(random.is_sorted_by(|a, b| a < b) && tokens(&random) < target);
            let equal = draw(Documents::RandomAsLongest(20), seed);
            // The last one drawn is needed.
            assert!((target..target + 50).contains(&tokens(&equal)), "{}", tokens(&equal));
            assert!(random.iter().all(|number| equal.contains(number)), "the same draw, and more of it");
            seen.extend(random);
        }
        // 1,000 draws of 200 documents.
        let most = (0..200).map(|number| seen.iter().filter(|seen| **seen == number).count()).max();
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.len() > 190 && most < Some(20));
    }

    #[test]
    fn too_many_and_none() {
        for documents in [Documents::Longest(7), Documents::Random(0), Documents::RandomAsLongest(u64::MAX)] {
            let error = selected(&SUPERVISED, documents, 0).unwrap_err().to_string();
            assert!(error.contains("6 have supervised tokens"), "{error}");
        }
    }
}
