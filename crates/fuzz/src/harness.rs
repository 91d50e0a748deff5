//! Shared by the targets: a scratch folder, a panic hook, and the checks that every source must pass.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use goldfish_corpus::{BatchContent, Format, Input, Part, ReadOptions, Reject};
use goldfish_digest::FileDigest;

/// Sets the panic hook: a panic aborts the process, unless it is in a dependency and goldfish guards the call.
pub fn prepare() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let file = panic.location().map_or("", |location| location.file());
        let in_dependency = file.contains("/registry/src/") || file.starts_with("/rustc/");
        if !(in_dependency && goldfish_columnar::is_guarded()) {
            // The hook of libfuzzer-sys prints the panic and aborts, so that libFuzzer saves the input.
            report(panic);
        }
    }));
}

/// Runs code that goldfish guards against panics of dependencies; `None` after such a panic.
pub(crate) fn guarded<T>(run: impl FnOnce() -> T) -> Option<T> {
    goldfish_columnar::guarded(run).ok()
}

/// The scratch folder of this process.
pub(crate) fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let base = match std::env::var_os("GOLDFISH_FUZZ_FOLDER") {
            Some(folder) => PathBuf::from(folder),
            None => std::env::temp_dir().join("goldfish-fuzz"),
        };
        let folder = base.join(std::process::id().to_string());
        fs::create_dir_all(&folder).expect("a folder to write inputs to");
        folder
    })
}

/// Writes a file into the folder.
pub(crate) fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder().join(name);
    fs::write(&path, bytes).expect("room for an input");
    path
}

/// Splits an input into two files; its last two bytes are the length of the first.
pub(crate) fn two(data: &[u8]) -> (&[u8], &[u8]) {
    let Some((rest, length)) = data.split_last_chunk::<2>() else { return (data, &[]) };
    rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()))
}

/// A document of a source.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Document {
    Text(String),
    Ids(Vec<i32>),
}

/// Everything read from an input.
#[derive(Debug)]
pub(crate) struct Reading {
    /// Row, id and document, in order.
    pub(crate) documents: Vec<(u64, String, Document)>,
    pub(crate) rejects: Vec<Reject>,
    /// Whether the input was read to the end without an error.
    pub(crate) whole: bool,
}

/// Reads an input as the pipeline does, with the checks that every source must pass.
pub(crate) fn read(path: PathBuf, format: &str, options: &ReadOptions) -> Reading {
    let format = Format::named(format).unwrap();
    let input = Input { path: path.into(), name: "in".into(), format };
    let mut reading = Reading { documents: Vec::new(), rejects: Vec::new(), whole: false };
    let Some(Ok(mut source)) = guarded(|| input.open(options, Part::WHOLE)) else { return reading };
    let fields = source.carried().len();
    assert_eq!(fields, options.carry.len());
    loop {
        let chunk = match guarded(|| source.next_chunk()) {
            Some(Ok(Some(chunk))) => chunk,
            Some(Ok(None)) => break,
            Some(Err(_)) | None => return reading,
        };
        // Not guarded: workers must not panic on any chunk.
        let Ok(batch) = chunk.documents(options) else { return reading };
        assert_eq!(batch.rows.len(), batch.len());
        assert!(batch.carried.iter().all(|column| column.len() == batch.len()));
        assert_eq!(batch.carried.len(), fields);
        for (i, &row) in batch.rows.iter().enumerate() {
            let id = batch.doc_ids.value(i).to_owned();
            let document = match &batch.content {
                BatchContent::Text(text) => Document::Text(text.value(i).to_owned()),
                BatchContent::Ids { offsets, ids } => {
                    let ids = &ids[offsets[i] as usize..offsets[i + 1] as usize];
                    let vocab = options.vocab_size.unwrap_or(1 << 31);
                    assert!(ids.iter().all(|&id| id >= 0 && (id as u32) < vocab), "an id is out of range");
                    Document::Ids(ids.to_vec())
                }
            };
            reading.documents.push((row, id, document));
        }
        reading.rejects.extend(batch.rejects);
    }
    reading.whole = true;
    let files =
        std::iter::once(input.path.to_path_buf()).chain(input.companions().into_iter().map(|(_, path)| path));
    let expected: Vec<FileDigest> = files.map(|path| FileDigest::of(&fs::read(path).unwrap())).collect();
    assert_eq!(source.finish().expect("the file was read to the end"), expected);
    reading
}

impl Reading {
    /// Row numbers of documents and rejects, ascending, without repeats.
    pub(crate) fn rows(&self) -> Vec<u64> {
        let documents: Vec<u64> = self.documents.iter().map(|(row, ..)| *row).collect();
        assert!(documents.is_sorted_by(|a, b| a < b), "documents out of order");
        let mut rows: Vec<u64> = documents.into_iter().chain(self.rejects.iter().map(|r| r.row)).collect();
        rows.sort_unstable();
        assert!(rows.is_sorted_by(|a, b| a < b), "a row is both a document and a reject");
        rows
    }

    /// Checks that every row, counted from 0, was read.
    pub(crate) fn assert_gapless(&self) {
        assert!(
            self.rows().into_iter().eq(0..(self.documents.len() + self.rejects.len()) as u64),
            "a row is missing"
        );
    }
}
