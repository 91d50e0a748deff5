//! How an experiment's progress is shown on a terminal.

use goldfish_lab::{Event, ExperimentError, TrainEvent};
use indicatif::ProgressBar;

use crate::print;

const STEPS: &str = "{prefix}  {bar:24} step {human_pos}/{human_len}  {msg}";
const PROBES: &str = "{prefix}  {bar:24} probe {human_pos}/{human_len}";

/// A bar for the current step.
#[derive(Default)]
pub(crate) struct Display {
    what: String,
    bar: Option<ProgressBar>,
}

impl Display {
    pub(crate) fn show(&mut self, event: Event<'_>) {
        match event {
            Event::Step(what) => {
                self.end();
                self.what = what.to_owned();
            }
            Event::Train(TrainEvent::Start { step, steps, .. }) => {
                let bar = self.start(*steps, STEPS);
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
                    self.start(probes, PROBES);
                }
                self.bar.iter().for_each(|bar| bar.set_position(done));
            }
            _ => {}
        }
    }

    fn start(&mut self, length: u64, template: &str) -> &ProgressBar {
        self.end();
        let bar = print::progress_bar(length, template);
        bar.set_prefix(self.what.clone());
        self.bar.insert(bar)
    }

    /// Removes the bar.
    pub(crate) fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Explains how a stopped experiment resumes: on its own, without `--resume`.
pub(crate) fn explain(error: ExperimentError) -> anyhow::Error {
    if error.stopped() {
        return anyhow::anyhow!("stopped; what was done is kept: run the same command again to resume");
    }
    error.into()
}
