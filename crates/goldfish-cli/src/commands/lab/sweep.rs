//! `goldfish lab sweep`.

use goldfish_lab::{
    ARCHITECTURES, SweepCopies, SweepOptions, SweepResults, SweepSelection, page_path, sweep,
};

use crate::args::SweepArgs;
use crate::experiment;
use crate::print::{self, FAINT, count, share};
use crate::terminal;
use crate::verdict::Verdict;

pub(crate) fn run(args: &SweepArgs) -> anyhow::Result<Verdict> {
    let size = if args.quick { SweepOptions::quick() } else { SweepOptions::default() };
    let mut ks = args.k.clone().unwrap_or(size.ks);
    ks.sort_unstable();
    ks.dedup();
    let options = SweepOptions {
        ks,
        passages: args.passages.unwrap_or(size.passages),
        copies: args.copies_each.map_or(size.copies, Into::into),
        background: args.background.unwrap_or(size.background),
        epochs: args.epochs.unwrap_or(size.epochs),
        validation: size.validation,
        seed: args.seed,
    };
    let copies = match args.copies.is_empty() && args.architectures.is_empty() {
        true => SweepCopies::ALL.to_vec(),
        false => args.copies.clone(),
    };
    let architectures = match args.architectures.as_slice() {
        [all] if all == "all" => ARCHITECTURES.iter().map(|kind| kind.name.to_owned()).collect(),
        named => named.to_vec(),
    };
    let selection =
        SweepSelection { copies, architectures, parts: args.parts.clone(), only: args.only.clone() };
    experiment::run(
        args.threads,
        args.json,
        |stop, observe| sweep(&options, &selection, &args.output, stop, observe),
        |results| table(args, results),
    )
}

fn table(args: &SweepArgs, results: &SweepResults) -> String {
    let rows = results.arms.iter().map(|arm| {
        let rate = &arm.exact_match;
        let number = |value: Option<f64>| value.map_or_else(|| "–".into(), |value| format!("{value:.3}"));
        [
            arm.name.clone(),
            format!("{} of {}", count(rate.positives), count(rate.n)),
            share(rate.rate),
            format!("{} to {}", share(rate.lower), share(rate.upper)),
            arm.match_length.mean.map_or_else(|| "–".into(), |mean| format!("{mean:.1}")),
            number(arm.rouge_l.mean),
            number(arm.validation.last().map(|(_, loss)| *loss)),
        ]
    });
    let heads = ["arm", "recited", "", "95% interval", "match", "Rouge-L", "loss"];
    let mut lines = vec![terminal::lines(&heads, &rows.collect::<Vec<_>>())];
    if !results.missing.is_empty() {
        lines.push(format!("{FAINT}not trained yet: {}{FAINT:#}", results.missing.join(", ")));
    }
    lines.push(format!("Look at {}.", print::path(&page_path(&args.output))));
    lines.join("\n") + "\n"
}
