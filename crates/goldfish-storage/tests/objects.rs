//! Objects, in a store in this process. What real servers do is in `crates/acceptance/stores`.

use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use goldfish_storage::{self as storage, BLOCK_BYTES, File, Kind, Output, PART_BYTES};

fn path(text: &str) -> PathBuf {
    PathBuf::from(text)
}

/// Bytes that repeat nowhere near.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| next()).collect();
    bytes.truncate(len);
    bytes
}

#[test]
fn an_object_reads_as_its_bytes_in_order_and_here_and_there() {
    let bytes = noise(5 * BLOCK_BYTES as usize + 4321);
    let path = path("memory://reading/a/large");
    storage::write(&path, &bytes).unwrap();
    let (mut file, metadata) = File::open_regular(&path).unwrap();
    assert_eq!((metadata.kind, metadata.size), (Kind::File, bytes.len() as u64));
    let mut whole = Vec::new();
    file.read_to_end(&mut whole).unwrap();
    assert!(whole == bytes, "in order");

    // Ten readers of one handle, so that their windows push each other out, and one that jumps.
    let mut offsets: Vec<usize> = (0..10).map(|i| i * bytes.len() / 10).collect();
    for round in 0..40 {
        for offset in &mut offsets {
            let mut buffer = vec![0; 1 + (round * 7919) % 50_000];
            let read = file.read_at(&mut buffer, *offset as u64).unwrap();
            assert!(read > 0 && buffer[..read] == bytes[*offset..*offset + read], "at {offset}");
            *offset += read;
            if *offset + 50_000 > bytes.len() {
                *offset /= 2;
            }
        }
        let jump = (round * 1_234_567) % (bytes.len() - 9);
        let mut nine = [0; 9];
        file.read_exact_at(&mut nine, jump as u64).unwrap();
        assert_eq!(nine, bytes[jump..jump + 9]);
    }
    assert_eq!(file.read_at(&mut [0; 8], bytes.len() as u64).unwrap(), 0);
    assert_eq!(file.seek(SeekFrom::End(-3)).unwrap(), bytes.len() as u64 - 3);
    let mut other = file.try_clone().unwrap();
    let mut tail = Vec::new();
    other.read_to_end(&mut tail).unwrap();
    assert_eq!(tail, bytes[bytes.len() - 3..]);
    // Handles have positions of their own.
    assert_eq!(file.stream_position().unwrap(), bytes.len() as u64 - 3);
    assert!(file.seek(SeekFrom::Current(i64::MIN)).is_err());
}

#[test]
fn an_object_that_was_replaced_is_read_no_further() {
    let path = path("memory://replaced/a");
    storage::write(&path, &noise(3 << 20)).unwrap();
    let mut file = File::open(&path).unwrap();
    let before = file.metadata().unwrap();
    file.read_exact(&mut [0; 1000]).unwrap();
    storage::write(&path, &noise(3 << 20)).unwrap();
    let error = file.read_to_end(&mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("replaced"), "{error}");
    // A reader that took it for an error of the contents gets it again.
    assert!(file.try_clone().unwrap().read(&mut [0; 10]).unwrap_err().to_string().contains("replaced"));
    assert!(file.metadata().unwrap_err().to_string().contains("replaced"));
    let now = storage::metadata(&path).unwrap();
    assert_eq!(now.size, before.size);
    assert_ne!(now.stamp, before.stamp);
}

#[test]
fn an_object_comes_into_being_when_it_is_complete() {
    for len in [0, 10, PART_BYTES, PART_BYTES + 1, 4 * PART_BYTES + 77] {
        let path = path(&format!("memory://writing/{len}"));
        let bytes = noise(len);
        let mut output = Output::create(&path).unwrap();
        bytes.chunks(999_983).for_each(|piece| output.write_all(piece).unwrap());
        assert!(!storage::exists(&path), "{len} bytes before the end");
        output.sync().unwrap();
        output.sync().unwrap();
        assert!(storage::read(&path, u64::MAX).unwrap() == bytes, "{len} bytes");
        assert_eq!(output.write(b"more").unwrap_err().kind(), ErrorKind::Unsupported);
    }
    let dropped = path("memory://writing/dropped");
    let mut output = Output::create(&dropped).unwrap();
    output.write_all(&noise(2 * PART_BYTES)).unwrap();
    drop(output);
    assert!(!storage::exists(&dropped));
}

#[test]
fn folders_are_what_lies_below_a_key() {
    for key in ["a/x.jsonl", "a/y/1.jsonl", "a/y/2.txt", "ab", "z.jsonl"] {
        storage::write(&path(&format!("memory://folders/{key}")), b"").unwrap();
    }
    let entries = |folder: &str| -> Vec<(String, bool)> {
        let entries = storage::entries(Path::new(folder)).unwrap();
        entries.iter().map(|e| (e.path.to_str().unwrap().to_owned(), e.is_folder())).collect()
    };
    let entry = |text: &str, folder| (format!("memory://folders/{text}"), folder);
    assert_eq!(entries("memory://folders"), [entry("a", true), entry("ab", false), entry("z.jsonl", false)]);
    assert_eq!(entries("memory://folders/a/"), [entry("a/x.jsonl", false), entry("a/y", true)]);
    assert_eq!(entries("memory://folders/nothing"), []);
    assert!(storage::is_folder(Path::new("memory://folders/a")));
    assert_eq!(storage::metadata(Path::new("memory://folders/x")).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(File::open_regular(Path::new("memory://folders/a/")).is_err());
    let matched = |pattern: &str| -> Vec<String> {
        let entries = storage::glob(&format!("memory://folders/{pattern}")).unwrap();
        entries.iter().map(|e| e.path.to_str().unwrap().replace("memory://folders/", "")).collect()
    };
    assert_eq!(matched("*.jsonl"), ["z.jsonl"]);
    assert_eq!(matched("**/*.jsonl"), ["a/x.jsonl", "a/y/1.jsonl", "z.jsonl"]);
    assert_eq!(matched("a/*"), ["a/x.jsonl", "a/y"]);
    assert_eq!(matched("*/y/[0-9].*"), ["a/y/1.jsonl", "a/y/2.txt"]);
    assert_eq!(matched("a?"), ["ab"]);
    assert_eq!(matched("*/x.jsonl"), ["a/x.jsonl"]);
    assert!(matched("q/*").is_empty());
    assert!(storage::glob("memory://folders/[").is_err());

    let all: Vec<PathBuf> =
        storage::glob("memory://folders/**/*").unwrap().into_iter().map(|e| e.path).collect();
    let paths: Vec<&Path> = all.iter().map(PathBuf::as_path).collect();
    let sizes = storage::metadata_of_all(&paths);
    assert!(sizes.iter().all(Result::is_ok) && sizes.len() == 7, "{sizes:?}");

    storage::remove_objects(Path::new("memory://folders/a")).unwrap();
    assert_eq!(entries("memory://folders"), [entry("ab", false), entry("z.jsonl", false)]);
    assert!(storage::remove_objects(Path::new("memory://folders")).is_err(), "a whole store is not removed");
}

#[test]
fn objects_are_copied_renamed_and_made_once() {
    let (a, b) = (path("memory://moving/a"), path("memory://moving/b"));
    storage::write_new(&a, b"one").unwrap();
    // The same bytes again: the answer to the first request may have been lost.
    storage::write_new(&a, b"one").unwrap();
    assert_eq!(storage::write_new(&a, b"two").unwrap_err().kind(), ErrorKind::AlreadyExists);
    storage::copy(&a, &b).unwrap();
    storage::copy(&a, &path("memory://elsewhere/c")).unwrap();
    storage::remove_file(&a).unwrap();
    assert!(!storage::exists(&a));
    assert_eq!(storage::read(&b, u64::MAX).unwrap(), b"one");
    assert_eq!(storage::read(Path::new("memory://elsewhere/c"), u64::MAX).unwrap(), b"one");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    storage::copy(&b, &file).unwrap();
    storage::write(&file, b"three").unwrap();
    storage::copy(&file, &b).unwrap();
    assert_eq!(storage::read(&b, u64::MAX).unwrap(), b"three");
    storage::remove_file(&b).unwrap();
    assert!(!storage::exists(&b));
}

#[test]
fn http_servers_are_only_read() {
    let page = Path::new("http://localhost:1/a");
    assert_eq!(Output::create(page).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(storage::remove_file(page).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(storage::list(page).unwrap_err().kind(), ErrorKind::Unsupported);
}
