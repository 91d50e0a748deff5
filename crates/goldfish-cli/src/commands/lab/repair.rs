//! `goldfish lab repair`.

use goldfish_lab::{RepairOptions, RepairResults, repair, repair_page_path};
use goldfish_report::RepairPoint;

use crate::args::RepairArgs;
use crate::experiment;
use crate::print::{self, BOLD, count, plural, share};
use crate::terminal;
use crate::verdict::Verdict;

pub(crate) fn run(args: &RepairArgs) -> anyhow::Result<Verdict> {
    let options = RepairOptions {
        model: args.model.clone(),
        shards: args.shards.clone(),
        validation: args.validation.clone(),
        other: args.other.clone(),
        prefix: args.prefix as usize,
        suffix: args.suffix as usize,
        steps: args.steps,
        batch: args.batch as usize,
        every: args.every,
        beta: args.beta,
        temperature: args.temperature,
        keep: args.keep,
        learning_rate: args.lr,
        mask_learning_rate: args.mask_lr,
        sequence_length: args.sequence_length as usize,
        seed: args.seed,
    };
    experiment::run(
        args.threads,
        args.json,
        |stop, observe| repair(&options, &args.method, &args.output, stop, observe),
        |results| table(args, results),
    )
}

fn table(args: &RepairArgs, results: &RepairResults) -> String {
    let mut lines = Vec::new();
    for arm in &results.arms {
        let pairs = arm.pairs.map_or_else(String::new, |(pairs, ties)| {
            format!("; {} and {}", plural(pairs, "pair"), plural(ties, "tie"))
        });
        lines.push(format!(
            "{BOLD}{}{BOLD:#}  {}, {} supervised{pairs}",
            print::path(&args.output.join(&arm.name)),
            plural(arm.steps, "step"),
            plural(arm.supervised_tokens, "token"),
        ));
        let heads = ["step", "tokens", "recited", "", "95% interval", "match", "Rouge-L", "loss"];
        lines.push(terminal::table(0, &heads, &arm.points.iter().map(row).collect::<Vec<_>>()));
    }
    lines.push(format!("Look at {}.", print::path(&repair_page_path(&args.output))));
    lines.join("\n") + "\n"
}

fn row(point: &RepairPoint) -> [String; 8] {
    let rate = &point.recited;
    [
        count(point.step),
        count(point.supervised_tokens),
        format!("{} of {}", count(rate.positives), count(rate.n)),
        share(rate.rate),
        format!("{} to {}", share(rate.lower), share(rate.upper)),
        format!("{:.1}", point.match_length),
        format!("{:.3}", point.rouge_l),
        format!("{:.3}", point.validation_loss),
    ]
}
