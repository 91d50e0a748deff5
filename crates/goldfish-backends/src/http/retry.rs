//! When to retry.

use std::time::{Duration, SystemTime};

/// How often and how fast a request is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, at least 1.
    pub attempts: u32,
    /// Wait before the first retry; it doubles with each, with a jitter of up to a half.
    pub base: Duration,
    /// Longest wait. If a server asks for more, the run ends instead.
    pub longest: Duration,
    /// Seed of the jitter.
    pub seed: u64,
}

impl Default for Retry {
    /// Six attempts over about half a minute, more where the server asks for it, up to five minutes each.
    fn default() -> Self {
        Self { attempts: 6, base: Duration::from_secs(1), longest: Duration::from_secs(300), seed: 0 }
    }
}

impl Retry {
    /// The wait before attempt `attempt` (from 1) of request `request`.
    pub(super) fn wait(&self, request: u64, attempt: u32) -> Duration {
        let doubled = self.base.saturating_mul(1u32 << (attempt - 1).min(20));
        let random = mix(self.seed ^ mix(request) ^ u64::from(attempt)) >> 40;
        let stretch = 1.0 + 0.5 * random as f64 / f64::from(1u32 << 24);
        doubled.min(self.longest).mul_f64(stretch).min(self.longest)
    }
}

/// A number that looks random (the finalizer of `SplitMix64`).
pub(super) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The value of `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
pub(super) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_differ() {
        let retry = Retry { longest: Duration::from_secs(10), ..Retry::default() };
        for request in 0..50 {
            for (attempt, least) in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 10.0), (32, 10.0)] {
                let wait = retry.wait(request, attempt).as_secs_f64();
                assert!(wait >= least && wait <= (1.5 * least).min(10.0), "{attempt} {wait}");
            }
        }
        assert_eq!(retry.wait(3, 2), retry.wait(3, 2));
        assert_ne!(retry.wait(3, 2), retry.wait(4, 2));
        assert_ne!(retry.wait(3, 2), Retry { seed: 1, ..retry }.wait(3, 2));
    }

    #[test]
    fn both_forms_of_retry_after() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let seconds = |value| retry_after(value, now).map(|wait| wait.as_secs());
        assert_eq!(seconds(" 120 "), Some(120));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:50:07 GMT"), Some(30));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0), "past");
        for bad in ["", "soon", "-1", "NaN", "inf", "1e300"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
