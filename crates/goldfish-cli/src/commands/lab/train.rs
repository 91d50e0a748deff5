//! `goldfish lab train`.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use goldfish_lab::{
    Documents, LabError, Length, LoraOptions, ModelOptions, OptimizerOptions, TrainEvent, TrainOptions,
    Trained, train,
};

use crate::args::TrainArgs;
use crate::print::{self, BOLD, plural};
use crate::progress::Bar;
use crate::signals::stop_on_signals;
use crate::threads::use_threads;
use crate::verdict::Verdict;

pub(crate) fn run(args: &TrainArgs) -> anyhow::Result<Verdict> {
    let stop = stop_on_signals()?;
    use_threads(args.threads)?;
    let mut progress = Progress { bar: Bar::of(0, "steps"), started: Instant::now(), tokens: 0 };
    let done = train(&options(args), &args.output, args.resume, &mut |event| progress.show(event, &stop));
    progress.bar.finish_and_clear();
    let trained = done.map_err(|error| match error {
        LabError::Stopped { .. } => print::advised(
            anyhow::anyhow!("{error}:"),
            vec![format!("  {}", print::resume_command(std::env::args_os()))],
        ),
        error => error.into(),
    })?;
    if args.json {
        print::json(&trained)?;
    } else {
        print::out(&summary(args, &trained, &progress))?;
    }
    Ok(Verdict::Clean)
}

fn options(args: &TrainArgs) -> TrainOptions {
    TrainOptions {
        shards: args.shards.clone(),
        documents: documents(args),
        validation: args.validation.clone(),
        recite: args.recite.clone(),
        tokenizer: args.tokenizer.clone(),
        vocab_size: args.vocab_size,
        model: ModelOptions {
            architecture: args.arch.clone(),
            layers: args.layers,
            width: args.width,
            heads: args.heads,
            kv_heads: args.kv_heads,
            mlp_width: args.mlp_width,
            context_length: args.context_length,
            tied: args.tied,
            initial_deviation: args.initial_deviation,
            sizes: args.size.iter().cloned().collect(),
        },
        from: args.from.clone(),
        lora: args.lora_rank.map(|rank| LoraOptions {
            rank,
            alpha: args.lora_alpha,
            targets: args.lora_targets.clone(),
        }),
        use_mask: !args.ignore_mask,
        sequence_length: args.sequence_length,
        batch_size: args.batch,
        length: match args.steps {
            Some(steps) => Length::Steps(steps),
            None => Length::Epochs(args.epochs.unwrap_or(1)),
        },
        optimizer: OptimizerOptions {
            learning_rate: args.lr,
            warmup: args.warmup,
            weight_decay: args.weight_decay,
            clip: args.clip,
            ..OptimizerOptions::default()
        },
        seed: args.seed,
        checkpoint_every: args.checkpoint_every,
        validate_every: args.validate_every,
        ..TrainOptions::default()
    }
}

fn documents(args: &TrainArgs) -> Documents {
    match (args.longest, args.random, args.random_as_longest) {
        (Some(count), ..) => Documents::Longest(count),
        (_, Some(count), _) => Documents::Random(count),
        (.., Some(count)) => Documents::RandomAsLongest(count),
        _ => Documents::All,
    }
}

struct Progress {
    bar: Bar,
    started: Instant,
    /// Tokens of this process's steps.
    tokens: u64,
}

impl Progress {
    fn show(&mut self, event: &TrainEvent, stop: &AtomicBool) -> ControlFlow<()> {
        match event {
            TrainEvent::Start { step, steps, .. } => {
                self.bar.set_length(*steps);
                // The steps of an earlier process say nothing about the speed of this one.
                self.bar.set_position(*step);
                self.bar.reset_eta();
                self.started = Instant::now();
            }
            TrainEvent::Step(step) => {
                self.tokens += step.tokens;
                self.bar.set_position(step.step);
                self.bar.set_message(format!("loss {:.3}, {:.0} tokens/s", step.loss, self.speed()));
            }
            _ => {}
        }
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn speed(&self) -> f64 {
        self.tokens as f64 / self.started.elapsed().as_secs_f64()
    }
}

fn summary(args: &TrainArgs, trained: &Trained, progress: &Progress) -> String {
    let mut lines = vec![format!(
        "{BOLD}{}{BOLD:#}  {}, {}, {} of them supervised",
        print::path(&args.output),
        plural(trained.parameters, "parameter"),
        plural(trained.tokens, "token"),
        print::percent(trained.supervised_tokens, trained.tokens),
    )];
    lines.push(format!(
        "loss {:.4} over the last tenth of {}{}",
        trained.loss,
        plural(trained.steps, "step"),
        trained
            .validation_loss
            .map_or_else(String::new, |loss| format!(", {loss:.4} on the validation shards")),
    ));
    if progress.tokens > 0 {
        lines.push(format!("{:.0} tokens/s", progress.speed()));
    }
    let shards = args.shards.iter().map(|shards| shards.to_string_lossy().into_owned());
    let audit = ["goldfish", "audit"].map(str::to_owned).into_iter().chain(shards);
    let output = args.output.to_string_lossy().into_owned();
    let model = match (&args.from, args.lora_rank) {
        (Some(from), Some(_)) => {
            let from = from.to_string_lossy().into_owned();
            vec!["--model".to_owned(), from, "--adapter".to_owned(), output]
        }
        _ => vec!["--model".to_owned(), output],
    };
    let audit = audit.chain(model);
    let audit = audit.chain(["--output".to_owned(), "run".to_owned()]);
    lines.push(format!("what does it recite?\n  {}", print::shell_line(audit)));
    lines.join("\n") + "\n"
}
