//! Files on a disk: the calls do what the standard library's do.

use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

use goldfish_storage::{self as storage, File, Kind, Output, Stamp};

#[test]
fn files_are_written_read_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("a"), folder.path().join("b"));
    assert_eq!(storage::metadata(&path).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!storage::exists(&path));
    let mut output = Output::create(&path).unwrap();
    output.write_all(b"gold").unwrap();
    output.sync().unwrap();
    // A file on a disk can be continued.
    output.write_all(b"fish").unwrap();
    output.sync().unwrap();
    assert!(output.disk().is_some());
    assert_eq!(storage::read(&path, 8).unwrap(), b"goldfish");
    assert_eq!(storage::write_new(&path, b"x").unwrap_err().kind(), ErrorKind::AlreadyExists);
    storage::copy(&path, &copy).unwrap();
    storage::write(&path, b"new").unwrap();
    assert_eq!(storage::read(&copy, 8).unwrap(), b"goldfish");
    storage::remove_file(&path).unwrap();
    storage::write(&copy, b"new").unwrap();
    assert_eq!(storage::read(&copy, 8).unwrap(), b"new");
    storage::remove_file(&copy).unwrap();
    assert_eq!(storage::remove_file(&copy).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn what_is_read_is_appended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    storage::write(&path, b"goldfish").unwrap();
    let (mut file, mut bytes) = (File::open(&path).unwrap(), b"a ".to_vec());
    assert_eq!(file.append_to(&mut bytes, 4).unwrap(), 4);
    assert_eq!((&bytes[..], file.append_to(&mut bytes.clone(), 0).unwrap()), (&b"a gold"[..], 0));
    assert_eq!(file.append_to(&mut bytes, 1 << 20).unwrap(), 4, "no more is left");
    assert_eq!((&bytes[..], file.append_to(&mut bytes.clone(), 1).unwrap()), (&b"a goldfish"[..], 0));
}

#[test]
fn places_are_read_whatever_the_position() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    storage::write_new(&path, b"goldfish").unwrap();
    let (mut file, metadata) = File::open_regular(&path).unwrap();
    assert_eq!((metadata.kind, metadata.size), (Kind::File, 8));
    assert!(matches!(metadata.stamp, Stamp::File { modified: Some(_), .. }));
    let mut four = [0; 4];
    file.read_exact(&mut four).unwrap();
    assert_eq!(&four, b"gold");
    file.read_exact_at(&mut four, 2).unwrap();
    assert_eq!(&four, b"ldfi");
    assert_eq!(file.read_exact_at(&mut four, 5).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(file.seek(SeekFrom::End(-4)).unwrap(), 4);
    let mut rest = String::new();
    file.try_clone().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "fish");
    assert_eq!(file.metadata().unwrap(), metadata);
}

#[test]
fn folders_are_listed_in_order_and_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("x/y");
    std::fs::create_dir_all(&inner).unwrap();
    for name in ["b", "a", "c"] {
        storage::write(&folder.path().join(name), b"").unwrap();
    }
    let entries = storage::entries(folder.path()).unwrap();
    let entries: Vec<_> =
        entries.iter().map(|e| (e.path.file_name().unwrap().to_str().unwrap(), e.is_folder())).collect();
    assert_eq!(entries, [("a", false), ("b", false), ("c", false), ("x", true)]);
    assert!(storage::is_folder(&inner) && storage::is_file(&folder.path().join("a")));
    assert_eq!(File::open_regular(&inner).unwrap_err().kind(), ErrorKind::InvalidInput);
    std::fs::remove_dir_all(folder.path().join("x")).unwrap();
    assert_eq!(storage::list(folder.path()).unwrap().len(), 3);
}

#[test]
fn urls_are_told_from_paths() {
    for url in ["s3://b/k", "gs://b", "az://c/k", "http://h/x", "https://h/x"] {
        assert!(storage::is_remote(Path::new(url)), "{url}");
        assert_eq!(storage::absolute(Path::new(url)).unwrap(), Path::new(url));
    }
    for path in ["s3:/b/k", "a/s3://b", "ftp://h/x", "S3", ""] {
        assert!(!storage::is_remote(Path::new(path)), "{path}");
    }
    // What paths are made of works on URLs.
    let path = Path::new("s3://bucket/folder/name.bin");
    assert_eq!(path.with_extension("idx"), Path::new("s3://bucket/folder/name.idx"));
    assert_eq!(path.with_extension("idx").to_str(), Some("s3://bucket/folder/name.idx"));
    assert_eq!(path.parent().unwrap().join("other").to_str(), Some("s3://bucket/folder/other"));
}

#[cfg(not(feature = "object-stores"))]
#[test]
fn objects_are_refused_where_they_are_not_in_the_build() {
    let path = Path::new("s3://bucket/key");
    let errors = [
        storage::metadata(path).unwrap_err(),
        File::open(path).unwrap_err(),
        Output::create(path).unwrap_err(),
        storage::write(path, b"").unwrap_err(),
        storage::copy(path, Path::new("nowhere")).unwrap_err(),
        storage::list(path).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("--features object-stores"), "{error}");
    }
    assert!(!Path::new("nowhere").exists());
}
