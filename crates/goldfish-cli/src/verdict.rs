//! How commands end.

/// How a command ended that could run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Everything as asked: exit code 0.
    Clean,
    /// Done, but rows were rejected, a check found errors or a gate failed: exit code 1.
    Findings,
}
