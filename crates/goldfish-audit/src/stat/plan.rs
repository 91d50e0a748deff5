//! How many probes an audit needs.

use statrs::function::beta::beta_reg;

use super::out_of_range::OutOfRange;

/// What an audit is to show.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlanRequest {
    /// The rate to stay below, in `(0, 1)`.
    pub rate: f64,
    /// One-sided confidence, in `(0, 1)`.
    pub confidence: f64,
    /// Positives that may occur.
    pub positives: u64,
    /// Probes a document, at least 1.
    pub probes_per_document: f64,
    /// Correlation of the outcomes of one document's probes, from 0 (independent) to 1 (equal).
    pub correlation: f64,
}

/// Probes that show a rate below the requested one: with at most so many positives among them, the exact one-sided upper
/// bound is below it.
///
/// For no positives that is `ln(1 - confidence) / ln(1 - rate)`. Probes that share documents are multiplied by the design
/// effect `1 + (probes_per_document - 1) * correlation`.
///
/// # Errors
///
/// If a number is out of its range, or more than 2^53 probes are needed.
///
/// ```
/// use goldfish_audit::stat::{PlanRequest, probes_needed};
///
/// let request =
///     PlanRequest { rate: 0.001, confidence: 0.95, positives: 0, probes_per_document: 1.0, correlation: 0.0 };
/// assert_eq!(probes_needed(&request)?, 2995);
/// # Ok::<(), goldfish_audit::stat::OutOfRange>(())
/// ```
pub fn probes_needed(request: &PlanRequest) -> Result<u64, OutOfRange> {
    let open =
        |name, value| OutOfRange::check(name, value, value > 0.0 && value < 1.0, "above 0 and below 1");
    open("rate", request.rate)?;
    open("confidence", request.confidence)?;
    let probes = request.probes_per_document;
    OutOfRange::check("probes per document", probes, probes >= 1.0, "at least 1")?;
    let correlation = request.correlation;
    OutOfRange::check("correlation", correlation, (0.0..=1.0).contains(&correlation), "from 0 to 1")?;
    // P(X <= k) for X ~ B(n, rate): what is still likely at the rate to be ruled out.
    let k = request.positives as f64;
    let excluded = |n: u64| {
        let n = n as f64;
        n > k && beta_reg(n - k, k + 1.0, 1.0 - request.rate) < 1.0 - request.confidence
    };
    let independent = if request.positives == 0 {
        let n = (-request.confidence).ln_1p() / (-request.rate).ln_1p();
        // Exactly n positives-free probes reach the bound; it must be below the rate.
        n.floor() + 1.0
    } else {
        smallest(excluded, request.positives.saturating_add(1)) as f64
    };
    let effect = 1.0 + (request.probes_per_document - 1.0) * request.correlation;
    let needed = (independent * effect).ceil();
    if needed.is_nan() || needed > (1u64 << 53) as f64 {
        return Err(OutOfRange { name: "rate", value: request.rate, range: "larger" });
    }
    Ok(needed as u64)
}

/// The smallest number from `start` on that satisfies a condition which holds from there on.
fn smallest(holds: impl Fn(u64) -> bool, start: u64) -> u64 {
    let mut high = start;
    while !holds(high) && high < 1 << 60 {
        high *= 2;
    }
    let mut low = start;
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) { high = middle } else { low = middle + 1 }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stat::interval::rule_of_three;

    fn request(rate: f64, confidence: f64, positives: u64) -> PlanRequest {
        PlanRequest { rate, confidence, positives, probes_per_document: 1.0, correlation: 0.0 }
    }

    #[test]
    fn published_sizes() {
        let n = |rate, positives| probes_needed(&request(rate, 0.95, positives)).unwrap();
        assert_eq!(n(0.001, 0), 2995);
        assert_eq!(n(0.01, 0), 299);
        assert_eq!(n(0.05, 0), 59);
        // The sample sizes of the well-known 95/95 tolerance tables: 59, 93, 124, 153.
        assert_eq!([n(0.05, 1), n(0.05, 2), n(0.05, 3)], [93, 124, 153]);
    }

    #[test]
    fn the_planned_number_is_the_smallest() {
        for rate in [0.3, 0.01, 1e-4, 1e-6] {
            let n = probes_needed(&request(rate, 0.95, 0)).unwrap() as f64;
            assert!(rule_of_three(n, 0.95) < rate && rule_of_three(n - 1.0, 0.95) >= rate, "{rate}: {n}");
        }
    }

    #[test]
    fn shared_documents_cost_more() {
        let clustered = PlanRequest { probes_per_document: 5.0, correlation: 0.5, ..request(0.01, 0.95, 0) };
        assert_eq!(probes_needed(&clustered).unwrap(), 897);
    }

    #[test]
    fn out_of_range() {
        for bad in
            [request(0.0, 0.95, 0), request(0.1, 1.0, 0), request(f64::NAN, 0.9, 0), request(1e-300, 0.9, 0)]
        {
            assert!(probes_needed(&bad).is_err(), "{bad:?}");
        }
        assert!(probes_needed(&PlanRequest { correlation: 1.5, ..request(0.1, 0.9, 0) }).is_err());
        assert!(probes_needed(&PlanRequest { probes_per_document: 0.0, ..request(0.1, 0.9, 0) }).is_err());
    }
}
