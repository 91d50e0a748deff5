//! The progress of a masking run.

use goldfish_pipeline::Progress;
use indicatif::ProgressBar;

use crate::print::count;

/// What the progress bar shows.
pub(crate) const PROGRESS: &str =
    "{bar:32} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} eta {eta}  {msg}";

pub(crate) fn show(bar: &ProgressBar, progress: Progress, started: std::time::Instant) {
    bar.set_length(progress.bytes_total);
    bar.set_position(progress.bytes_read);
    let rate = progress.tokens as f64 / started.elapsed().as_secs_f64().max(0.001) / 1e6;
    bar.set_message(format!(
        "{} documents, {} tokens, {rate:.1} Mtok/s",
        count(progress.documents),
        count(progress.tokens)
    ));
}
