//! Planting: from a corpus to a folder with a plan, the planted passages and their twins.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use arrow::array::Array;
use goldfish_corpus::{BatchContent, Content, Input, Part, ReadOptions};
use goldfish_shard::ToolEntry;
use goldfish_storage::{Folder, partial_name};
use serde::Serialize;

use super::draw::{Stream, below, random};
use super::error::CanaryError;
use super::plan::{
    CANARIES_NAME, CorpusEntry, Drawn, MIXED_NAME, PLAN_NAME, Plan, PlanFile, Settings, TWINS_NAME,
    WORDS_NAME, WordsSource, write_line, write_planted,
};
use super::words::{SHARED, WordCounts};
use crate::error::AuditError;
use crate::files::to_json;
use crate::sha256::{Hashed, sha256};

/// The lock of a folder that is being written; it also says that the files there are ours.
const LOCK: &str = ".lock";

/// What is planted, and where.
#[derive(Debug)]
pub struct PlantOptions {
    /// What passages and coins follow from.
    pub settings: Settings,
    /// The corpus.
    pub inputs: Vec<Input>,
    /// How it is read: as text.
    pub read: ReadOptions,
    /// Text to take words from in place of the corpus.
    pub words: Option<String>,
    /// Whether a copy of the corpus is written that has the planted passages at random positions.
    pub mix: bool,
    /// The program, for the plan.
    pub tool: ToolEntry,
}

/// What was planted.
#[derive(Debug, Serialize)]
pub struct Planted {
    /// The plan.
    #[serde(skip)]
    pub plan: Plan,
    /// SHA-256 of its file in 64 hex digits.
    pub digest: String,
    /// Documents that were planted, copies included.
    pub documents: u64,
    /// Bytes of their texts.
    pub bytes: u64,
    /// Bytes of the corpus's texts.
    pub corpus_bytes: u64,
}

/// Draws pairs of passages and writes a folder with the plan and its files.
///
/// The corpus is read once to count words, unless others are given, once to see that no passage occurs in it, and once more to
/// mix. The same corpus, words and settings give the same bytes.
///
/// # Errors
///
/// If a setting is out of its range, the corpus can't be read, holds no text or too few different words, a passage occurs in it, or the
/// folder is not empty. What an interrupted call left in the folder is replaced.
pub fn plant(options: &PlantOptions, folder: &Path) -> Result<Planted, CanaryError> {
    options.settings.check()?;
    refuse_taken(folder)?;
    let mut first = None;
    let words = match &options.words {
        Some(text) => {
            let mut counts = WordCounts::default();
            counts.add(text);
            counts
        }
        None => {
            let mut counts = WordCounts::default();
            first = Some(options.each_document(&mut |_, _, text| {
                counts.add(text);
                Ok(())
            })?);
            counts
        }
    };
    let drawn = Drawn::new(options.settings.clone(), words.most_frequent())?;
    let mut corpus_bytes = 0;
    let corpus = options.each_document(&mut |file, id, text| {
        corpus_bytes += text.len() as u64;
        if drawn.search.finds(text) {
            return Err(CanaryError::Occurs { place: format!("{file}: document {id}"), words: SHARED });
        }
        Ok(())
    })?;
    first.map_or(Ok(()), |first| same(&first, &corpus))?;
    let planted = drawn.planted();
    let (documents, bytes) =
        (planted.len() as u64, planted.iter().map(|(pair, _)| pair.planted().len() as u64).sum());

    let target = Target::open(folder)?;
    let mut files = Vec::new();
    for name in [WORDS_NAME, CANARIES_NAME, TWINS_NAME] {
        files.push(target.write(name, |file| {
            drawn
                .write(name, file)
                .map_err(|error| AuditError::io(&folder.join(name), "writing")(error).into())
        })?);
    }
    if options.mix {
        files.push(target.write(MIXED_NAME, |file| {
            let path = folder.join(MIXED_NAME);
            options.mix(&drawn, &corpus, file, &path)
        })?);
    }
    let source = if options.words.is_some() { WordsSource::File } else { WordsSource::Corpus };
    let plan = Plan { files, ..drawn.plan(options.tool.clone(), source, corpus) };
    let json = to_json(&folder.join(PLAN_NAME), &plan, true)?;
    target.write(PLAN_NAME, |file| {
        file.write_all(&json)
            .map_err(|error| AuditError::io(&folder.join(PLAN_NAME), "writing")(error).into())
    })?;
    target.finish()?;
    Ok(Planted { plan, digest: sha256(&json), documents, bytes, corpus_bytes })
}

/// Whether two readings of the corpus saw the same.
fn same(before: &[CorpusEntry], after: &[CorpusEntry]) -> Result<(), CanaryError> {
    match before.iter().zip(after).find(|(before, after)| before != after) {
        Some((changed, _)) => Err(CanaryError::Changed { input: changed.name.clone() }),
        None => Ok(()),
    }
}

impl PlantOptions {
    /// Shows every document of the corpus: the name of its input, its id and its text.
    fn each_document(
        &self,
        visit: &mut dyn FnMut(&str, &str, &str) -> Result<(), CanaryError>,
    ) -> Result<Vec<CorpusEntry>, CanaryError> {
        let mut entries = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            let no_text = || CanaryError::NoText { input: input.name.to_string() };
            if input.format.is_memmap() || !matches!(self.read.content, Content::Text { .. }) {
                return Err(no_text());
            }
            let mut source = input.open(&self.read, Part::WHOLE)?;
            let mut documents = 0;
            while let Some(chunk) = source.next_chunk()? {
                let batch = chunk.documents(&self.read)?;
                if let Some(reject) = batch.rejects.into_iter().next() {
                    return Err(CanaryError::BadRow(reject));
                }
                let BatchContent::Text(texts) = &batch.content else { return Err(no_text()) };
                documents += texts.len() as u64;
                for row in 0..texts.len() {
                    visit(&input.name, batch.doc_ids.value(row), texts.value(row))?;
                }
            }
            let hash = source.finish()?.into_iter().next().map_or_else(String::new, |main| main.hash);
            entries.push(CorpusEntry { name: input.name.to_string(), documents, hash });
        }
        Ok(entries)
    }

    /// Writes the corpus with the planted documents at positions of which all are as likely.
    fn mix(
        &self,
        drawn: &Drawn,
        corpus: &[CorpusEntry],
        file: &mut dyn Write,
        path: &Path,
    ) -> Result<(), CanaryError> {
        let writing = |error| CanaryError::from(AuditError::io(path, "writing")(error));
        let mut places = random(&drawn.settings.seed, Stream::Places, 0);
        let mut planted = drawn.planted().into_iter();
        let mut left: u64 = corpus.iter().map(|entry| entry.documents).sum();
        let again = self.each_document(&mut |_, id, text| {
            while below(&mut places, left + planted.len() as u64) >= left
                && let Some(next) = planted.next()
            {
                write_planted(file, next).map_err(writing)?;
            }
            left = left.saturating_sub(1);
            write_line(file, id, text).map_err(writing)
        })?;
        same(corpus, &again)?;
        planted.try_for_each(|next| write_planted(file, next)).map_err(writing)
    }
}

/// Refuses a folder that has anything but what an interrupted call left.
fn refuse_taken(path: &Path) -> Result<(), CanaryError> {
    if !goldfish_storage::is_taken(path) {
        return Ok(());
    }
    let folder = Folder::open(path).map_err(AuditError::io(path, "opening the folder"))?;
    let names = folder.names().map_err(AuditError::io(path, "listing the folder"))?;
    if names.iter().any(|name| name == PLAN_NAME) {
        return Err(CanaryError::taken(path, "there is a plan, which is never replaced"));
    }
    let unfinished = names.iter().any(|name| name == LOCK);
    let ours = |name: &std::ffi::OsString| name == LOCK || FILES.iter().any(|own| is_file(name, own));
    if names.is_empty() || unfinished && names.iter().all(ours) {
        return Ok(());
    }
    Err(CanaryError::taken(path, "the folder is not empty"))
}

/// The files of a folder.
const FILES: [&str; 5] = [WORDS_NAME, CANARIES_NAME, TWINS_NAME, MIXED_NAME, PLAN_NAME];

/// Whether a name is a file's, or what it is called until it is complete.
fn is_file(name: &std::ffi::OsStr, own: &str) -> bool {
    name == own || name == partial_name(own).as_str()
}

/// The folder that is being written.
struct Target {
    folder: Folder,
    _lock: goldfish_storage::Lock,
}

impl Target {
    fn open(path: &Path) -> Result<Self, CanaryError> {
        std::fs::create_dir_all(path).map_err(AuditError::io(path, "creating the folder"))?;
        refuse_taken(path)?;
        let folder = Folder::open(path).map_err(AuditError::io(path, "opening the folder"))?;
        let lock = folder.lock(LOCK).map_err(AuditError::io(&path.join(LOCK), "locking"))?;
        let lock = lock.ok_or_else(|| CanaryError::taken(path, "another process is writing there"))?;
        // Again, since another process may have been faster.
        refuse_taken(path)?;
        for name in folder.names().map_err(AuditError::io(path, "listing the folder"))? {
            if let Some(name) = name.to_str().filter(|name| *name != LOCK) {
                folder.remove_file(name).map_err(AuditError::io(&path.join(name), "removing"))?;
            }
        }
        Ok(Self { folder, _lock: lock })
    }

    /// Writes a file whole or not at all.
    fn write(
        &self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> Result<(), CanaryError>,
    ) -> Result<PlanFile, CanaryError> {
        let (mut entry, mut failed) = (None, None);
        let replaced = self.folder.replace(name, |output| {
            let mut file = BufWriter::new(Hashed::new(output));
            if let Err(error) = write(&mut file) {
                failed = Some(error);
                return Err(io::ErrorKind::Other.into());
            }
            file.flush()?;
            entry = Some(PlanFile::new(name, file.get_ref()));
            Ok(())
        });
        match (failed, replaced, entry) {
            (Some(error), ..) => Err(error),
            (None, Ok(()), Some(entry)) => Ok(entry),
            (None, replaced, _) => {
                let error = replaced.err().unwrap_or_else(|| io::ErrorKind::Other.into());
                Err(AuditError::io(&self.folder.join(name), "writing")(error).into())
            }
        }
    }

    fn finish(self) -> Result<(), CanaryError> {
        let removed = self.folder.remove_file(LOCK);
        Ok(removed.map_err(AuditError::io(&self.folder.join(LOCK), "removing"))?)
    }
}
