//! Folders that were made to do harm: several planted names that work together.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::replacement::{make_fifo, make_home};
use crate::{data, program, tree};

/// The options that decide what becomes of what is there.
const MODES: [&str; 3] = ["", "--resume", "--overwrite"];

const BESIDE: &str = "mask corpus-in --masks-only --ids-dtype uint16 --eos-id 0 --rule hash --threads 1";
const SHARDS: &str = "mask docs-in --rule hash --on-error skip --threads 1 --output shards-out";

/// A folder to work in, beside one of the user that nothing may change.
struct Trap {
    _folder: tempfile::TempDir,
    here: PathBuf,
    home: PathBuf,
}

impl Trap {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (here, home) = (folder.path().join("here"), folder.path().join("home"));
        make_home(&home);
        fs::create_dir_all(home.join("data")).unwrap();
        fs::create_dir_all(home.join("keys")).unwrap();
        fs::write(home.join("keys/authorized_keys"), "ssh-ed25519 AAAA user\n").unwrap();
        fs::write(home.join("keys/x.loss"), "the user's own\n").unwrap();
        fs::create_dir_all(here.join("corpus-in")).unwrap();
        let memmap: Vec<u8> = (0..2000u16).flat_map(|token| (token * 7 % 100).to_le_bytes()).collect();
        fs::write(here.join("corpus-in/t.npy"), &memmap).unwrap();
        fs::write(home.join("data/u.npy"), &memmap).unwrap();
        data::documents(&here.join("docs-in"), 0);
        Self { _folder: folder, here, home }
    }

    /// Runs the program, which has to end on its own and to leave the user's folder alone. Returns its messages.
    fn spring(&self, line: &str) -> String {
        let before = tree::read(&self.home);
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let ended = program::run(&self.here, &arguments, program::TIME_LIMIT);
        let code = ended.code().unwrap_or_else(|fault| panic!("{line}: {fault}: {}", ended.stderr));
        assert!((0..=2).contains(&code), "{line}: exit code {code}: {}", ended.stderr);
        let changes = tree::differences(&before, &tree::read(&self.home), |_| true);
        assert!(changes.is_empty(), "{line}: {changes:?}: {}", ended.stderr);
        ended.stderr
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.here.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn link(&self, name: &str, target: &Path) {
        let path = self.here.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    /// A sound `goldfish.json` of masks in which the mask's name is another.
    fn manifest_with(&self, name: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        tree::copy(&self.here.join("corpus-in/t.npy"), &folder.path().join("t.npy"));
        let line = BESIDE.replace("corpus-in", ".");
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let ended = program::run(folder.path(), &arguments, program::LONG_TIME_LIMIT);
        assert_eq!(ended.code(), Ok(0), "{}", ended.stderr);
        let manifest = fs::read_to_string(folder.path().join("goldfish.json")).unwrap();
        assert!(manifest.contains("\"name\": \"t.npy.loss\""), "{manifest}");
        manifest.replace("\"name\": \"t.npy.loss\"", &format!("\"name\": \"{name}\""))
    }
}

/// Runs a test once for each mode, and names all modes that fail.
fn in_each_mode(attack: impl Fn(&str) + std::panic::RefUnwindSafe) {
    let failed: Vec<&str> =
        MODES.into_iter().filter(|mode| std::panic::catch_unwind(|| attack(mode)).is_err()).collect();
    assert!(failed.is_empty(), "failed with {failed:?}");
}

#[test]
fn a_staging_folder_that_is_a_link_is_not_emptied() {
    in_each_mode(|mode| {
        let trap = Trap::new();
        trap.link("corpus-in/.goldfish-partial", &trap.home);
        trap.link("shards-out/.partial", &trap.home);
        trap.spring(&format!("{BESIDE} {mode}"));
        trap.spring(&format!("{SHARDS} {mode}"));
    });
}

#[test]
fn a_planted_set_of_old_files_is_not_brought_back_through_a_link() {
    in_each_mode(|mode| {
        let trap = Trap::new();
        trap.link("corpus-in/link", &trap.home.join("keys"));
        trap.write("corpus-in/.goldfish-partial/old/link/authorized_keys", "ssh-ed25519 AAAA attacker\n");
        trap.write(
            "corpus-in/.goldfish-partial/old/goldfish.json",
            trap.manifest_with("link/authorized_keys"),
        );
        trap.spring(&format!("{BESIDE} {mode}"));
    });
}

#[test]
fn a_planted_manifest_removes_nothing_through_a_link() {
    for place in ["goldfish.json", ".goldfish-partial/goldfish.json", ".goldfish-partial/old/goldfish.json"] {
        in_each_mode(|mode| {
            let trap = Trap::new();
            trap.link("corpus-in/link", &trap.home.join("keys"));
            trap.write(&format!("corpus-in/{place}"), trap.manifest_with("link/x.loss"));
            trap.spring(&format!("{BESIDE} {mode}"));
        });
    }
}

#[test]
fn no_mask_is_written_beside_a_memmap_that_a_link_leads_to() {
    in_each_mode(|mode| {
        let trap = Trap::new();
        trap.link("corpus-in/link", &trap.home.join("data"));
        trap.spring(&format!("{BESIDE} {mode}"));
    });
}

#[test]
fn a_fifo_for_a_lock_and_an_endless_journal_hang_nothing() {
    in_each_mode(|mode| {
        for staging in ["corpus-in/.goldfish-partial", "shards-out/.partial"] {
            let line = if staging.starts_with("corpus-in") { BESIDE } else { SHARDS };
            let trap = Trap::new();
            trap.write(&format!("{staging}/anything"), "");
            let lock = trap.here.join(staging).join("lock");
            make_fifo(&lock);
            trap.spring(&format!("{line} {mode}"));
            tree::remove(&lock);
            trap.link(&format!("{staging}/journal"), Path::new("/dev/zero"));
            trap.spring(&format!("{line} {mode}"));
        }
    });
}

/// Whoever follows the advice must not lose what a stranger's folder points at.
#[test]
fn nobody_is_told_to_overwrite_what_is_not_of_goldfish() {
    let trap = Trap::new();
    trap.link("corpus-in/.goldfish-partial", &trap.home);
    let messages = trap.spring(BESIDE);
    assert!(!messages.contains("--overwrite"), "{messages}");
    let trap = Trap::new();
    trap.write("corpus-in/.goldfish-partial/old/mine.txt", "years of work\n");
    let messages = trap.spring(BESIDE);
    assert!(!messages.contains("--overwrite"), "{messages}");
}
