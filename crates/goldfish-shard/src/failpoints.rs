//! Disk operations that fail when a test says so.

use std::io;
use std::sync::Mutex;

/// What follows an operation that was made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The next ones succeed: one error of the disk.
    Recovers,
    /// All that follow fail too, as if the process had ended here.
    Ends,
}

struct State {
    armed: Option<(u64, Then)>,
    /// What was done since then.
    seen: Vec<String>,
    failed: Option<String>,
}

static STATE: Mutex<State> = Mutex::new(State { armed: None, seen: Vec::new(), failed: None });

fn state() -> std::sync::MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Makes operation `number` (from 0) from now on fail.
pub fn arm(number: u64, then: Then) {
    *state() = State { armed: Some((number, then)), seen: Vec::new(), failed: None };
}

/// Lets every operation succeed again; returns the name of the one that failed, if it came so far.
pub fn disarm() -> Option<String> {
    let mut state = state();
    state.armed = None;
    state.failed.take()
}

/// The names of the operations since [`arm`], in order, up to [`disarm`].
pub fn operations() -> Vec<String> {
    state().seen.clone()
}

pub(crate) fn hit(operation: &str) -> io::Result<()> {
    let mut state = state();
    let Some((number, then)) = state.armed else { return Ok(()) };
    let seen = state.seen.len() as u64;
    state.seen.push(operation.to_owned());
    if seen == number {
        state.failed = Some(operation.to_owned());
    }
    if seen == number || (seen > number && then == Then::Ends) {
        return Err(io::Error::other(format!("made to fail: {operation} {seen}")));
    }
    Ok(())
}
