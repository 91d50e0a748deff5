//! How far a command is: a bar on a terminal, lines elsewhere.

use std::ops::Deref;
use std::sync::{Mutex, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use goldfish_pipeline::Progress;
use indicatif::{
    BinaryBytes, HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle, WeakProgressBar,
};

use crate::args::{LogFormat, MessageArgs, ProgressOption};
use crate::print::{self, Reached, count};

/// Time between lines where none is given.
const EVERY: Duration = Duration::from_secs(30);

/// The bar of a command.
pub(crate) struct Bar(ProgressBar);

/// What a bar counts.
#[derive(Debug, Clone, Copy)]
enum Unit {
    Bytes,
    /// Things of this name.
    Of(&'static str),
    /// Parts of the whole of this name.
    Share(&'static str),
    /// Nothing: it only waits.
    Nothing,
}

/// The bar that the lines are about.
static CURRENT: Mutex<Option<(WeakProgressBar, Unit)>> = Mutex::new(None);

impl Bar {
    /// Counts bytes.
    pub(crate) fn bytes(length: u64) -> Self {
        Self::new(ProgressBar::new(length), Unit::Bytes)
    }

    /// Counts things of this name.
    pub(crate) fn of(length: u64, things: &'static str) -> Self {
        Self::new(ProgressBar::new(length), Unit::Of(things))
    }

    /// Shows a share of what has this name.
    pub(crate) fn share(length: u64, whole: &'static str) -> Self {
        Self::new(ProgressBar::new(length), Unit::Share(whole))
    }

    /// Waits, and says for what.
    pub(crate) fn waiting(what: &'static str) -> Self {
        let bar = Self::new(ProgressBar::new_spinner().with_message(what), Unit::Nothing);
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }

    fn new(bar: ProgressBar, unit: Unit) -> Self {
        if let Some(template) = unit.template() {
            bar.set_style(
                ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
        }
        let messages = print::messages();
        let MessageArgs { progress, quiet, .. } = messages;
        let every = match progress {
            _ if quiet => None,
            ProgressOption::Never => None,
            ProgressOption::Auto => {
                (bar.is_hidden() || messages.log_format() == LogFormat::Json).then_some(EVERY)
            }
            ProgressOption::Every(every) => Some(every),
        };
        if quiet || every.is_some() || progress == ProgressOption::Never {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Some(every) = every {
            *CURRENT.lock().unwrap_or_else(PoisonError::into_inner) = Some((bar.downgrade(), unit));
            start_lines(every);
        }
        Self(bar)
    }
}

impl Deref for Bar {
    type Target = ProgressBar;

    fn deref(&self) -> &ProgressBar {
        &self.0
    }
}

impl Unit {
    /// What a bar of it shows; a spinner shows what it waits for.
    fn template(self) -> Option<String> {
        match self {
            Self::Bytes => Some(
                "{bar:32} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} eta {eta}  {msg}".into(),
            ),
            Self::Of(things) => Some(format!(
                "{{prefix}}{{bar:32}} {{human_pos}}/{{human_len}} {things}, {{elapsed}} elapsed, eta {{eta}}  {{msg}}"
            )),
            Self::Share(whole) => {
                Some(format!("{{bar:32}} {{percent}}% of {whole}, {{elapsed}} elapsed, eta {{eta}}"))
            }
            Self::Nothing => None,
        }
    }
}

/// Writes a line about the current bar now and then, as long as the program runs.
fn start_lines(every: Duration) {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let lines = move || {
            loop {
                thread::sleep(every);
                let current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let current = current.and_then(|(bar, unit)| Some((bar.upgrade()?, unit)));
                if let Some((bar, unit)) = current.filter(|(bar, _)| !bar.is_finished()) {
                    let reached = reached(&bar);
                    print::progress(&line(&bar, unit, &reached), &reached);
                }
            }
        };
        // Without a thread there are no lines.
        let _ = thread::Builder::new().name("progress".into()).spawn(lines);
    });
}

fn reached(bar: &ProgressBar) -> Reached {
    let length = bar.length().filter(|length| *length > 0);
    let fraction = length.map(|length| (bar.position() as f64 / length as f64).min(1.0));
    Reached { fraction, elapsed: bar.elapsed(), left: bar.eta() }
}

/// What a bar shows, in words.
fn line(bar: &ProgressBar, unit: Unit, reached: &Reached) -> String {
    let (position, length) = (bar.position(), bar.length().unwrap_or_default());
    let percent = reached.fraction.map_or_else(|| "0%".to_owned(), |share| format!("{:.0}%", 100.0 * share));
    let mut parts = match unit {
        Unit::Bytes => vec![
            match length {
                0 => BinaryBytes(position).to_string(),
                _ => format!("{percent} of {}", BinaryBytes(length)),
            },
            format!("{}/s", BinaryBytes(bar.per_sec() as u64)),
        ],
        Unit::Of(things) => vec![format!("{} of {} {things}", HumanCount(position), HumanCount(length))],
        Unit::Share(whole) => vec![format!("{percent} of {whole}")],
        Unit::Nothing => Vec::new(),
    };
    parts.extend(Some(bar.message()).filter(|message| !message.is_empty()));
    parts.push(format!("{} so far", HumanDuration(reached.elapsed)));
    if !reached.left.is_zero() {
        parts.push(format!("about {} left", HumanDuration(reached.left)));
    }
    bar.prefix() + &parts.join(", ")
}

/// Shows the progress of a masking run.
pub(crate) fn show(bar: &Bar, progress: Progress, started: Instant) {
    match progress.bytes_total {
        // Of standard input.
        0 => bar.unset_length(),
        bytes => bar.set_length(bytes),
    }
    bar.set_position(progress.bytes_read);
    let rate = progress.tokens as f64 / started.elapsed().as_secs_f64().max(0.001) / 1e6;
    bar.set_message(format!(
        "{} documents, {} tokens, {rate:.1} Mtok/s",
        count(progress.documents),
        count(progress.tokens)
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_what_bars_show() {
        let reached = |fraction, elapsed, left| Reached {
            fraction,
            elapsed: Duration::from_secs(elapsed),
            left: Duration::from_secs(left),
        };
        let bar = ProgressBar::hidden().with_message("3 documents").with_position(1 << 20);
        bar.set_length(4 << 20);
        let said = line(&bar, Unit::Bytes, &reached(Some(0.25), 95, 7200));
        assert!(said.starts_with("25% of 4.00 MiB, "), "{said}");
        assert!(said.ends_with("/s, 3 documents, 2 minutes so far, about 2 hours left"), "{said}");
        let bar = ProgressBar::hidden().with_prefix("training: ").with_position(1200);
        bar.set_length(5000);
        let said = line(&bar, Unit::Of("steps"), &reached(Some(0.24), 30, 0));
        assert_eq!(said, "training: 1,200 of 5,000 steps, 30 seconds so far");
        let said = line(&bar, Unit::Share("the documents"), &reached(None, 30, 0));
        assert_eq!(said, "training: 0% of the documents, 30 seconds so far");
        let bar = ProgressBar::hidden().with_message("choosing probes");
        assert_eq!(line(&bar, Unit::Nothing, &reached(None, 61, 0)), "choosing probes, 61 seconds so far");
    }
}
