//! Simulated coverage: of many audits with known truth, about 95% of the 95% intervals hold it, although probes of one
//! document depend on each other.
//!
//! `GOLDFISH_AUDIT_SIMULATIONS=20000 cargo test -p goldfish-audit --test coverage -- --nocapture` simulates longer and prints
//! what it found.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use goldfish_audit::stat::{
    Bootstrap, Clusters, Difference, RateMethod, auc, excess_rate, rate, rate_interval,
};
use rand_mt::Mt64;
use statrs::distribution::{ContinuousCDF, Normal};

fn simulations(usual: usize) -> usize {
    std::env::var("GOLDFISH_AUDIT_SIMULATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

struct Random(Mt64);

impl Random {
    fn unit(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    fn exponential(&mut self) -> f64 {
        -self.unit().ln()
    }

    /// From 1 to 8 probes.
    fn probes(&mut self) -> usize {
        1 + (self.unit() * 8.0) as usize
    }

    /// Outcomes with mean `p`, those of one document with correlation `correlation`: each takes the document's outcome with
    /// probability `sqrt(correlation)`, else its own.
    fn outcomes(&mut self, documents: usize, p: f64, correlation: f64) -> Clusters {
        let mut values = Vec::new();
        for document in 0..documents {
            let shared = self.unit() < p;
            for _ in 0..self.probes() {
                let own = self.unit() < p;
                let outcome = if self.unit() < correlation.sqrt() { shared } else { own };
                values.push((document, f64::from(u8::from(outcome))));
            }
        }
        Clusters::new(values)
    }

    /// Clusters of copies with equal outcomes: of so many clusters as many copies each as `copies` says, with rates that vary between
    /// clusters (beta(1, 3), mean 0.25).
    fn copied(&mut self, clusters: usize, copies: impl Fn(&mut Self) -> usize) -> Clusters {
        let mut values = Vec::new();
        for cluster in 0..clusters {
            let p = 1.0 - self.unit().powf(1.0 / 3.0);
            let outcome = f64::from(u8::from(self.unit() < p));
            values.extend((0..copies(self)).map(|_| (cluster, outcome)));
        }
        Clusters::new(values)
    }

    /// Outcomes of 1 to 8 probes of each cluster, independent but for the rate that they have in common (beta(1, 3), mean 0.25).
    fn varying(&mut self, clusters: usize) -> Clusters {
        let mut values = Vec::new();
        for cluster in 0..clusters {
            let p = 1.0 - self.unit().powf(1.0 / 3.0);
            for _ in 0..self.probes() {
                values.push((cluster, f64::from(u8::from(self.unit() < p))));
            }
        }
        Clusters::new(values)
    }

    /// Skewed values with mean 1, half of whose variance is the document's.
    fn scores(&mut self, documents: usize) -> Vec<(usize, f64)> {
        let mut values = Vec::new();
        for document in 0..documents {
            let shared = self.exponential();
            for _ in 0..self.probes() {
                values.push((document, (shared + self.exponential()) / 2.0));
            }
        }
        values
    }

    /// 0 but for one document in ten: what a model scores that memorized little. Mean 0.05.
    fn rare_scores(&mut self, documents: usize) -> Vec<(usize, f64)> {
        let mut values = Vec::new();
        for document in 0..documents {
            let known = self.unit() < 0.1;
            for _ in 0..self.probes() {
                values.push((document, if known { self.unit() } else { 0.0 }));
            }
        }
        values
    }

    /// Normal values of variance 1, half of it the document's.
    fn normals(&mut self, documents: usize, mean: f64) -> Vec<(usize, f64)> {
        let mut values = Vec::new();
        for document in 0..documents {
            let shared = self.normal();
            for _ in 0..self.probes() {
                values.push((document, mean + (shared + self.normal()) * 0.5f64.sqrt()));
            }
        }
        values
    }
}

/// Runs simulations and holds the share of intervals with the truth in them to a range.
fn covers(what: &str, n: usize, range: (f64, f64), mut simulate: impl FnMut(&mut Random, u64) -> bool) {
    let mut random = Random(Mt64::new(20_240_615));
    let hits = (0..n).filter(|i| simulate(&mut random, *i as u64)).count();
    let coverage = hits as f64 / n as f64;
    println!("{what}: {:.1}% of {n}", 100.0 * coverage);
    assert!((range.0..=range.1).contains(&coverage), "{what}: {coverage}");
}

const BAND: (f64, f64) = (0.93, 0.97);

fn holds(found: &Difference, truth: f64) -> bool {
    found.lower.unwrap() <= truth && truth <= found.upper.unwrap()
}

#[test]
fn rates() {
    for (documents, p, correlation) in
        [(400, 0.05, 0.5), (200, 0.1, 0.3), (100, 0.3, 0.5), (60, 0.2, 0.1), (200, 0.5, 0.9), (200, 0.9, 0.0)]
    {
        let what = format!("rate {p} of {documents} documents, correlation {correlation}");
        covers(&what, simulations(2000), BAND, |random, _| {
            let found = rate(&random.outcomes(documents, p, correlation), RateMethod::Wilson);
            found.lower <= p && p <= found.upper
        });
    }
}

/// Passages in several layouts, whose outcomes are the same; and clusters with rates of their own.
#[test]
fn rates_of_copies() {
    let within = |found: goldfish_audit::stat::Rate| found.lower <= 0.25 && 0.25 <= found.upper;
    let n = simulations(2000);
    covers("rate of 64 passages in 3 copies", n, BAND, |random, _| {
        within(rate(&random.copied(64, |_| 3), RateMethod::Wilson))
    });
    covers("rate of 150 passages in 1 to 8 copies", n, BAND, |random, _| {
        within(rate(&random.copied(150, Random::probes), RateMethod::Wilson))
    });
    covers("rate of 100 clusters with rates of their own", n, BAND, |random, _| {
        within(rate(&random.varying(100), RateMethod::Wilson))
    });
    covers("the same copies, taken for independent", n, (0.0, 0.85), |random, _| {
        let clusters = random.copied(64, |_| 3);
        let (lower, upper) = goldfish_audit::stat::wilson(clusters.total(), clusters.n() as f64, 0.95);
        lower <= 0.25 && 0.25 <= upper
    });
    covers("mean of 64 passages in 3 copies", simulations(1000), BAND, |random, seed| {
        let scores = random.scores(64).into_iter().flat_map(|(cluster, value)| [(cluster, value); 3]);
        let found = Bootstrap { seed, resamples: 600 }.mean(&Clusters::new(scores), None);
        found.lower.unwrap() <= 1.0 && 1.0 <= found.upper.unwrap()
    });
}

/// Corrected for eight groups, all intervals hold their truth at once in 95% of audits.
#[test]
fn corrected_intervals_hold_together() {
    let together = |confidence: f64| {
        move |random: &mut Random, _| {
            (0..8).all(|_| {
                let found = random.outcomes(100, 0.2, 0.3);
                let (_, (lower, upper)) = rate_interval(&found, RateMethod::Wilson, confidence);
                lower <= 0.2 && 0.2 <= upper
            })
        }
    };
    covers("eight rates, corrected", simulations(1000), BAND, together(1.0 - 0.05 / 8.0));
    covers("eight rates, not corrected", simulations(1000), (0.0, 0.75), together(0.95));
}

#[test]
fn exact_intervals_cover_no_less() {
    covers("Clopper-Pearson, rate 0.1", simulations(2000), (0.945, 1.0), |random, _| {
        let found = rate(&random.outcomes(200, 0.1, 0.3), RateMethod::ClopperPearson);
        found.lower <= 0.1 && 0.1 <= found.upper
    });
}

/// What clustering is about: taken for independent, the probes promise too much.
#[test]
fn probes_taken_for_independent_cover_too_little() {
    covers("Wilson without clusters", simulations(2000), (0.0, 0.85), |random, _| {
        let clusters = random.outcomes(200, 0.3, 0.5);
        let (lower, upper) = goldfish_audit::stat::wilson(clusters.total(), clusters.n() as f64, 0.95);
        lower <= 0.3 && 0.3 <= upper
    });
}

#[test]
fn means() {
    // Skewed scores of 30 documents are too few for any of these intervals; the summary says so below 50.
    for (documents, range) in [(30, (0.91, 0.97)), (60, BAND), (100, BAND), (300, BAND)] {
        covers(&format!("mean of {documents} documents"), simulations(1000), range, |random, seed| {
            let values = Clusters::new(random.scores(documents));
            let found = Bootstrap { seed, resamples: 600 }.mean(&values, None);
            found.lower.unwrap() <= 1.0 && 1.0 <= found.upper.unwrap()
        });
    }
    covers("mean of rare scores, 100 documents", simulations(1000), BAND, |random, seed| {
        let values = Clusters::new(random.rare_scores(100));
        let found = Bootstrap { seed, resamples: 600 }.mean(&values, None);
        found.lower.unwrap() <= 0.05 && 0.05 <= found.upper.unwrap()
    });
}

#[test]
fn excesses() {
    covers("excess of means", simulations(1000), BAND, |random, seed| {
        let (first, second) = (Clusters::new(random.scores(120)), Clusters::new(random.scores(60)));
        holds(&Bootstrap { seed, resamples: 600 }.difference(&first, &second, None), 0.0)
    });
    covers("excess of rates", simulations(2000), BAND, |random, _| {
        let (first, second) = (random.outcomes(150, 0.3, 0.4), random.outcomes(80, 0.1, 0.4));
        holds(&excess_rate(&first, &second), 0.2)
    });
}

#[test]
fn paired_differences() {
    covers("paired difference", simulations(1000), BAND, |random, seed| {
        let values = random.scores(80).into_iter().map(|(document, value)| (document, value - 1.0));
        holds(&Bootstrap { seed, resamples: 600 }.paired(&Clusters::new(values), None), 0.0)
    });
}

#[test]
fn areas_under_the_curve() {
    let shift = 0.8;
    let truth = Normal::standard().cdf(shift / 2f64.sqrt());
    covers("area under the ROC curve", simulations(1000), BAND, |random, seed| {
        let (members, others) = (random.normals(100, -shift), random.normals(70, 0.0));
        holds(&auc(&members, &others, &Bootstrap { seed, resamples: 600 }), truth)
    });
}
