//! Every file of `fixtures/malformed`, read as `expected.json` says: its rows, its rejects, and the words of its errors.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use goldfish_corpus::{Content, CorpusError, Format, Part, ReadOptions, Reject, resolve};
use goldfish_remedy::{Remedies, Setting, advice};
use serde::Deserialize;

/// Tokens of the tokenizers that the cases name.
const VOCABULARY: u32 = 2457;

#[derive(Deserialize)]
struct Case {
    file: String,
    args: Vec<String>,
    /// `None` if nothing in the file can be trusted.
    rows_ok: Option<usize>,
    rows_rejected: Option<usize>,
    message_contains: Vec<String>,
    fault: String,
}

impl Case {
    fn argument(&self, option: &str) -> Option<&str> {
        let index = self.args.iter().position(|argument| argument == option)?;
        Some(&self.args[index + 1])
    }

    fn options(&self) -> ReadOptions {
        let has_tokenizer = self.argument("--tokenizer").is_some();
        let mut options = ReadOptions::new(match self.argument("--ids-column") {
            None if has_tokenizer => Content::Text { column: "text".into() },
            column => Content::Ids { column: column.unwrap_or("input_ids").into() },
        });
        options.vocab_size = has_tokenizer.then_some(VOCABULARY);
        options.eos_id = self.argument("--eos-id").map(|id| id.parse().unwrap());
        let id_type = self.argument("--ids-dtype");
        options.id_type = id_type.map(|name| serde_json::from_value(name.into()).unwrap());
        options
    }

    /// The documents and the rejects of the file, as far as it can be read.
    fn read(&self, path: &Path) -> (usize, Vec<Reject>, Result<(), CorpusError>) {
        let (options, mut documents, mut rejects) = (self.options(), 0, Vec::new());
        let mut read = || -> Result<(), CorpusError> {
            for input in resolve(&[path.to_str().unwrap().to_owned()], None)?.inputs {
                let mut source = input.open(&options, Part::WHOLE)?;
                while let Some(chunk) = source.next_chunk()? {
                    let batch = chunk.documents(&options)?;
                    documents += batch.len();
                    rejects.extend(batch.rejects);
                }
                source.finish()?;
            }
            Ok(())
        };
        let end = read();
        (documents, rejects, end)
    }

    /// The expected words that are not in a message; words that the file's name happens to hold must be elsewhere.
    fn missing_words(&self, message: &str) -> Vec<&str> {
        let message = message.to_lowercase();
        let name = Path::new(&self.file).file_name().unwrap().to_str().unwrap().to_lowercase();
        let stem = name.split('.').next().unwrap();
        let rest = message.replace(stem, "");
        let is_missing = |word: &&str| {
            let word = word.to_lowercase();
            !if word.starts_with(stem) { message.contains(&word) } else { rest.contains(&word) }
        };
        self.message_contains.iter().map(String::as_str).filter(is_missing).collect()
    }
}

/// A message and its remedies, as the command line has them.
fn message(error: &(impl Remedies + ?Sized), message: String) -> String {
    let flag = |setting: Setting| format!("--{}", setting.name().replace('_', "-"));
    [message].into_iter().chain(advice(&error.remedies(), flag)).collect::<Vec<_>>().join("; ")
}

#[test]
fn files_give_their_rows_their_rejects_and_their_errors() {
    let fixtures: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    let cases = std::fs::read_to_string(fixtures.join("malformed/expected.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_str(&cases).unwrap();
    for case in &cases {
        let (documents, rejects, end) = case.read(&fixtures.join(&case.file));
        let context = format!("{} ({}): {documents} documents, {rejects:?}, {end:?}", case.file, case.fault);
        if let (Some(ok), Some(rejected)) = (case.rows_ok, case.rows_rejected) {
            assert_eq!((documents, rejects.len()), (ok, rejected), "{context}");
            assert!(end.is_ok(), "{context}");
        }
        let first =
            rejects.first().map(|reject| message(reject, format!("row {}: {}", reject.row, reject.reason)));
        let error = end.as_ref().err().map(|error| message(error, error.to_string()));
        let found = first.or(error);
        if case.rows_rejected == Some(0) {
            assert_eq!(found, None, "{context}");
        } else {
            let found = found.unwrap_or_else(|| panic!("no error; {context}"));
            assert_eq!(case.missing_words(&found), [""; 0], "{context}");
        }
    }
    let formats = cases
        .iter()
        .flat_map(|case| resolve(&[fixtures.join(&case.file).to_str().unwrap().to_owned()], None));
    let formats: Vec<Format> = formats.flat_map(|found| found.inputs).map(|input| input.format).collect();
    assert!(Format::all().iter().all(|format| formats.contains(format)));
}
