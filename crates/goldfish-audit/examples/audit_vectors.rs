//! Scores and statistics for the tests against Python peers: one JSON object a line in, one a line out.

use std::error::Error;
use std::io::{BufRead, Write};

use goldfish_audit::backend::{SamplingScheme, TokenScore, Wants};
use goldfish_audit::score::edit_similarity::{edit_distance, edit_similarity};
use goldfish_audit::score::exact_match::exact_match;
use goldfish_audit::score::extraction::{draws, ln_draws};
use goldfish_audit::score::longest_run::longest_common_run;
use goldfish_audit::score::match_length::match_length;
use goldfish_audit::score::min_k::min_k;
use goldfish_audit::score::positional_accuracy::positional_accuracy;
use goldfish_audit::score::rouge_l::{common_subsequence, rouge_l};
use goldfish_audit::score::rouge_l_words::rouge_l_words;
use goldfish_audit::score::type_token_ratio::type_token_ratio;
use goldfish_audit::score::zlib_ratio::zlib_bytes;
use goldfish_audit::stat::{
    Bootstrap, Clusters, PlanRequest, auc, clopper_pearson, excess_rate, holm, mcnemar, probes_needed,
    rule_of_three, sign_test, signed_rank, t_quantile, wilson,
};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum Question {
    Overlap { g: Vec<u32>, s: Vec<u32> },
    Words { g: String, s: String },
    Rate { k: f64, n: f64, confidence: f64 },
    Draws { log_p_z: f64, p: f64 },
    Mcnemar { pairs: Vec<(u32, bool, bool)> },
    Excess { first: (u32, u32), second: (u32, u32) },
    Plan { rate: f64, confidence: f64, positives: u64 },
    MinK { log_probs: Vec<f64>, share: f64 },
    Auc { members: Vec<f64>, others: Vec<f64> },
    Mean { values: Vec<(u32, f64)>, seed: u64, resamples: usize },
    Token { logits: Vec<f32>, token: u32, temperature: f64, top_k: Option<u32> },
    Zlib { text: String },
    Student { p: f64, freedom: f64 },
    Signs { differences: Vec<f64> },
    Holm { p_values: Vec<f64> },
}

fn overlaps(g: &[u32], s: &[u32]) -> Value {
    let rouge = rouge_l(g, s);
    json!({
        "exact_match": exact_match(g, s),
        "match_length": match_length(g, s),
        "positional_accuracy": positional_accuracy(g, s),
        "common_subsequence": common_subsequence(g, s),
        "rouge_l": [rouge.precision, rouge.recall, rouge.f1],
        "longest_common_run": longest_common_run(g, s),
        "edit_distance": edit_distance(g, s),
        "edit_similarity": edit_similarity(g, s),
        "type_token_ratio": type_token_ratio(g),
    })
}

fn set((positives, n): (u32, u32)) -> Clusters {
    Clusters::new((0..n).map(|i| (i, f64::from(u8::from(i < positives)))))
}

fn answer(question: Question) -> Result<Value, Box<dyn Error>> {
    Ok(match question {
        Question::Overlap { g, s } => overlaps(&g, &s),
        Question::Words { g, s } => {
            let score = rouge_l_words(&g, &s);
            json!([score.precision, score.recall, score.f1])
        }
        Question::Rate { k, n, confidence } => json!({
            "wilson": wilson(k, n, confidence),
            "clopper_pearson": clopper_pearson(k, n, confidence),
            "rule_of_three": rule_of_three(n, confidence),
        }),
        Question::Draws { log_p_z, p } => json!({
            "ln_draws": ln_draws(log_p_z, p),
            "draws": draws(log_p_z, p),
        }),
        Question::Mcnemar { pairs } => json!(mcnemar(pairs)),
        Question::Excess { first, second } => json!(excess_rate(&set(first), &set(second))),
        Question::Plan { rate, confidence, positives } => {
            let request =
                PlanRequest { rate, confidence, positives, probes_per_document: 1.0, correlation: 0.0 };
            json!(probes_needed(&request)?)
        }
        Question::MinK { log_probs, share } => json!(min_k(log_probs, share)),
        Question::Auc { members, others } => {
            let values = |values: Vec<f64>| values.into_iter().enumerate().collect::<Vec<_>>();
            json!(auc(&values(members), &values(others), &Bootstrap::new(0)))
        }
        Question::Mean { values, seed, resamples } => {
            json!(Bootstrap { seed, resamples }.mean(&Clusters::new(values), None))
        }
        Question::Token { logits, token, temperature, top_k } => {
            let wants = Wants {
                moments: true,
                scheme: Some(SamplingScheme { temperature, top_k, top_p: None }),
                candidates: 0,
            };
            let score = TokenScore::from_logits(&logits, token, &wants).ok_or("no such token")?;
            let moments = score.moments.ok_or("moments were asked for")?;
            json!({
                "log_prob": score.log_prob,
                "rank": score.rank,
                "greedy": score.greedy,
                "rival": score.rival,
                "mean": moments.mean,
                "variance": moments.variance,
                "scheme": score.scheme_log_prob,
            })
        }
        Question::Student { p, freedom } => json!(t_quantile(p, freedom)),
        Question::Signs { differences } => json!({
            "signed_rank": signed_rank(&differences),
            "sign_test": sign_test(&differences),
        }),
        Question::Holm { p_values } => json!(holm(&p_values)),
        Question::Zlib { text } => json!(zlib_bytes(&text)),
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        writeln!(output, "{}", answer(serde_json::from_str(&line?)?)?)?;
    }
    Ok(())
}
