//! Untrusted inputs: none disappears silently, no two have one name, and changed ones are detected.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use goldfish_corpus::{
    BatchContent, Content, CorpusError, DocumentBatch, Format, Input, Part, ReadOptions, Resolved, Source,
    digest_file, resolve, warnings,
};
use goldfish_remedy::{Remedy, Setting};

fn text_options() -> ReadOptions {
    ReadOptions::new(Content::Text { column: "text".into() })
}

fn find(path: &Path) -> Result<Resolved, CorpusError> {
    resolve(&[path.to_str().unwrap().to_owned()], None)
}

fn names(found: &Resolved) -> Vec<&str> {
    found.inputs.iter().map(|input| &*input.name).collect()
}

/// Writes the files, of four bytes each.
fn write(folder: &Path, names: &[&str]) {
    for name in names {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "data").unwrap();
    }
}

/// A manifest of these files with the size that [`write`] gives them.
fn manifest(layout: &str, names: &[&str]) -> String {
    let files: Vec<String> = names.iter().map(|name| format!(r#"{{"name": {name:?}, "size": 4}}"#)).collect();
    format!(r#"{{"layout": {layout:?}, "files": [{}]}}"#, files.join(", "))
}

#[test]
fn a_manifest_hides_only_the_files_that_it_lists_and_goldfish_could_have_written() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write(
        root,
        &["a.jsonl", "sub/b.jsonl", "sub/c.txt", "sub/d.npy", "sub/e.npy", "sub/f.npy", "sub/g/h.npy"],
    );
    let set = root.join("sub/goldfish.json");
    let all = ["a.jsonl", "sub/b.jsonl", "sub/c.txt", "sub/d.npy", "sub/e.npy", "sub/f.npy", "sub/g/h.npy"];
    let rest = ["a.jsonl", "sub/b.jsonl", "sub/c.txt", "sub/e.npy", "sub/f.npy"];
    let listed = ["b.jsonl", "c.txt", "d.npy", "g/h.npy", "../a.jsonl", "no.npy"];
    for layout in ["masks", "olmo"] {
        for (set_text, read, written) in [
            (manifest(layout, &[]), &all[..], &[][..]),
            // One of the files has another size.
            (
                manifest(layout, &listed).replace("no.npy\", \"size\": 4", "f.npy\", \"size\": 6"),
                &rest[..],
                &["sub/d.npy", "sub/g"][..],
            ),
            ("{}".into(), &all, &[]),
            ("[".repeat(1000), &all, &[]),
        ] {
            fs::write(&set, &set_text).unwrap();
            let found = find(root).unwrap();
            assert_eq!(names(&found), read, "{layout}: {set_text:.80}");
            let expected: Vec<_> = written.iter().map(|name| root.join(name)).collect();
            assert_eq!(found.written, expected, "{layout}");
        }
    }
    // The tokens of an export that is named explicitly are read.
    fs::write(&set, manifest("olmo", &["d.npy", "e.npy", "f.npy", "g/h.npy"])).unwrap();
    assert_eq!(find(&root.join("sub")).unwrap().inputs.len(), 6);
    fs::write(&set, manifest("masks", &["d.npy", "e.npy", "f.npy", "g/h.npy"])).unwrap();
    assert_eq!(find(&root.join("sub")).unwrap().inputs.len(), 2);
}

#[test]
fn a_folder_that_is_skipped_entirely_is_named_once() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write(root, &["a.jsonl", "out/x.npy", "out/label_mask/x.npy"]);
    fs::write(root.join("out/goldfish.json"), manifest("olmo", &["x.npy", "label_mask/x.npy"])).unwrap();
    let found = find(root).unwrap();
    assert_eq!((names(&found), &found.written), (vec!["a.jsonl"], &vec![root.join("out")]));
    let found = find(&root.join("out")).unwrap();
    assert_eq!((names(&found), &found.written), (vec!["x.npy"], &vec![root.join("out/label_mask")]));
    fs::remove_file(root.join("out/x.npy")).unwrap();
    assert!(matches!(find(&root.join("out")), Err(CorpusError::NothingButOutput { .. })));
}

#[cfg(unix)]
#[test]
fn names_stay_distinct() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for name in [&b"a\xFF.jsonl"[..], b"a\xFE.jsonl", b"\xC3\xA9.jsonl"] {
        fs::write(root.join(OsStr::from_bytes(name)), "").unwrap();
    }
    assert_eq!(names(&find(root).unwrap()), ["a%FE.jsonl", "a%FF.jsonl", "é.jsonl"]);
    fs::write(root.join("a%FF.jsonl"), "").unwrap();
    let error = find(root).unwrap_err();
    assert!(matches!(&error, CorpusError::SameName { name, .. } if name == "a%FF.jsonl"), "{error}");
    assert!(error.to_string().contains("rename one of them"));
}

fn rows(lines: &str, options: &ReadOptions) -> DocumentBatch {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    fs::write(&path, lines).unwrap();
    let input = find(&path).unwrap().inputs.remove(0);
    let chunk = input.open(options, Part::WHOLE).unwrap().next_chunk().unwrap().unwrap();
    chunk.documents(options).unwrap()
}

#[test]
fn numbers_that_are_not_json_matter_in_columns_that_are_read() {
    let lines = concat!(
        "{\"score\": NaN, \"text\": \"one\", \"id\": 1}\n",
        "{\"text\": \"NaN\", \"id\": 2, \"meta\": {\"text\": [Infinity, -Infinity]}}\n",
        "{\"text\": NaN, \"id\": 3}\n",
        "{\"text\": \"four\", \"id\": NaN, \"score\": NaN}\n",
        "{\"text\": \"five\", \"id\": 5, \"score\": NaN} x\n",
        "{\"text\": \"six\", \"id\": 6, \"score\": -NaN}\n",
    );
    let mut options = text_options();
    options.id_column = Some("id".into());
    let batch = rows(lines, &options);
    let BatchContent::Text(text) = &batch.content else { panic!() };
    assert_eq!(
        (text.iter().flatten().collect::<Vec<_>>(), &batch.rows[..]),
        (vec!["one", "NaN"], &[0, 1][..])
    );
    let reasons: Vec<&str> = batch.rejects.iter().map(|reject| reject.reason.as_str()).collect();
    for (reason, word) in
        reasons.iter().zip(["NaN in \"text\" is not JSON", "NaN in \"id\"", "trailing", "line 6"])
    {
        assert!(reason.contains(word), "{reason}");
    }
    assert_eq!(reasons.len(), 4);
    // A carried column is read.
    options.carry = vec!["meta".into(), "score".into()];
    let batch = rows(lines, &options);
    assert!(batch.is_empty());
    assert!(batch.rejects[1].reason.contains("Infinity in \"meta\" is not JSON, at byte"));
}

fn memmap(folder: &Path, name: &str, bytes: &[u8]) -> Input {
    fs::write(folder.join(name), bytes).unwrap();
    find(&folder.join(name)).unwrap().inputs.remove(0)
}

#[test]
fn four_byte_ids_of_unknown_type_are_suspicious() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ids = |count: u32| (0..count).map(|i| i * 7919 % 50_000 + 1);
    let wide: Vec<u8> = ids(50_000).flat_map(u32::to_le_bytes).collect();
    // A vocabulary beyond 16 bits: some of the second halves are 1.
    let large: Vec<u8> = ids(9000).flat_map(|id| (id * 2).to_le_bytes()).collect();
    let narrow: Vec<u8> = ids(9000).flat_map(|id| (id as u16).to_le_bytes()).collect();
    let mut padded = narrow.clone();
    padded[..10_000].fill(0);
    padded.truncate(20_000);
    let mut options = ReadOptions::new(Content::Ids { column: "input_ids".into() });
    let inputs = [
        memmap(folder, "wide.npy", &wide),
        memmap(folder, "large.npy", &large),
        memmap(folder, "padded.npy", &padded),
        memmap(folder, "narrow.npy", &narrow),
        memmap(folder, "short.npy", &wide[..24]),
    ];
    let found = warnings(&inputs, &options);
    assert_eq!(found.len(), 3, "{found:?}");
    for (warning, name) in found.iter().zip(["wide.npy", "large.npy", "padded.npy"]) {
        assert!(warning.path.ends_with(name), "{warning}");
        assert_eq!(warning.remedies[0], Remedy::give(Setting::IdsDtype).value("uint32"));
    }
    let message = &found[0].message;
    assert!(message.contains("16384 of the first 32768 are 0, 16384 of them at every second"), "{message}");
    options.id_type = Some(goldfish_corpus::IdType::Uint16);
    assert_eq!(warnings(&inputs, &options), []);
    // A sidecar says how many ids there are.
    options.id_type = None;
    fs::write(folder.join("wide.csv.gz"), "").unwrap();
    assert_eq!(warnings(&inputs, &options).len(), 2);
}

/// A source that has read its first chunk, and what then happens to the file.
fn changed(happens: impl FnOnce(&Path)) -> Result<(), CorpusError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    fs::write(&path, "{\"text\": \"one\"}\n").unwrap();
    let input =
        Input { path: path.clone().into(), name: "a.jsonl".into(), format: Format::named("jsonl").unwrap() };
    let mut source: Box<dyn Source> = input.open(&text_options(), Part::WHOLE).unwrap();
    assert!(source.next_chunk().unwrap().is_some());
    // The clock of a file system moves in steps.
    std::thread::sleep(Duration::from_millis(30));
    happens(&path);
    source.finish().map(drop)
}

#[test]
fn changed_and_replaced_files_are_detected() {
    changed(|path| drop(digest_file(path).unwrap())).unwrap();
    let same_time = |path: &Path, write: &dyn Fn()| {
        let time = fs::metadata(path).unwrap().modified().unwrap();
        write();
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    };
    // Other bytes of the same length, and the time set back.
    let error = changed(|path| same_time(path, &|| fs::write(path, "{\"text\": \"two\"}\n").unwrap()));
    assert!(matches!(&error, Err(CorpusError::Changed { before: 16, after: 16, .. })), "{error:?}");
    // Another file with the same bytes and time.
    let error = changed(|path| {
        same_time(path, &|| {
            let other = path.with_extension("other");
            fs::copy(path, &other).unwrap();
            fs::rename(&other, path).unwrap();
        });
    });
    assert!(matches!(&error, Err(CorpusError::Changed { .. })), "{error:?}");
    let error = changed(|path| fs::remove_file(path).unwrap()).unwrap_err();
    assert!(error.to_string().contains("looking at it after reading"), "{error}");
}
