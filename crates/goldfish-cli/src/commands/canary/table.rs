//! What `goldfish canary test` prints.

use std::fmt::Write;
use std::path::Path;

use goldfish_audit::canaries::{CanaryResult, CanaryTest, Plan};
use goldfish_audit::stat::Mean;

use crate::print::{BOLD, FAINT, count, name, path, plural, share};
use crate::terminal;

/// The result as a table.
pub(crate) fn report(folder: &Path, plan: &Plan, result: &CanaryResult) -> String {
    let model = &result.asked.model;
    let mut text = format!(
        "{BOLD}{}{BOLD:#}  {} ({}), {} of passages of {} words\n\n",
        path(folder),
        name(&model.name),
        name(&model.backend),
        plural(result.all.pairs, "pair"),
        plan.settings.words,
    );
    let heads =
        ["repetitions", "planted twin has the lower loss", "p-value", "adjusted", "nats a token", "exposure"];
    let groups = result.repetitions.iter().map(|group| {
        let adjusted = p_value(group.adjusted_p_value);
        row(count(group.repetitions.into()), &group.test, adjusted)
    });
    let rows: Vec<[String; 6]> = groups.chain([row("all".into(), &result.all, String::new())]).collect();
    text += &terminal::table(2, &heads, &rows);
    let _ = writeln!(
        text,
        "\n  A model that learned nothing from the planted passages gives so small a p-value over all pairs with probability {}.",
        p_value(result.all.p_value),
    );
    let _ = writeln!(
        text,
        "  {FAINT}Exact signed-rank tests, one-sided; adjusted for {} (Holm). Means with 95% intervals. Exposure in bits: {:.2} by chance, {:.2} at most.{FAINT:#}",
        plural(result.repetitions.len() as u64, "group"),
        result.chance_exposure,
        result.highest_exposure,
    );
    let _ = writeln!(text, "  {FAINT}plan {}{FAINT:#}", name(&result.plan));
    text
}

fn row(label: String, test: &CanaryTest, adjusted: String) -> [String; 6] {
    let lower = format!("{} of {} ({})", count(test.lower), count(test.pairs), share(test.share));
    [label, lower, p_value(test.p_value), adjusted, mean(&test.loss_difference), mean(&test.exposure)]
}

fn p_value(p: f64) -> String {
    if p < 0.001 { format!("{p:.1e}") } else { format!("{p:.3}") }
}

fn mean(mean: &Mean) -> String {
    let Some(value) = mean.mean else { return "–".into() };
    let interval = mean.lower.zip(mean.upper);
    let interval = interval.map(|(lower, upper)| format!(" [{lower:.2}, {upper:.2}]"));
    format!("{value:.2}{}", interval.unwrap_or_default())
}
