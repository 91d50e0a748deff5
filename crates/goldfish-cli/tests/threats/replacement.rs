//! What a hostile folder has where the program expects something else.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use crate::tree;

/// What is put in the place of a file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replacement {
    /// A link to a file of the user, which has nothing to do with goldfish.
    LinkToFile,
    /// A link to a folder of the user, with files that are called like goldfish's.
    LinkToFolder,
    /// A link to a sound copy of what was there, outside.
    LinkToCopy,
    /// A link to a name outside that does not exist.
    DanglingLink,
    LinkToItself,
    Fifo,
    /// A link to a device that has no end.
    LinkToDevice,
    /// That device itself; only root can make one.
    Device,
    /// A folder with a file of the user.
    Folder,
    EmptyFile,
    /// Zeros of 5 GiB and a byte that take no room on the disk.
    HugeFile,
    /// The same file or folder of another run, which is sound.
    OtherRun,
}

impl Replacement {
    pub(crate) const ALL: [Self; 12] = [
        Self::LinkToFile,
        Self::LinkToFolder,
        Self::LinkToCopy,
        Self::DanglingLink,
        Self::LinkToItself,
        Self::Fifo,
        Self::LinkToDevice,
        Self::Device,
        Self::Folder,
        Self::EmptyFile,
        Self::HugeFile,
        Self::OtherRun,
    ];

    /// Whether it can be made of what there is.
    pub(crate) fn has(self, original: &Path, other: &Path) -> bool {
        match self {
            Self::LinkToCopy => original.exists() || other.exists(),
            Self::OtherRun => other.exists(),
            Self::Device => *CAN_MAKE_DEVICES,
            _ => true,
        }
    }

    /// Puts it at a path. `home` is the folder of the user outside, `original` what is at the path in a sound run and `other`
    /// what is there in another run.
    pub(crate) fn plant(self, path: &Path, home: &Path, original: &Path, other: &Path) {
        let sound = if original.exists() { original } else { other };
        tree::remove(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let link = |target: PathBuf| symlink(target, path).unwrap();
        match self {
            Self::LinkToFile => link(home.join("authorized_keys")),
            Self::LinkToFolder => link(home.join("docs")),
            Self::LinkToCopy => {
                tree::copy(sound, &home.join("copy"));
                link(home.join("copy"));
            }
            Self::DanglingLink => link(home.join("missing")),
            Self::LinkToItself => link(path.file_name().unwrap().into()),
            Self::Fifo => make_fifo(path),
            Self::LinkToDevice => link("/dev/zero".into()),
            Self::Device => make_device(path).unwrap(),
            Self::Folder => {
                fs::create_dir(path).unwrap();
                fs::write(path.join("mine.txt"), "years of work\n").unwrap();
            }
            Self::EmptyFile => drop(File::create(path).unwrap()),
            Self::HugeFile => File::create(path).unwrap().set_len((5 << 30) + 1).unwrap(),
            Self::OtherRun => tree::copy(other, path),
        }
    }
}

/// Whether this process may make devices: in a container even root may not.
static CAN_MAKE_DEVICES: LazyLock<bool> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    make_device(&folder.path().join("zero")).is_ok()
});

/// Makes another `/dev/zero`.
fn make_device(path: &Path) -> rustix::io::Result<()> {
    mknodat(CWD, path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 5))
}

pub(crate) fn make_fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
}

/// Names that goldfish gives to files: in a folder of the user they are the user's.
const NAMES: [&str; 16] = [
    "goldfish.json",
    "manifest.json",
    "journal",
    "lock",
    "old/goldfish.json",
    "old/manifest.json",
    "state.json",
    "rejects.jsonl",
    "shard-00000",
    "data-00000-of-00001.arrow",
    "config.json",
    "summary.json",
    "training/state.safetensors",
    "segments/000000.parquet",
    "a.npy.loss",
    "mine.txt",
];

/// Makes the folder of the user, which nothing may change.
pub(crate) fn make_home(home: &Path) {
    fs::create_dir_all(home.join("docs")).unwrap();
    fs::write(home.join(".bashrc"), "export A=1\n").unwrap();
    fs::write(home.join("authorized_keys"), "ssh-ed25519 AAAA user\n").unwrap();
    for name in NAMES {
        let path = home.join("docs").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("the user's own {name}\n")).unwrap();
    }
}
