//! The program, with limits of time, memory and disk.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A run that lasts longer hangs.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(10);

/// The same for a run that makes a scene, and for one of a slow scene: machines are busy at times.
pub(crate) const LONG_TIME_LIMIT: Duration = Duration::from_secs(100);

/// Address space, in KiB. A debug build and its threads take a quarter of it.
const MEMORY_LIMIT: u64 = 2_000_000;

/// Largest file that is written, in the blocks of `ulimit -f`: half a GiB, or one where a shell counts in KiB.
const FILE_LIMIT: u64 = 1 << 20;

/// How a run ended.
pub(crate) struct Ended {
    /// `None` if it was still running after its time, and was killed.
    status: Option<ExitStatus>,
    pub(crate) stderr: String,
    pub(crate) time: Duration,
}

impl Ended {
    /// The exit code of a run that ended on its own.
    pub(crate) fn code(&self) -> Result<i32, String> {
        match self.status {
            None => Err(format!("hangs: still running after {:?}", self.time)),
            Some(status) => status.code().ok_or_else(|| {
                let signal = status.signal().unwrap_or_default();
                format!("ended by signal {signal}")
            }),
        }
    }
}

/// The program to test: `GOLDFISH_BIN` names another than the one that cargo built.
pub(crate) fn path() -> PathBuf {
    std::env::var_os("GOLDFISH_BIN").map_or_else(|| env!("CARGO_BIN_EXE_goldfish").into(), PathBuf::from)
}

/// The program in a folder, with no more than so much disk for a file.
fn command(folder: &Path, arguments: &[String], file_limit: u64) -> Command {
    let mut command = Command::new("/bin/sh");
    let limits = format!("ulimit -c 0; ulimit -v {MEMORY_LIMIT}; ulimit -f {file_limit}; exec \"$@\"");
    command.args(["-c", &limits, "sh"]).arg(path()).args(arguments);
    command.current_dir(folder).env_remove("RUST_BACKTRACE").stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Runs the program to its end.
pub(crate) fn run(folder: &Path, arguments: &[String], time_limit: Duration) -> Ended {
    run_with(folder, arguments, time_limit, FILE_LIMIT)
}

/// Runs the program until it writes a file that is larger than so many blocks, which has to kill it.
pub(crate) fn kill_at_size(folder: &Path, arguments: &[String], blocks: u64) {
    let ended = run_with(folder, arguments, LONG_TIME_LIMIT, blocks);
    assert!(ended.code().is_err(), "not killed: {}", ended.stderr);
}

fn run_with(folder: &Path, arguments: &[String], time_limit: Duration, file_limit: u64) -> Ended {
    let messages = tempfile::NamedTempFile::new().unwrap();
    let started = Instant::now();
    let stderr = File::create(messages.path()).unwrap();
    let mut child = command(folder, arguments, file_limit).stderr(stderr).spawn().unwrap();
    let status = wait(&mut child, started, time_limit);
    let stderr = String::from_utf8_lossy(&fs::read(messages.path()).unwrap()).into_owned();
    Ended { status, stderr, time: started.elapsed() }
}

/// Runs the program until a file is there, and kills it then.
pub(crate) fn kill_at(folder: &Path, arguments: &[String], file: &Path) {
    let started = Instant::now();
    let mut child = command(folder, arguments, FILE_LIMIT).stderr(Stdio::null()).spawn().unwrap();
    while !file.exists() && started.elapsed() < LONG_TIME_LIMIT && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_micros(200));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn wait(child: &mut Child, started: Instant, time_limit: Duration) -> Option<ExitStatus> {
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if started.elapsed() > time_limit {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(8));
    }
}
