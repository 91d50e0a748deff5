//! The threads that wait for the network.

use std::future::Future;
use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// How often an answer that breaks off is asked for, in total.
pub(super) const ATTEMPTS: u32 = 5;

/// The threads that wait for the network.
pub(super) fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        // Another part of the program may have chosen one before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(2).thread_name("goldfish-store").enable_all();
        builder.build().map_err(|error| error.to_string())
    });
    made.as_ref().map_err(|reason| io::Error::other(reason.as_str()))
}

/// Waits for an answer.
pub(super) fn wait<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    runtime()?.block_on(future)
}

/// How long to wait before another attempt.
pub(super) fn pause(attempt: u32) -> Duration {
    Duration::from_millis(200) * 2u32.pow(attempt)
}
