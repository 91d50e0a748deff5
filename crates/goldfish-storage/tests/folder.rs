//! Folders that strangers may have prepared: nothing is reached through links, nothing that is there is written to.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::symlink;
use std::path::Path;

use goldfish_storage::{File, Folder, Kind, replace_file};

/// A folder with something of the user's beside it, and every kind of entry in it.
fn prepared() -> (tempfile::TempDir, Folder) {
    let home = tempfile::tempdir().unwrap();
    let (inside, outside) = (home.path().join("inside"), home.path().join("outside"));
    fs::create_dir(&inside).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("thesis"), b"years").unwrap();
    fs::write(inside.join("file"), b"gold").unwrap();
    fs::create_dir(inside.join("folder")).unwrap();
    symlink(outside.join("thesis"), inside.join("to-file")).unwrap();
    symlink(&outside, inside.join("to-folder")).unwrap();
    symlink("nowhere", inside.join("dangling")).unwrap();
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        inside.join("pipe"),
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
    )
    .unwrap();
    let folder = Folder::open(&inside).unwrap();
    (home, folder)
}

const NO_FILES: [&str; 5] = ["folder", "to-file", "to-folder", "dangling", "pipe"];

fn check_outside(home: &Path) {
    assert_eq!(fs::read(home.join("outside/thesis")).unwrap(), b"years");
    assert_eq!(fs::read_dir(home.join("outside")).unwrap().count(), 1);
}

#[test]
fn nothing_is_opened_but_regular_files() {
    let (home, folder) = prepared();
    assert_eq!(folder.read("file", 4).unwrap(), b"gold");
    assert_eq!(folder.read("file", 3).unwrap_err().kind(), ErrorKind::FileTooLarge);
    assert_eq!(folder.open_file("missing").unwrap_err().kind(), ErrorKind::NotFound);
    for name in NO_FILES {
        assert_eq!(folder.open_file(name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
        assert_eq!(folder.open_to_append(name, 0).unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
        assert_eq!(folder.lock(name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
        assert_eq!(folder.size(name).unwrap(), None, "{name}");
    }
    let kinds = ["file", "folder", "to-file", "missing"].map(|name| folder.kind(name).unwrap());
    assert_eq!(kinds, [Some(Kind::File), Some(Kind::Folder), Some(Kind::Other), None]);
    // By a path links are followed, but a pipe is not waited for.
    assert!(File::open(&folder.join("to-file")).is_ok());
    assert_eq!(File::open(&folder.join("pipe")).unwrap_err().kind(), ErrorKind::InvalidInput);
    check_outside(home.path());
}

#[test]
fn no_file_that_is_there_is_written_to() {
    let (home, folder) = prepared();
    for name in ["file"].iter().chain(&NO_FILES) {
        assert_eq!(folder.create(name).unwrap_err().kind(), ErrorKind::AlreadyExists, "{name}");
    }
    // A second name of a file elsewhere.
    fs::hard_link(home.path().join("outside/thesis"), folder.join("second")).unwrap();
    assert_eq!(folder.open_to_append("second", 0).unwrap_err().kind(), ErrorKind::InvalidInput);
    for name in ["file", "to-file", "dangling", "pipe", "second", "new"] {
        folder.replace(name, |file| file.write_all(b"fish")).unwrap();
        assert_eq!(folder.read(name, 4).unwrap(), b"fish");
    }
    // A file left by an interrupted call is replaced.
    symlink(home.path().join("outside/thesis"), folder.join(".file.partial")).unwrap();
    replace_file(&folder.join("file"), b"again").unwrap();
    assert_eq!(folder.read("file", 5).unwrap(), b"again");
    assert!(!folder.names().unwrap().iter().any(|name| name.to_string_lossy().ends_with(".partial")));
    check_outside(home.path());
}

#[test]
fn a_write_that_fails_leaves_what_was_there() {
    let (_home, folder) = prepared();
    let failed = folder.replace("file", |file| {
        file.write_all(b"half")?;
        Err(io::Error::other("full"))
    });
    assert_eq!(failed.unwrap_err().to_string(), "full");
    assert_eq!(folder.read("file", 4).unwrap(), b"gold");
    assert!(!folder.join(".file.partial").exists());
}

#[test]
fn no_folder_is_reached_through_a_link() {
    let (home, folder) = prepared();
    assert!(folder.subfolder("missing").unwrap().is_none());
    assert!(folder.subfolder("folder").unwrap().is_some());
    for name in ["file", "to-file", "to-folder", "dangling", "pipe"] {
        assert_eq!(folder.subfolder(name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
        assert_eq!(folder.create_subfolder(name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
        let below = format!("{name}/x");
        assert_eq!(folder.parent_of(&below, true).unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
    }
    for path in ["../outside/x", "folder/../../x", "a//x", "./x"] {
        assert!(folder.parent_of(path, true).is_err(), "{path}");
    }
    assert!(folder.parent_of("a/b/x", false).unwrap().is_none());
    let (made, name) = folder.parent_of("a/b/x", true).unwrap().unwrap();
    assert_eq!((made.path(), name), (folder.join("a/b").as_path(), "x"));
    check_outside(home.path());
}

#[test]
fn links_themselves_are_removed_and_renamed() {
    let (home, folder) = prepared();
    folder.remove_file("to-folder").unwrap();
    assert!(folder.remove_file("folder").is_err());
    assert!(folder.link("to-file", &folder, "second").is_err());
    folder.rename("to-file", &folder, "file").unwrap();
    assert_eq!(folder.kind("file").unwrap(), Some(Kind::Other));
    check_outside(home.path());
}

#[test]
fn one_holds_a_lock_and_its_id_stays() {
    let (_home, folder) = prepared();
    let lock = folder.lock("lock").unwrap().unwrap();
    let again = Folder::open(folder.path()).unwrap();
    assert!(again.lock("lock").unwrap().is_none());
    let id = lock.id().to_owned();
    drop(lock);
    assert_eq!(again.lock("lock").unwrap().unwrap().id(), id);
    // An interruption right after it was made, or in the middle of its first write.
    for torn in ["", "goldf", "goldfish 0123", "\0\0\0\0"] {
        fs::write(folder.join("lock"), torn).unwrap();
        let made = folder.lock("lock").unwrap().unwrap().id().to_owned();
        assert_eq!(folder.lock("lock").unwrap().unwrap().id(), made, "{torn:?}");
    }
    fs::write(folder.join("file"), "notes").unwrap();
    assert_eq!(folder.lock("file").unwrap_err().kind(), ErrorKind::InvalidData);
    assert_eq!(folder.read("file", 5).unwrap(), b"notes");
}
