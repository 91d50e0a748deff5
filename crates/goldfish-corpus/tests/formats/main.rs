//! Each format: what is read, and what a wrong start, a cut, wrong types and missing companions give.

#![allow(clippy::unwrap_used, reason = "tests")]

mod arrow;
mod datatrove;
mod jsonl;
mod megatron;
mod olmo;
mod parquet;
mod text;

use std::fs;
use std::path::Path;

use goldfish_corpus::{BatchContent, Content, CorpusError, Format, Input, Part, ReadOptions, resolve};
use goldfish_remedy::{Remedies, advice};

/// Files of an input, the main one first, by name.
type Files<'a> = &'a [(&'a str, &'a [u8])];

/// Names and contents of documents, text as bytes, and rejects as `row: reason`.
type Rows = (Vec<(String, Vec<i32>)>, Vec<String>);

fn text() -> ReadOptions {
    ReadOptions::new(Content::Text { column: "text".into() })
}

fn ids() -> ReadOptions {
    ReadOptions::new(Content::Ids { column: "input_ids".into() })
}

fn read_input(input: &Input, options: &ReadOptions) -> Result<Rows, CorpusError> {
    let (mut documents, mut rejects) = (Vec::new(), Vec::new());
    let mut source = input.open(options, Part::WHOLE)?;
    while let Some(chunk) = source.next_chunk()? {
        let batch = chunk.documents(options)?;
        for i in 0..batch.len() {
            let contents = match &batch.content {
                BatchContent::Text(text) => text.value(i).bytes().map(i32::from).collect(),
                BatchContent::Ids { offsets, ids } => {
                    ids[offsets[i] as usize..offsets[i + 1] as usize].to_vec()
                }
            };
            documents.push((batch.doc_ids.value(i).to_owned(), contents));
        }
        rejects.extend(batch.rejects.into_iter().map(|reject| format!("{}: {}", reject.row, reject.reason)));
    }
    let files = source.finish()?;
    assert_eq!(files.len(), 1 + input.companions().len());
    assert_eq!(files[0].size, fs::metadata(&input.path).unwrap().len());
    Ok((documents, rejects))
}

/// Reads files that are written into a folder; only the input's own name is resolved.
fn read(files: Files<'_>, options: &ReadOptions) -> Result<Rows, CorpusError> {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let path = folder.path().join(files[0].0);
    let resolved = resolve(&[path.to_str().unwrap().to_owned()], None)?;
    assert_eq!(resolved.inputs.len(), 1);
    read_input(&resolved.inputs[0], options)
}

/// That reading is an error with these words, and with this advice.
#[track_caller]
fn refused(files: Files<'_>, options: &ReadOptions, words: &str, remedy: &str) {
    let error = read(files, options).unwrap_err();
    assert!(error.to_string().contains(words), "{error}");
    assert!(error.to_string().contains(files[0].0.split('.').next().unwrap()), "{error}");
    let found = advice(&error.remedies(), |setting| setting.name().to_owned()).unwrap_or_default();
    assert_eq!(found, remedy, "{error}");
}

/// What a folder of these names has as inputs of a format.
fn found(names: &[&str]) -> Vec<(String, Format)> {
    let folder = tempfile::tempdir().unwrap();
    names.iter().for_each(|name| fs::write(folder.path().join(name), "").unwrap());
    let inputs = resolve(&[folder.path().to_str().unwrap().to_owned()], None).unwrap().inputs;
    inputs.into_iter().map(|input| (input.name.to_string(), input.format)).collect()
}

fn named(name: &str, format: &str) -> (String, Format) {
    (name.to_owned(), Format::named(format).unwrap())
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)).unwrap()
}

fn input(name: &str, format: &str) -> Input {
    Input { path: Path::new(name).into(), name: name.into(), format: Format::named(format).unwrap() }
}

fn little_endian<const N: usize>(numbers: impl IntoIterator<Item = [u8; N]>) -> Vec<u8> {
    numbers.into_iter().flatten().collect()
}
