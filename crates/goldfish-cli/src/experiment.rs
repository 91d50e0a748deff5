//! How experiments are run, and their progress is shown on a terminal.

use std::sync::atomic::AtomicBool;

use goldfish_lab::{Event, ExperimentError, Observe, TrainEvent};
use serde::Serialize;

use crate::print;
use crate::progress::Bar;
use crate::signals::stop_on_signals;
use crate::threads::use_threads;
use crate::verdict::Verdict;

/// A bar for the current step.
#[derive(Default)]
struct Display {
    what: String,
    bar: Option<Bar>,
}

impl Display {
    fn show(&mut self, event: Event<'_>) {
        match event {
            Event::Step(what) => {
                self.end();
                self.what = what.to_owned();
            }
            Event::Train(TrainEvent::Start { step, steps, .. }) => {
                let bar = self.start(*steps, "steps");
                bar.set_position(*step);
            }
            Event::Train(TrainEvent::Step(step)) => {
                if let Some(bar) = &self.bar {
                    bar.set_position(step.step);
                    bar.set_message(format!("loss {:.3}", step.loss));
                }
            }
            Event::Audit { done, probes } => {
                if self.bar.is_none() {
                    self.start(probes, "probes");
                }
                self.bar.iter().for_each(|bar| bar.set_position(done));
            }
            _ => {}
        }
    }

    fn start(&mut self, length: u64, things: &'static str) -> &Bar {
        self.end();
        let bar = Bar::of(length, things);
        bar.set_prefix(format!("{}: ", self.what));
        self.bar.insert(bar)
    }

    /// Removes the bar.
    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Explains how a stopped experiment resumes: on its own, without `--resume`.
fn explain(error: ExperimentError) -> anyhow::Error {
    if error.stopped() {
        return anyhow::anyhow!("stopped; what was done is kept: run the same command again to resume");
    }
    error.into()
}

/// Runs an experiment on so many threads, shows its progress, and prints its results as JSON or as a table.
pub(crate) fn run<R: Serialize>(
    threads: Option<u16>,
    json: bool,
    experiment: impl FnOnce(&AtomicBool, &mut Observe<'_>) -> Result<R, ExperimentError>,
    table: impl FnOnce(&R) -> String,
) -> anyhow::Result<Verdict> {
    let stop = stop_on_signals()?;
    use_threads(threads)?;
    let results = shown(|observe| experiment(&stop, observe))?;
    if json {
        print::json(&results)?;
    } else {
        print::out(&table(&results))?;
    }
    Ok(Verdict::Clean)
}

/// Runs an experiment, and shows its progress.
pub(crate) fn shown<R>(
    experiment: impl FnOnce(&mut Observe<'_>) -> Result<R, ExperimentError>,
) -> anyhow::Result<R> {
    let mut display = Display::default();
    let results = experiment(&mut |event| display.show(event));
    display.end();
    results.map_err(explain)
}
