//! Recognizes system calls that change the file system below a folder.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use nix::libc::{self, c_long, user_regs_struct};
use nix::unistd::Pid;

/// A description of a system call: its name and paths.
pub(crate) type Call = String;

/// A thread that is stopped at the entry of a system call.
pub(crate) struct Entry<'a> {
    pub(crate) thread: Pid,
    pub(crate) registers: &'a user_regs_struct,
    /// The watched folder, as a canonical path.
    pub(crate) root: &'a Path,
}

impl Entry<'_> {
    /// Describes the call if it changes something below the folder.
    pub(crate) fn change(&self) -> Option<Call> {
        let &user_regs_struct { orig_rax, rdi, rsi, rdx, r10, .. } = self.registers;
        let here = i64::from(libc::AT_FDCWD) as u64;
        let one = |name: &str, path: Option<String>| path.map(|path| format!("{name} {path}"));
        let two = |name: &str, from: Option<String>, to: Option<String>| {
            let outside = || "(outside)".to_owned();
            (from.is_some() || to.is_some())
                .then(|| format!("{name} {} {}", from.unwrap_or_else(outside), to.unwrap_or_else(outside)))
        };
        match orig_rax as c_long {
            libc::SYS_open if writes(rsi) => one("open", self.path(here, rdi)),
            libc::SYS_creat => one("creat", self.path(here, rdi)),
            libc::SYS_openat if writes(rdx) => one("openat", self.path(rdi, rsi)),
            // The flags are the first field of `struct open_how`.
            libc::SYS_openat2 if writes(self.number(rdx)?) => one("openat2", self.path(rdi, rsi)),
            libc::SYS_write => one("write", self.file(rdi)),
            libc::SYS_pwrite64 => one("pwrite64", self.file(rdi)),
            libc::SYS_writev => one("writev", self.file(rdi)),
            libc::SYS_pwritev => one("pwritev", self.file(rdi)),
            libc::SYS_pwritev2 => one("pwritev2", self.file(rdi)),
            libc::SYS_sendfile => one("sendfile", self.file(rdi)),
            libc::SYS_copy_file_range => one("copy_file_range", self.file(rdx)),
            libc::SYS_ftruncate => one("ftruncate", self.file(rdi)),
            libc::SYS_fallocate => one("fallocate", self.file(rdi)),
            libc::SYS_fsync => one("fsync", self.file(rdi)),
            libc::SYS_fdatasync => one("fdatasync", self.file(rdi)),
            libc::SYS_fchmod => one("fchmod", self.file(rdi)),
            libc::SYS_truncate => one("truncate", self.path(here, rdi)),
            libc::SYS_chmod => one("chmod", self.path(here, rdi)),
            libc::SYS_fchmodat => one("fchmodat", self.path(rdi, rsi)),
            libc::SYS_mkdir => one("mkdir", self.path(here, rdi)),
            libc::SYS_mkdirat => one("mkdirat", self.path(rdi, rsi)),
            libc::SYS_rmdir => one("rmdir", self.path(here, rdi)),
            libc::SYS_unlink => one("unlink", self.path(here, rdi)),
            libc::SYS_unlinkat => one("unlinkat", self.path(rdi, rsi)),
            libc::SYS_symlink => one("symlink", self.path(here, rsi)),
            libc::SYS_symlinkat => one("symlinkat", self.path(rsi, rdx)),
            libc::SYS_rename => two("rename", self.path(here, rdi), self.path(here, rsi)),
            libc::SYS_link => two("link", self.path(here, rdi), self.path(here, rsi)),
            libc::SYS_renameat => two("renameat", self.path(rdi, rsi), self.path(rdx, r10)),
            libc::SYS_renameat2 => two("renameat2", self.path(rdi, rsi), self.path(rdx, r10)),
            libc::SYS_linkat => two("linkat", self.path(rdi, rsi), self.path(rdx, r10)),
            _ => None,
        }
    }

    /// The path below the watched folder that is given by a folder's descriptor and a string in the thread's memory.
    fn path(&self, folder: u64, text: u64) -> Option<String> {
        let text = self.text(text)?;
        let base = match folder as i32 {
            libc::AT_FDCWD => fs::read_link(format!("/proc/{}/cwd", self.thread)).ok()?,
            folder => self.descriptor(folder)?,
        };
        self.below(&base.join(text))
    }

    /// The path below the watched folder of an open file or folder.
    fn file(&self, descriptor: u64) -> Option<String> {
        self.below(&self.descriptor(descriptor as i32)?)
    }

    fn descriptor(&self, descriptor: i32) -> Option<PathBuf> {
        fs::read_link(format!("/proc/{}/fd/{descriptor}", self.thread)).ok()
    }

    fn below(&self, path: &Path) -> Option<String> {
        let mut plain = PathBuf::new();
        for part in path.components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir => drop(plain.pop()),
                part => plain.push(part),
            }
        }
        Some(plain.strip_prefix(self.root).ok()?.to_string_lossy().into_owned())
    }

    /// A string that ends with a zero byte.
    fn text(&self, address: u64) -> Option<String> {
        // A short read is fine: the string may end just before an unmapped page.
        let mut bytes = vec![0; libc::PATH_MAX as usize];
        let length = self.memory()?.read_at(&mut bytes, address).ok()?;
        let end = bytes[..length].iter().position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }

    fn number(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.memory()?.read_exact_at(&mut bytes, address).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    fn memory(&self) -> Option<File> {
        File::open(format!("/proc/{}/mem", self.thread)).ok()
    }
}

/// Whether these flags open a file for writing or create it.
fn writes(flags: u64) -> bool {
    let writing = libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC;
    flags as i32 & writing != 0
}
