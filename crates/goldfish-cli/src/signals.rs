//! Signals that stop a run.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A flag that SIGINT (Ctrl-C) and SIGTERM set. A second signal ends the program at once, which loses nothing either.
pub(crate) fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 2, stop.clone())?;
        signal_hook::flag::register(signal, stop.clone())?;
    }
    Ok(stop)
}
