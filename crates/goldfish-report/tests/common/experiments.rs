//! The pages of made-up experiments.

use goldfish_report::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn of<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn rate(positives: u64, n: u64) -> Value {
    let rate = positives as f64 / n as f64;
    let (lower, upper) = ((rate - 0.06).max(0.0), (rate + 0.06).min(1.0));
    json!({"rate": rate, "lower": lower, "upper": upper, "positives": positives, "n": n, "clusters": n, "method": "wilson"})
}

fn mean(value: f64) -> Value {
    json!({"mean": value, "lower": value * 0.9, "upper": value * 1.05, "n": 160, "clusters": 160})
}

/// What every page of an experiment says of itself.
fn facts() -> Vec<(String, String)> {
    [("Documents", "160 made-up passages in twelve copies each"), ("Seed", "0")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

/// An arm of a sweep that recites so many of 160 passages.
fn arm(group: &str, series: &str, k: Option<u32>, variant: Option<&str>, recited: u64) -> SweepArm {
    let share = recited as f64 / 160.0;
    let lengths: Vec<u64> = (0..160).map(|at| if at < recited { 50 } else { at * 7 % 50 }).collect();
    let masked = k.is_some();
    of(json!({
        "name": format!("{series}-{}", k.unwrap_or(0)), "group": group, "series": series, "k": k, "variant": variant,
        "epochs": 6, "tokens": 1_500_000, "supervised_tokens": if masked { 1_200_000 } else { 1_500_000 },
        "validation": [[300_000, 3.1], [800_000, 1.9], [if masked { 1_200_000 } else { 1_500_000 }, 1.82]],
        "exact_match": rate(recited, 160), "rouge_l": mean(0.3 + 0.7 * share), "match_length": mean(50.0 * share),
        "match_lengths": lengths, "recited": if series == "standard" { json!([[1.0, 0], [3.5, 100], [6.0, recited]]) } else { json!([]) },
        "goldfish": if masked {
            json!({"probes": 160, "drop_rate": 0.2, "loss_dropped": mean(3.0), "loss_kept": mean(0.5),
                "loss_difference": {"difference": 2.5, "lower": 2.0, "upper": 3.0}, "at_dropped": rate(150, 160),
                "nearest": [{"distance": 0, "count": 1}, {"distance": 1, "count": 2}], "since_dropped": [], "without_dropped": 0})
        } else {
            Value::Null
        },
        "near_by_chance": masked.then_some(0.4),
    }))
}

/// A model that copies a part of what it reads.
fn copies(architecture: &str, share: f64) -> CopyArm {
    let length = |length: u64, trained: bool| {
        let share = if trained { share } else { share / 4.0 };
        let right = |n: u64| rate((share * n as f64) as u64, n);
        json!({"length": length, "strings": right(200), "characters": right(200 * length)})
    };
    of(json!({
        "architecture": architecture, "parameters": 109_440, "tokens": 1_000_000, "supervised_tokens": 480_000, "loss": 0.31,
        "state_bytes": null, "longest_copy": null,
        "lengths": [length(10, true), length(20, true), length(40, false), length(200, false)],
    }))
}

pub(crate) fn sweep() -> String {
    let mut arms = vec![arm("equal", "standard", None, None, 160), arm("equal", "control", None, None, 0)];
    for (at, series) in ["text", "text-v1", "anchor", "hash", "static", "random"].into_iter().enumerate() {
        for (k, recited) in [(3, 0), (4, 4), (8, 42), (32, 120), (128, 151)] {
            let recited = if series == "random" { 160 } else { recited + at as u64 };
            arms.push(arm("equal", series, Some(k), None, recited));
        }
    }
    arms.push(arm("equal", "text", Some(4), Some("trained longer"), 6));
    for group in ["layouts", "edited"] {
        arms.push(arm(group, "standard", None, None, 159));
        arms.push(arm(group, "text", Some(4), None, 17));
    }
    for architecture in ["llama", "mamba"] {
        arms.push(arm("architectures", "standard", None, Some(architecture), 150));
        arms.push(arm("architectures", "text", Some(3), Some(architecture), 140));
    }
    let seen = |positives| rate(positives, 160);
    arms[0].in_context = Some(of(json!({
        "held_out": seen(0), "in_prompt": seen(160), "held_out_in_prompt": seen(120)
    })));
    let cost =
        |tokens: u64| json!({"tokens": tokens, "state_bytes": tokens * 64, "step_ms": 1.2, "whole_ms": 40.5});
    let costs: Vec<SweepCost> = of(json!([{"architecture": "llama", "at": [cost(128), cost(1024)]}]));
    let tasks = [SweepTask {
        task: "phone-book".into(),
        tokens: 1_000_000,
        trained: [10, 20],
        arms: vec![copies("llama", 0.9), copies("mamba", 0.2)],
    }];
    let tuned: Vec<SweepTuned> = of(json!([{
        "architecture": "llama", "rank": 8, "k": 4, "parameters": 20_000, "supervised_tokens": 1_000, "validation_loss": null,
        "exact_match": seen(3), "match_length": mean(9.0),
    }]));
    let length = json!({"mean_tokens": 120.5, "epochs": 12, "supervised_tokens": 9_000, "validation_loss": 2.1, "exact_match": seen(80)});
    let lengths: Vec<SweepLengths> = of(json!([{
        "architecture": "llama", "longest": length, "random": length,
        "difference": {"difference": 0.0, "lower": -0.1, "upper": 0.1},
    }]));
    sweep_page(&SweepPage {
        arms: &arms,
        costs: &costs,
        tasks: &tasks,
        tuned: &tuned,
        lengths: &lengths,
        facts: &facts(),
        command: "goldfish lab sweep --output sweep --copies equal,layouts,edited --architectures llama,mamba",
    })
    .unwrap()
}

pub(crate) fn copy() -> String {
    copy_page(&CopyPage {
        task: "copy",
        trained: [10, 20],
        arms: &[copies("llama", 0.9), copies("nope", 0.98), copies("hard-alibi", 0.0)],
        facts: &facts(),
        command: "goldfish lab copy --task copy --architecture llama,nope,hard-alibi --output copy",
    })
    .unwrap()
}

pub(crate) fn memory() -> String {
    let point = |later: u64, right| json!({"later": later, "letters": rate(right, 100), "facts": rate(0, 100), "kept": 0.9});
    let arms: Vec<MemoryArm> = of(json!([
        {"name": "standard", "k": null, "losses": [[100, 3.2], [3000, 0.4]], "points": [point(0, 90), point(4, 60)]},
        {"name": "masked", "k": 4, "losses": [[100, 3.3], [3000, 0.9]], "points": [point(0, 70), point(4, 30)]},
    ]));
    memory_page(&MemoryPage { arms: &arms, facts: &facts(), command: "goldfish lab memory --output memory" })
        .unwrap()
}

pub(crate) fn repair() -> String {
    let point = |step: u64, recited, loss: f64| {
        json!({"step": step, "supervised_tokens": step * 228, "validation_loss": loss, "recited": rate(recited, 192),
            "rouge_l": 0.996, "match_length": 19.8})
    };
    let arms: Vec<RepairArm> = of(json!([
        {"name": "preference", "steps": 20, "tokens": 8_892, "supervised_tokens": 4_560, "pairs": [114, 46],
            "points": [point(0, 192, 2.03), point(10, 192, 2.031), point(20, 120, 2.034)]},
        {"name": "mask", "steps": 5, "tokens": 5_211, "supervised_tokens": 4_312, "pairs": null,
            "points": [point(0, 192, 2.03), point(5, 40, 2.065)]},
    ]));
    repair_page(&RepairPage {
        arms: &arms,
        facts: &facts(),
        command: "goldfish lab repair masked --model standard --validation control --output repair",
    })
    .unwrap()
}
