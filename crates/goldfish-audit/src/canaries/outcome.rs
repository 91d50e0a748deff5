//! What the losses of a plan's passages say.

use goldfish_shard::ToolEntry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::plan::Opened;
use super::score::Losses;
use crate::backend::ModelDescription;
use crate::selftest::SelfTest;
use crate::stat::{Bootstrap, Clusters, Mean, chance_exposure, exposure, holm, sign_test, signed_rank};

/// Version of the result.
const RESULT_VERSION: u32 = 1;

/// What a model was asked with, beside the passages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The program.
    pub tool: ToolEntry,
    /// The model.
    pub model: ModelDescription,
    /// SHA-256 of the tokenizer's file.
    pub tokenizer: String,
    /// The token before every passage, if any.
    pub bos: Option<u32>,
    /// How the model answered test questions.
    pub self_test: SelfTest,
}

/// The result of a test: whether a model knows planted passages better than their twins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CanaryResult {
    /// Version of the result.
    pub result_version: u32,
    /// SHA-256 of the plan's file.
    pub plan: String,
    /// What the model was asked with.
    pub asked: Asked,
    /// The test over all pairs: its p-value is the result.
    pub all: CanaryTest,
    /// The test for each number of repetitions, in the order of the plan.
    pub repetitions: Vec<Repeated>,
    /// The mean exposure in bits if a planted passage is as likely as any other.
    pub chance_exposure: f64,
    /// The exposure in bits of a passage with a lower loss than all held-out ones: the highest that can be seen.
    pub highest_exposure: f64,
    /// Each pair, in the order of the plan.
    pub pairs: Vec<PairResult>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// A test of some pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CanaryTest {
    /// Pairs.
    pub pairs: u64,
    /// Pairs whose planted passage has the lower loss.
    pub lower: u64,
    /// Their share.
    pub share: f64,
    /// One-sided exact p-value of Wilcoxon's signed-rank test of the differences of the losses.
    pub p_value: f64,
    /// One-sided exact p-value of the sign test, which doesn't weigh the differences.
    pub sign_test: f64,
    /// The loss of the held-out passage less that of the planted one, in nats a token.
    pub loss_difference: Mean,
    /// Exposure of the planted passages among all held-out ones, in bits.
    pub exposure: Mean,
}

/// The test of the pairs of one number of repetitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Repeated {
    /// How often the planted passages are repeated.
    pub repetitions: u32,
    /// The test.
    pub test: CanaryTest,
    /// Its p-value, adjusted for the number of such tests (Holm).
    pub adjusted_p_value: f64,
}

/// A pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PairResult {
    /// Its number in the plan.
    pub number: u32,
    /// How often the planted passage is repeated.
    pub repetitions: u32,
    /// Loss of the planted passage, in nats a token.
    pub planted_loss: f64,
    /// Loss of the held-out passage, in nats a token.
    pub held_out_loss: f64,
    /// Exposure of the planted passage, in bits.
    pub exposure: f64,
}

impl CanaryTest {
    fn new(pairs: &[&PairResult]) -> Self {
        let differences: Vec<f64> = pairs.iter().map(|pair| pair.held_out_loss - pair.planted_loss).collect();
        let lower = differences.iter().filter(|difference| **difference > 0.0).count();
        let bootstrap = Bootstrap::new(0);
        let mean =
            |values: &mut dyn Iterator<Item = f64>| bootstrap.mean(&Clusters::new(values.enumerate()), None);
        Self {
            pairs: pairs.len() as u64,
            lower: lower as u64,
            share: lower as f64 / pairs.len().max(1) as f64,
            p_value: signed_rank(&differences),
            sign_test: sign_test(&differences),
            loss_difference: mean(&mut differences.iter().copied()),
            exposure: mean(&mut pairs.iter().map(|pair| pair.exposure)),
        }
    }
}

impl CanaryResult {
    /// Compares the losses of planted passages with those of their twins. `losses` has one entry for each pair of the plan.
    #[must_use]
    pub fn new(opened: &Opened, asked: Asked, losses: &Losses) -> Self {
        let plan = &opened.plan;
        let pairs = || plan.pairs.iter().zip(&losses.0);
        let mut others: Vec<f64> = pairs().map(|(pair, twins)| twins[1 - pair.planted as usize]).collect();
        let held_out_loss = others.iter().sum::<f64>() / others.len().max(1) as f64;
        others.sort_by(f64::total_cmp);
        let results: Vec<PairResult> = pairs()
            .map(|(pair, twins)| {
                let planted_loss = twins[pair.planted as usize];
                PairResult {
                    number: pair.number,
                    repetitions: pair.repetitions,
                    planted_loss,
                    held_out_loss: twins[1 - pair.planted as usize],
                    exposure: exposure(planted_loss, &others),
                }
            })
            .collect();
        let groups = plan.settings.repetitions.iter().map(|repetitions| {
            let of_group = results.iter().filter(|pair| pair.repetitions == *repetitions);
            (*repetitions, CanaryTest::new(&of_group.collect::<Vec<_>>()))
        });
        let groups: Vec<(u32, CanaryTest)> = groups.collect();
        let adjusted = holm(&groups.iter().map(|(_, test)| test.p_value).collect::<Vec<f64>>());
        let repetitions = groups.into_iter().zip(adjusted);
        Self {
            result_version: RESULT_VERSION,
            plan: opened.digest.clone(),
            all: CanaryTest::new(&results.iter().collect::<Vec<_>>()),
            repetitions: repetitions
                .map(|((repetitions, test), adjusted_p_value)| Repeated {
                    repetitions,
                    test,
                    adjusted_p_value,
                })
                .collect(),
            chance_exposure: chance_exposure(others.len() + 1),
            highest_exposure: ((others.len() + 1) as f64).log2(),
            notes: notes(&asked, results.len(), held_out_loss),
            pairs: results,
            asked,
        }
    }
}

/// Fewer pairs than this can't give a p-value below 0.001.
const FEW_PAIRS: usize = 10;

fn notes(asked: &Asked, pairs: usize, held_out_loss: f64) -> Vec<String> {
    let mut notes = asked.self_test.notes();
    if pairs < FEW_PAIRS {
        notes.push(format!(
            "{pairs} pairs can give no p-value below {:.1e}; plant more of them",
            0.5f64.powi(pairs as i32)
        ));
    }
    let uniform = asked.model.vocab_size.map(|size| f64::from(size).ln());
    if let Some(uniform) = uniform.filter(|uniform| held_out_loss > *uniform) {
        notes.push(format!(
            "held-out passages have a loss of {held_out_loss:.2} nats a token, and guessing at random has {uniform:.2}; \
             is it the model's own tokenizer? With another one the test finds nothing"
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_64;

    use crate::canaries::plan::{Drawn, Settings};
    use crate::stat::{sign_test, signed_rank};

    /// The largest distance between the distribution of some values and the uniform one (Kolmogorov and Smirnov).
    fn distance_from_uniform(mut values: Vec<f64>) -> f64 {
        values.sort_by(f64::total_cmp);
        let n = values.len() as f64;
        let distance = |(i, value): (usize, &f64)| (value - i as f64 / n).max((i + 1) as f64 / n - value);
        values.iter().enumerate().map(distance).fold(0.0, f64::max)
    }

    fn uniform(bytes: &[u8]) -> f64 {
        (xxh3_64(bytes) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// p-values of the signed-rank test and of the sign test for many seeds, if training lowers a loss by `effect`.
    fn p_values(effect: f64) -> [Vec<f64>; 2] {
        let words: Vec<String> = (0..256).map(|word| format!("word{word:03}")).collect();
        let (mut ranks, mut signs) = (Vec::new(), Vec::new());
        for seed in 0..1000 {
            let seed = format!("seed {seed}");
            let settings = Settings { seed: seed.clone(), pairs: 30, repetitions: vec![1, 8], words: 16 };
            let drawn = Drawn::new(settings, words.clone()).unwrap();
            // Any function of a passage is the loss of a model that it left no trace in; this one has heavy tails.
            let loss = |passage: &str| 1.0 / (1.001 - uniform(passage.as_bytes()));
            let pairs = drawn.pairs.iter();
            let differences: Vec<f64> =
                pairs.map(|pair| loss(pair.held_out()) - loss(pair.planted()) + effect).collect();
            ranks.push(signed_rank(&differences));
            // Few values of the sign test are possible: a random point of the step to the next smaller one is uniform.
            let at_least = |positive: usize| {
                let sign = |i| if i < positive { 1.0 } else { -1.0 };
                sign_test(&(0..differences.len()).map(sign).collect::<Vec<f64>>())
            };
            let positive = differences.iter().filter(|difference| **difference > 0.0).count();
            let p = sign_test(&differences);
            assert!((p - at_least(positive)).abs() < 1e-12);
            let next = if positive == differences.len() { 0.0 } else { at_least(positive + 1) };
            signs.push(p - uniform(seed.as_bytes()) * (p - next));
        }
        [ranks, signs]
    }

    #[test]
    fn p_values_of_untrained_models_are_uniform() {
        // 1% of all samples of 1,000 uniform values are further away: Smirnov's asymptotic 1.628 / sqrt(n).
        let critical = 1.628 / 1000f64.sqrt();
        for p_values in p_values(0.0) {
            let distance = distance_from_uniform(p_values);
            assert!(distance < critical, "{distance}");
        }
        for p_values in p_values(0.1) {
            assert!(distance_from_uniform(p_values) > critical, "a small effect is seen");
        }
    }
}
