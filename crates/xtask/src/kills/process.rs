//! Runs the program: plainly, or traced and disturbed at one of the calls that change the file system.

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

/// What happens at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub(crate) enum What {
    /// The process is killed before the call.
    #[value(name = "kill")]
    Kill,
    /// The call fails as on a broken disk.
    #[value(name = "EIO")]
    Eio,
    /// The call fails as on a full disk.
    #[value(name = "ENOSPC")]
    Enospc,
}

impl What {
    pub(crate) const ALL: [Self; 3] = [Self::Kill, Self::Eio, Self::Enospc];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Eio => "EIO",
            Self::Enospc => "ENOSPC",
        }
    }
}

/// How the program is started.
pub(crate) struct Start<'a> {
    pub(crate) program: &'a Path,
    pub(crate) arguments: &'a [String],
    /// Its working folder; without links in its path.
    pub(crate) folder: &'a Path,
    /// A folder for what it prints.
    pub(crate) prints: &'a Path,
    /// How long it may take.
    pub(crate) limit: Duration,
}

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// None after a signal.
    pub(crate) code: Option<i32>,
    pub(crate) timed_out: bool,
    pub(crate) stderr: String,
    /// The calls that change something below the working folder, up to the one that killed it.
    pub(crate) calls: Vec<Call>,
}

impl Ended {
    pub(crate) fn describe(&self) -> String {
        match (self.timed_out, self.code) {
            (true, _) => "took too long".into(),
            (_, Some(code)) => format!("exit code {code}"),
            (_, None) => "ended by a signal".into(),
        }
    }
}

impl Start<'_> {
    /// Runs it without a tracer.
    pub(crate) fn run(&self) -> anyhow::Result<Ended> {
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
        Ok(Ended { code: status.code(), timed_out, stderr: self.stderr()?, calls: Vec::new() })
    }

    /// Runs it traced; disturbs it at the call with this number, from 1.
    pub(crate) fn trace(&self, disturb: Option<(usize, What)>) -> anyhow::Result<Ended> {
        // The shell stops until it is traced, so that no call is missed.
        let mut command = self.command(Path::new("/bin/sh"), &["-c", "kill -STOP $$; exec \"$@\"", "sh"])?;
        let child = command.spawn().context("starting the program")?;
        let main = Pid::from_raw(child.id() as i32);
        let stopped = waitpid(main, Some(WaitPidFlag::WUNTRACED))?;
        if !matches!(stopped, WaitStatus::Stopped(..)) {
            bail!("the shell did not stop: {stopped:?}");
        }
        let mut tracer = Tracer { main, root: self.folder, disturb, inside: HashSet::new(), failed: None };
        let timed_out = AtomicBool::new(false);
        let (over, waits) = channel::<()>();
        let (code, calls) = std::thread::scope(|scope| {
            let timed_out = &timed_out;
            scope.spawn(move || {
                if waits.recv_timeout(self.limit) == Err(RecvTimeoutError::Timeout) {
                    timed_out.store(true, Ordering::Relaxed);
                    let _ = kill(main, Signal::SIGKILL);
                }
            });
            let traced = tracer.follow();
            drop(over);
            traced
        })?;
        Ok(Ended { code, timed_out: timed_out.into_inner(), stderr: self.stderr()?, calls })
    }

    fn command(&self, program: &Path, before: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(program);
        command.args(before);
        if !before.is_empty() {
            command.arg(self.program);
        }
        command.args(self.arguments).current_dir(self.folder);
        command.env("RAYON_NUM_THREADS", "1").env("POLARS_MAX_THREADS", "1").env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(self.prints())?);
        Ok(command)
    }

    fn prints(&self) -> PathBuf {
        self.prints.join("stderr")
    }

    fn stderr(&self) -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.prints())?).into_owned())
    }
}

/// Follows all threads of a process.
struct Tracer<'a> {
    main: Pid,
    root: &'a Path,
    disturb: Option<(usize, What)>,
    /// Threads that are in a call.
    inside: HashSet<Pid>,
    /// The thread whose call fails, until it has its error.
    failed: Option<(Pid, Errno)>,
}

impl Tracer<'_> {
    /// Runs the process to its end; gives its exit code and its calls.
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
            // Other threads of this process trace programs of their own.
            let status = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
                // All have ended.
                Err(Errno::ECHILD) => return Ok((code, calls)),
                status => status?,
            };
            let (thread, signal) = match status {
                WaitStatus::Exited(thread, of_main) if thread == self.main => {
                    code = Some(of_main);
                    continue;
                }
                WaitStatus::PtraceSyscall(thread) => {
                    gone(self.at_call(thread, &mut calls))?;
                    (thread, None)
                }
                WaitStatus::PtraceEvent(thread, ..) => (thread, None),
                WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
                _ => continue,
            };
            gone(ptrace::syscall(thread, signal))?;
        }
    }

    /// A thread is at the beginning or the end of a call.
    fn at_call(&mut self, thread: Pid, calls: &mut Vec<Call>) -> nix::Result<()> {
        if self.inside.remove(&thread) {
            if let Some((_, error)) = self.failed.take_if(|(failed, _)| *failed == thread) {
                let mut registers = ptrace::getregs(thread)?;
                registers.rax = i64::from(-(error as i32)) as u64;
                ptrace::setregs(thread, registers)?;
            }
            return Ok(());
        }
        self.inside.insert(thread);
        let mut registers = ptrace::getregs(thread)?;
        let Some(call) = (Entry { thread, registers: &registers, root: self.root }).change() else {
            return Ok(());
        };
        calls.push(call);
        let Some((_, what)) = self.disturb.filter(|(point, _)| *point == calls.len()) else { return Ok(()) };
        // No such call: nothing is done.
        registers.orig_rax = u64::MAX;
        ptrace::setregs(thread, registers)?;
        match what {
            // The thread may be another process's: a shell has some.
            What::Kill => {
                [self.main, thread].into_iter().try_for_each(|it| gone(kill(it, Signal::SIGKILL)))?
            }
            What::Eio => self.failed = Some((thread, Errno::EIO)),
            What::Enospc => self.failed = Some((thread, Errno::ENOSPC)),
        }
        Ok(())
    }
}

/// A thread that was killed meanwhile is no error.
fn gone(done: nix::Result<()>) -> nix::Result<()> {
    match done {
        Err(Errno::ESRCH) => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kills::tree::{self, Tree};

    /// Runs a script in a new folder; gives how it ended and what it left.
    fn script(name: &str, text: &str, limit: Duration, disturb: Option<(usize, What)>) -> (Ended, Tree) {
        let above = std::env::temp_dir().canonicalize().unwrap();
        let scratch = above.join(format!("goldfish-kills-test-{}-{name}", std::process::id()));
        tree::remove(&scratch).unwrap();
        let folder = scratch.join("folder");
        fs::create_dir_all(&folder).unwrap();
        let arguments = ["-c", text].map(str::to_owned);
        let program = Path::new("/bin/sh");
        let start = Start { program, arguments: &arguments, folder: &folder, prints: &scratch, limit };
        let ended = start.trace(disturb).unwrap();
        let left = Tree::read(&folder).unwrap();
        tree::remove(&scratch).unwrap();
        (ended, left)
    }

    const LONG: Duration = Duration::from_secs(60);
    /// Four calls: a folder, a file that is opened and written, and its new name.
    const MOVE: &str = "mkdir a; echo text > a/x && mv a/x a/y";

    #[test]
    fn calls_are_counted_over_all_processes_and_below_the_folder_alone() {
        let (ended, left) = script("counted", &format!("{MOVE}; : > /dev/null; cat a/y"), LONG, None);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let calls: Vec<&str> = ended.calls.iter().filter_map(|call| call.split(' ').next()).collect();
        assert_eq!(calls.len(), 4, "{ended:?}");
        assert!(calls[0].starts_with("mkdir") && calls[1] == "openat" && calls[2] == "write", "{calls:?}");
        assert!(ended.calls[3].starts_with("rename") && ended.calls[3].ends_with("a/x a/y"), "{ended:?}");
        assert!(left.has("a/y"));
    }

    #[test]
    fn a_kill_comes_before_the_call() {
        let (ended, left) = script(
            "killed",
            &format!("exec sh -c 'echo > x; echo > y; {MOVE}'"),
            LONG,
            Some((3, What::Kill)),
        );
        assert_eq!((ended.code, ended.timed_out, ended.calls.len()), (None, false, 3), "{ended:?}");
        assert!(left.has("x") && !left.has("y"));
    }

    #[test]
    fn a_call_that_fails_does_nothing_and_tells_its_error() {
        for (what, error) in [(What::Eio, "Input/output error"), (What::Enospc, "No space left on device")] {
            let (ended, left) = script(what.name(), MOVE, LONG, Some((4, what)));
            assert!(ended.code.is_some_and(|code| code != 0) && ended.stderr.contains(error), "{ended:?}");
            assert!(left.has("a/x") && !left.has("a/y"));
        }
    }

    #[test]
    fn what_takes_too_long_is_ended() {
        let (ended, _) = script("long", "while :; do :; done", Duration::from_millis(300), None);
        assert!(ended.timed_out && ended.code.is_none(), "{ended:?}");
    }
}
