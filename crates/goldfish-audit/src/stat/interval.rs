//! Intervals of a rate.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};
use statrs::function::beta::beta_reg;

use super::clusters::Clusters;
use super::estimate::{Rate, RateMethod};

/// Quantile of the standard normal distribution.
pub(super) fn normal_quantile(p: f64) -> f64 {
    Normal::standard().inverse_cdf(p)
}

/// Distribution function of the standard normal distribution.
pub(super) fn normal_cdf(x: f64) -> f64 {
    Normal::standard().cdf(x)
}

/// Quantile of Student's t distribution, `p` in `(0, 1)`; that of the normal distribution where the degrees of freedom
/// are not above 0 or infinite.
#[must_use]
pub fn t_quantile(p: f64, freedom: f64) -> f64 {
    let Ok(t) = StudentsT::new(0.0, 1.0, freedom) else { return normal_quantile(p) };
    let tail = p.min(1.0 - p);
    let mut high = 1.0;
    while t.sf(high) > tail && high < 1e300 {
        high *= 2.0;
    }
    let quantile = bisect(0.0, high, |x| t.sf(x) > tail);
    if p < 0.5 { -quantile } else { quantile }
}

/// Where `below` turns from true to false between `low` and `high`, to the last digit.
fn bisect(mut low: f64, mut high: f64, below: impl Fn(f64) -> bool) -> f64 {
    loop {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            return middle;
        }
        if below(middle) { low = middle } else { high = middle }
    }
}

/// Wilson's score interval for `positives` of `n`, which need not be whole numbers; `(0, 1)` where `n` is 0.
///
/// Wilson, "Probable inference, the law of succession, and statistical inference" (JASA 1927). `confidence` is the
/// two-sided level, such as 0.95.
#[must_use]
pub fn wilson(positives: f64, n: f64, confidence: f64) -> (f64, f64) {
    if n <= 0.0 {
        return (0.0, 1.0);
    }
    let z = normal_quantile(0.5 + confidence / 2.0);
    let (p, z2) = (positives / n, z * z);
    let center = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    // Where nothing or everything is positive the ends are 0 or 1, which rounding would miss.
    let lower = if positives <= 0.0 { 0.0 } else { (center - half).max(0.0) };
    let upper = if positives >= n { 1.0 } else { (center + half).min(1.0) };
    (lower, upper)
}

/// Clopper and Pearson's interval for `positives` of `n`, which need not be whole numbers; `(0, 1)` where `n` is 0.
///
/// Clopper and Pearson, "The use of confidence or fiducial limits" (Biometrika 1934), as quantiles of beta
/// distributions. Good to 7 digits up to 100,000 probes, to 5 up to a billion.
#[must_use]
pub fn clopper_pearson(positives: f64, n: f64, confidence: f64) -> (f64, f64) {
    let tail = (1.0 - confidence) / 2.0;
    let misses = n - positives;
    // For no positives or no misses the quantiles are powers.
    let none = |n: f64| if n > 0.0 { -(tail.ln() / n).exp_m1() } else { 1.0 };
    match (positives <= 0.0, misses <= 0.0) {
        (true, _) => (0.0, none(n)),
        (_, true) => (1.0 - none(n), 1.0),
        _ => {
            let lower = beta_quantile(positives, misses + 1.0, tail);
            (lower, beta_quantile(positives + 1.0, misses, 1.0 - tail))
        }
    }
}

/// Quantile of the beta distribution by bisection of its distribution function: the library's own quantiles (Newton steps)
/// don't end for some parameters.
fn beta_quantile(a: f64, b: f64, p: f64) -> f64 {
    bisect(0.0, 1.0, |x| beta_reg(a, b, x) < p)
}

/// The rate that 0 positives of `n` rule out with this confidence: `1 - (1 - confidence)^(1/n)`, about `3 / n` at 0.95;
/// 1 where `n` is 0.
///
/// Hanley and Lippman-Hand, "If nothing goes wrong, is everything all right?" (JAMA 1983).
#[must_use]
pub fn rule_of_three(n: f64, confidence: f64) -> f64 {
    if n <= 0.0 { 1.0 } else { -((1.0 - confidence).ln() / n).exp_m1() }
}

/// How much independent probes the clustered ones are worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effective {
    /// The worth in probes, at most their number.
    pub n: f64,
    /// The same with the price of estimating the variance from few clusters.
    pub n_adjusted: f64,
}

impl Effective {
    /// Estimates it for a rate.
    ///
    /// The variance of the rate over resampled clusters, against that of as many independent probes (Kish's
    /// design effect), and the small-sample factor of Korn and Graubard, "Confidence intervals for proportions
    /// with small expected number of positive counts estimated from survey data" (Survey Methodology 1998).
    /// With one probe a cluster both are the number of probes. Where the rate is 0 or 1, no variance can be
    /// seen, and a cluster is worth one probe.
    #[must_use]
    pub fn of(clusters: &Clusters, confidence: f64) -> Self {
        let (n, m) = (clusters.n() as f64, clusters.clusters() as f64);
        if clusters.are_single() {
            return Self { n, n_adjusted: n };
        }
        let p = clusters.mean().unwrap_or(0.0);
        if p <= 0.0 || p >= 1.0 || m < 2.0 {
            return Self { n: m, n_adjusted: m };
        }
        let squares =
            clusters.sums.iter().zip(&clusters.counts).map(|(sum, count)| (sum - p * count).powi(2));
        let variance = squares.sum::<f64>() / (n * n) * m / (m - 1.0);
        if variance <= 0.0 {
            return Self { n, n_adjusted: n };
        }
        let worth = (p * (1.0 - p) / variance).min(n);
        let quantile = 0.5 + confidence / 2.0;
        let price = (t_quantile(quantile, n - 1.0) / t_quantile(quantile, m - 1.0)).powi(2);
        Self { n: worth, n_adjusted: worth * price }
    }
}

/// The rate of positive values (1 and 0) with its 95% interval, by cluster.
///
/// Wilson's or Clopper and Pearson's interval on the [effective](Effective) number of probes; for no positives
/// the [rule of three](rule_of_three), on the number of clusters where they have several probes each.
#[must_use]
pub fn rate(clusters: &Clusters, method: RateMethod) -> Rate {
    let (method, (lower, upper)) = rate_interval(clusters, method, 0.95);
    Rate {
        rate: clusters.mean().unwrap_or(0.0),
        lower,
        upper,
        positives: clusters.total() as u64,
        n: clusters.n(),
        clusters: clusters.clusters() as u64,
        method,
    }
}

/// The interval of [`rate`] at another confidence, with how it was made.
#[must_use]
pub fn rate_interval(clusters: &Clusters, method: RateMethod, confidence: f64) -> (RateMethod, (f64, f64)) {
    let share = clusters.mean().unwrap_or(0.0);
    let worth = Effective::of(clusters, confidence).n_adjusted;
    match method {
        _ if clusters.total() <= 0.0 => (RateMethod::RuleOfThree, (0.0, rule_of_three(worth, confidence))),
        RateMethod::ClopperPearson => (method, clopper_pearson(share * worth, worth, confidence)),
        _ => (RateMethod::Wilson, wilson(share * worth, worth, confidence)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: (f64, f64), expected: (f64, f64)) {
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs().max(1e-3);
        assert!(near(found.0, expected.0) && near(found.1, expected.1), "{found:?}, expected {expected:?}");
    }

    // Expected values: statsmodels 0.15 proportion_confint.
    #[test]
    fn published_intervals() {
        close(wilson(10.0, 100.0, 0.95), (0.055_229_137_060_675_09, 0.174_365_661_504_913_48));
        close(clopper_pearson(10.0, 100.0, 0.95), (0.049_004_689_221_485_95, 0.176_222_597_740_022_7));
        assert_eq!(wilson(0.0, 10.0, 0.95).0, 0.0);
        assert_eq!(wilson(10.0, 10.0, 0.95).1, 1.0);
        assert_eq!(wilson(0.0, 0.0, 0.95), (0.0, 1.0));
        assert_eq!(clopper_pearson(0.0, 0.0, 0.95), (0.0, 1.0));
    }

    #[test]
    fn nothing_found_is_about_three_over_n() {
        for n in [100.0, 3000.0, 1e6] {
            let bound = rule_of_three(n, 0.95);
            assert!((bound * n - 2.9957).abs() < 0.05, "{bound}");
        }
        assert_eq!(rule_of_three(0.0, 0.95), 1.0);
        let none = rate(&Clusters::new((0..100).map(|d| (d, 0.0))), RateMethod::Wilson);
        assert_eq!((none.method, none.lower, none.n), (RateMethod::RuleOfThree, 0.0, 100));
        assert!((none.upper - 0.029_513).abs() < 1e-6);
        // Ten probes of each of ten documents are worth ten.
        let clustered = rate(&Clusters::new((0..100).map(|i| (i / 10, 0.0))), RateMethod::Wilson);
        assert!((clustered.upper - rule_of_three(10.0, 0.95)).abs() < 1e-12);
    }

    #[test]
    fn single_probes_are_worth_themselves() {
        let clusters = Clusters::new((0..50).map(|d| (d, f64::from(u8::from(d < 5)))));
        let found = rate(&clusters, RateMethod::Wilson);
        assert_eq!((found.lower, found.upper), wilson(5.0, 50.0, 0.95));
        assert_eq!((found.positives, found.n, found.clusters), (5, 50, 50));
    }

    #[test]
    fn copies_within_a_document_are_worth_little() {
        // Each document's four probes agree, so 200 probes are worth 50 and less.
        let clusters = Clusters::new((0..200).map(|i| (i / 4, f64::from(u8::from(i / 4 < 10)))));
        let worth = Effective::of(&clusters, 0.95);
        assert!((worth.n - 49.0).abs() < 1e-9, "{worth:?}");
        assert!(worth.n_adjusted < worth.n && worth.n_adjusted > 46.0, "{worth:?}");
    }

    #[test]
    fn no_probes_tell_nothing() {
        let found = rate(&Clusters::new(std::iter::empty::<(u32, f64)>()), RateMethod::Wilson);
        assert_eq!((found.rate, found.lower, found.upper, found.n), (0.0, 0.0, 1.0, 0));
    }
}
