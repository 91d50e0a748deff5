//! How well a score separates members from others.

use std::hash::Hash;

use super::bootstrap::{Bootstrap, Range};
use super::clusters::Clusters;
use super::estimate::Difference;

/// Area under the ROC curve of a score that is lower for members: the share of (member, other) pairs in which the
/// member has the lower score, ties for half. With its 95% interval, by cluster; absent where a
/// side is empty.
///
/// The interval resamples the clusters of both sides by their placement values (DeLong, DeLong and
/// Clarke-Pearson, Biometrics 1988; Obuchowski, Biometrics 1997 for clusters), cut to `[0, 1]`.
#[must_use]
pub fn auc<D: Hash + Eq + Clone>(
    members: &[(D, f64)],
    others: &[(D, f64)],
    bootstrap: &Bootstrap,
) -> Difference {
    let placements = |of: &[(D, f64)], among: &[(D, f64)], sign: f64| {
        let mut sorted: Vec<f64> = among.iter().map(|(_, value)| sign * value).collect();
        sorted.sort_by(f64::total_cmp);
        let placement = |value: f64| {
            let lower = sorted.partition_point(|other| *other < value);
            let ties = sorted.partition_point(|other| *other <= value) - lower;
            // The share of the others that are above.
            1.0 - (lower as f64 + ties as f64 / 2.0) / sorted.len() as f64
        };
        Clusters::new(
            of.iter().map(|(cluster, value)| (cluster.clone(), placement(sign * value))).collect::<Vec<_>>(),
        )
    };
    if members.is_empty() || others.is_empty() {
        return Difference { difference: None, lower: None, upper: None };
    }
    let members_placed = placements(members, others, 1.0);
    // The same area from the other side; its complement, so that the difference adds the two sides' deviations.
    let others_placed = placements(others, members, -1.0);
    let area = members_placed.mean();
    let complement = Clusters {
        sums: others_placed.sums.iter().zip(&others_placed.counts).map(|(sum, n)| n - sum).collect(),
        ..others_placed
    };
    let spread = bootstrap.difference(&members_placed, &complement, Some(Range::UNIT));
    // `spread` is centered on 2 * area - 1, each half varying with one side's clusters.
    let end = |value: Option<f64>| {
        let (value, center, area) = (value?, spread.difference?, area?);
        Some((area + value - center).clamp(0.0, 1.0))
    };
    Difference { difference: area, lower: end(spread.lower), upper: end(spread.upper) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(values: &[f64]) -> Vec<(usize, f64)> {
        values.iter().copied().enumerate().collect()
    }

    #[test]
    fn worked_areas() {
        let area = |a: &[f64], b: &[f64]| auc(&set(a), &set(b), &Bootstrap::new(0)).difference;
        assert_eq!(area(&[1.0, 2.0], &[3.0, 4.0]), Some(1.0));
        assert_eq!(area(&[3.0, 4.0], &[1.0, 2.0]), Some(0.0));
        assert_eq!(area(&[1.0, 1.0], &[1.0]), Some(0.5));
        // Pairs: 1 below both, 3 below one of two, 3 ties none: (2 + 1) / 4.
        assert_eq!(area(&[1.0, 3.0], &[2.0, 4.0]), Some(0.75));
        assert_eq!(area(&[], &[1.0]), None);
    }

    #[test]
    fn the_interval_holds_the_area() {
        let members: Vec<f64> = (0..100).map(|i| f64::from(i * 37 % 100)).collect();
        let others: Vec<f64> = (0..100).map(|i| f64::from(i * 53 % 100) + 10.0).collect();
        let found = auc(&set(&members), &set(&others), &Bootstrap::new(1));
        let (area, lower, upper) = (found.difference.unwrap(), found.lower.unwrap(), found.upper.unwrap());
        assert!(lower < area && area < upper, "{found:?}");
        // Hanley and McNeil's standard error is about 0.04 here.
        assert!(upper - lower > 0.1 && upper - lower < 0.22, "{found:?}");
    }
}
