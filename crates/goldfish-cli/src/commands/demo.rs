//! `goldfish demo`.

use goldfish_audit::stat::Rate;
use goldfish_lab::{Demo, DemoOptions, comparison, demo};

use crate::args::DemoArgs;
use crate::experiment;
use crate::print::{self, BOLD, FAINT, count, share};
use crate::verdict::Verdict;

pub(crate) fn run(args: &DemoArgs) -> anyhow::Result<Verdict> {
    let options = DemoOptions { passages: args.passages, epochs: args.epochs, seed: args.seed };
    experiment::run(
        args.threads,
        args.json,
        |stop, observe| demo(&options, &args.output, stop, observe),
        |made| table(args, made),
    )
}

fn table(args: &DemoArgs, demo: &Demo) -> String {
    let line = |name: &str, rate: &Rate| {
        format!(
            "  {name:22} {:>3} of {:>3} recited token for token, {:>7}  {FAINT}{} to {}{FAINT:#}",
            count(rate.positives),
            count(rate.n),
            share(rate.rate),
            share(rate.lower),
            share(rate.upper)
        )
    };
    let Demo { standard, goldfish, control } = demo;
    let mut lines = vec![
        format!(
            "{BOLD}{}{BOLD:#}  {} passages, trained on in 3 layouts; given 50 tokens of the plain one, does a model continue with the next 50?",
            print::path(&args.output),
            count(args.passages)
        ),
        line("standard loss", &standard.scores.exact_match),
        line("goldfish loss, k 4", &goldfish.scores.exact_match),
        line("passages never seen", &control.scores.exact_match),
    ];
    if let Some(masks) = &goldfish.goldfish {
        lines.push(format!(
            "The goldfish model leaves the text at a dropped token in {} of {} passages.",
            count(masks.at_dropped.positives),
            count(masks.at_dropped.n)
        ));
    }
    lines.push(format!(
        "Look at {}; more pages are in the same folder.",
        print::path(&comparison(&args.output))
    ));
    lines.join("\n") + "\n"
}
