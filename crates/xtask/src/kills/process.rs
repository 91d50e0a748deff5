//! Runs the program, optionally under ptrace with a failure injected at a call that changes the file system.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::kills::calls::{Call, Entry};

/// What is injected at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub(crate) enum Failure {
    /// Kill the process before the call.
    #[value(name = "kill")]
    Kill,
    /// Fail the call as on a broken disk.
    #[value(name = "EIO")]
    Eio,
    /// Fail the call as on a full disk.
    #[value(name = "ENOSPC")]
    Enospc,
}

impl Failure {
    pub(crate) const ALL: [Self; 3] = [Self::Kill, Self::Eio, Self::Enospc];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Eio => "EIO",
            Self::Enospc => "ENOSPC",
        }
    }
}

/// How to start the program.
pub(crate) struct Invocation<'a> {
    pub(crate) program: &'a Path,
    pub(crate) arguments: &'a [String],
    /// Its working folder, as a canonical path.
    pub(crate) folder: &'a Path,
    /// The folder of its log.
    pub(crate) log_folder: &'a Path,
    /// Its time limit.
    pub(crate) limit: Duration,
}

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// `None` after a signal.
    pub(crate) code: Option<i32>,
    pub(crate) timed_out: bool,
    pub(crate) stderr: String,
    /// The calls that changed something below the working folder, including the one at which it was killed.
    pub(crate) calls: Vec<Call>,
}

impl Outcome {
    pub(crate) fn describe(&self) -> String {
        match (self.timed_out, self.code) {
            (true, _) => "took too long".into(),
            (_, Some(code)) => format!("exit code {code}"),
            (_, None) => "killed by a signal".into(),
        }
    }
}

impl Invocation<'_> {
    /// Runs without a tracer.
    pub(crate) fn run(&self) -> anyhow::Result<Outcome> {
        let mut child = self.command(self.program, &[])?.spawn().context("starting the program")?;
        let started = Instant::now();
        let mut pause = Duration::from_millis(1);
        let (status, timed_out) = loop {
            if let Some(status) = child.try_wait()? {
                break (status, false);
            }
            if started.elapsed() > self.limit {
                child.kill()?;
                break (child.wait()?, true);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        };
        Ok(Outcome { code: status.code(), timed_out, stderr: self.stderr()?, calls: Vec::new() })
    }

    /// Runs under ptrace; injects a failure at the call with this number, counted from 1.
    pub(crate) fn trace(&self, injection: Option<(usize, Failure)>) -> anyhow::Result<Outcome> {
        // The shell stops until it is traced, so that no call goes unseen.
        let mut command = self.command(Path::new("/bin/sh"), &["-c", "kill -STOP $$; exec \"$@\"", "sh"])?;
        let child = command.spawn().context("starting the program")?;
        let main = Pid::from_raw(child.id() as i32);
        let stopped = waitpid(main, Some(WaitPidFlag::WUNTRACED))?;
        if !matches!(stopped, WaitStatus::Stopped(..)) {
            bail!("the shell did not stop: {stopped:?}");
        }
        let mut tracer = Tracer { main, root: self.folder, injection, in_call: HashSet::new(), failed: None };
        let timed_out = AtomicBool::new(false);
        let (done_sender, done) = channel::<()>();
        let (code, calls) = std::thread::scope(|scope| {
            let timed_out = &timed_out;
            scope.spawn(move || {
                if done.recv_timeout(self.limit) == Err(RecvTimeoutError::Timeout) {
                    timed_out.store(true, Ordering::Relaxed);
                    let _ = kill(main, Signal::SIGKILL);
                }
            });
            let traced = tracer.follow();
            drop(done_sender);
            traced
        })?;
        Ok(Outcome { code, timed_out: timed_out.into_inner(), stderr: self.stderr()?, calls })
    }

    fn command(&self, program: &Path, before: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(program);
        command.args(before);
        if !before.is_empty() {
            command.arg(self.program);
        }
        command.args(self.arguments).current_dir(self.folder);
        command.env("RAYON_NUM_THREADS", "1").env("POLARS_MAX_THREADS", "1").env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(self.log_path())?);
        Ok(command)
    }

    fn log_path(&self) -> PathBuf {
        self.log_folder.join("stderr")
    }

    fn stderr(&self) -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.log_path())?).into_owned())
    }
}

/// Traces all threads of a process.
struct Tracer<'a> {
    main: Pid,
    root: &'a Path,
    injection: Option<(usize, Failure)>,
    /// Threads in a call.
    in_call: HashSet<Pid>,
    /// The thread whose call fails, until the error is returned.
    failed: Option<(Pid, Errno)>,
}

impl Tracer<'_> {
    /// Runs the process to its end; returns its exit code and its calls.
    fn follow(&mut self) -> anyhow::Result<(Option<i32>, Vec<Call>)> {
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_EXITKILL;
        ptrace::seize(self.main, options).context("tracing the program (is ptrace allowed here?)")?;
        kill(self.main, Signal::SIGCONT)?;
        let (mut calls, mut code) = (Vec::new(), None);
        loop {
            // Only children of this thread: others trace other programs.
            let status = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
                // All children have ended.
                Err(Errno::ECHILD) => return Ok((code, calls)),
                status => status?,
            };
            let (thread, signal) = match status {
                WaitStatus::Exited(thread, of_main) if thread == self.main => {
                    code = Some(of_main);
                    continue;
                }
                WaitStatus::PtraceSyscall(thread) => {
                    ignore_missing(self.at_call(thread, &mut calls))?;
                    (thread, None)
                }
                WaitStatus::PtraceEvent(thread, ..) => (thread, None),
                WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
                _ => continue,
            };
            ignore_missing(ptrace::syscall(thread, signal))?;
        }
    }

    /// Handles a stop at the entry or the exit of a call.
    fn at_call(&mut self, thread: Pid, calls: &mut Vec<Call>) -> nix::Result<()> {
        if self.in_call.remove(&thread) {
            if let Some((_, error)) = self.failed.take_if(|(failed, _)| *failed == thread) {
                let mut registers = ptrace::getregs(thread)?;
                registers.rax = i64::from(-(error as i32)) as u64;
                ptrace::setregs(thread, registers)?;
            }
            return Ok(());
        }
        self.in_call.insert(thread);
        let mut registers = ptrace::getregs(thread)?;
        let Some(call) = (Entry { thread, registers: &registers, root: self.root }).change() else {
            return Ok(());
        };
        calls.push(call);
        let Some((_, failure)) = self.injection.filter(|(point, _)| *point == calls.len()) else {
            return Ok(());
        };
        // An invalid number, so that the kernel skips the call.
        registers.orig_rax = u64::MAX;
        ptrace::setregs(thread, registers)?;
        match failure {
            // The thread may belong to a child process.
            Failure::Kill => [self.main, thread]
                .into_iter()
                .try_for_each(|it| ignore_missing(kill(it, Signal::SIGKILL)))?,
            Failure::Eio => self.failed = Some((thread, Errno::EIO)),
            Failure::Enospc => self.failed = Some((thread, Errno::ENOSPC)),
        }
        Ok(())
    }
}

/// Ignores that a thread has been killed.
fn ignore_missing(done: nix::Result<()>) -> nix::Result<()> {
    match done {
        Err(Errno::ESRCH) => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kills::tree::{self, Tree};

    /// Runs a script in a new folder; returns its outcome and the folder's contents.
    fn script(
        name: &str,
        text: &str,
        limit: Duration,
        injection: Option<(usize, Failure)>,
    ) -> (Outcome, Tree) {
        let above = std::env::temp_dir().canonicalize().unwrap();
        let scratch = above.join(format!("goldfish-kills-test-{}-{name}", std::process::id()));
        tree::remove(&scratch).unwrap();
        let folder = scratch.join("folder");
        fs::create_dir_all(&folder).unwrap();
        let arguments = ["-c", text].map(str::to_owned);
        let program = Path::new("/bin/sh");
        let start =
            Invocation { program, arguments: &arguments, folder: &folder, log_folder: &scratch, limit };
        let outcome = start.trace(injection).unwrap();
        let left = Tree::read(&folder).unwrap();
        tree::remove(&scratch).unwrap();
        (outcome, left)
    }

    const LIMIT: Duration = Duration::from_secs(60);
    /// Four calls: create a folder, open, write and rename a file.
    const MOVE: &str = "mkdir a; echo text > a/x && mv a/x a/y";

    #[test]
    fn counts_calls_of_all_processes_below_the_folder() {
        let (outcome, left) = script("counted", &format!("{MOVE}; : > /dev/null; cat a/y"), LIMIT, None);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        let calls: Vec<&str> = outcome.calls.iter().filter_map(|call| call.split(' ').next()).collect();
        assert_eq!(calls.len(), 4, "{outcome:?}");
        assert!(calls[0].starts_with("mkdir") && calls[1] == "openat" && calls[2] == "write", "{calls:?}");
        assert!(
            outcome.calls[3].starts_with("rename") && outcome.calls[3].ends_with("a/x a/y"),
            "{outcome:?}"
        );
        assert!(left.has("a/y"));
    }

    #[test]
    fn kills_before_the_call() {
        let (outcome, left) = script(
            "killed",
            &format!("exec sh -c 'echo > x; echo > y; {MOVE}'"),
            LIMIT,
            Some((3, Failure::Kill)),
        );
        assert_eq!((outcome.code, outcome.timed_out, outcome.calls.len()), (None, false, 3), "{outcome:?}");
        assert!(left.has("x") && !left.has("y"));
    }

    #[test]
    fn a_failing_call_returns_the_error_and_has_no_effect() {
        for (failure, error) in
            [(Failure::Eio, "Input/output error"), (Failure::Enospc, "No space left on device")]
        {
            let (outcome, left) = script(failure.name(), MOVE, LIMIT, Some((4, failure)));
            assert!(
                outcome.code.is_some_and(|code| code != 0) && outcome.stderr.contains(error),
                "{outcome:?}"
            );
            assert!(left.has("a/x") && !left.has("a/y"));
        }
    }

    #[test]
    fn kills_at_the_time_limit() {
        let (outcome, _) = script("long", "while :; do :; done", Duration::from_millis(300), None);
        assert!(outcome.timed_out && outcome.code.is_none(), "{outcome:?}");
    }
}
