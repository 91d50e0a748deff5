//! The plan of an experiment: its pairs of passages, the coins, and the files that follow from them.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::Path;

use goldfish_shard::ToolEntry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::draw::{Stream, below, coin, random, shuffle};
use super::error::CanaryError;
use super::words::{FEWEST, SHARED, Search};
use crate::error::AuditError;
use crate::sha256::{Hashed, sha256};
use crate::stat::OutOfRange;

/// The plan, written last: a folder that has it is complete.
pub const PLAN_NAME: &str = "plan.json";
/// The planted passages as documents.
pub const CANARIES_NAME: &str = "canaries.jsonl";
/// The passages that are held out.
pub const TWINS_NAME: &str = "twins.jsonl";
/// The words that passages are made of, one a line.
pub const WORDS_NAME: &str = "words.txt";
/// The corpus with the planted passages at random positions, if it was asked for.
pub const MIXED_NAME: &str = "mixed.jsonl";

/// Version of the plan, and of how passages and coins follow from a seed.
const PLAN_VERSION: u32 = 1;

/// Pairs of a plan, at most: the exact test takes time in proportion to their cube.
const MOST_PAIRS: u64 = 1000;

/// Planted documents of a plan, at most.
const MOST_DOCUMENTS: u64 = 1_000_000;

/// Largest plan that is read, in bytes.
const MOST_PLAN_BYTES: u64 = 1 << 28;

/// Largest file of words that is read, in bytes.
const MOST_WORDS_BYTES: u64 = 1 << 20;

/// What the passages and coins follow from, with the words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Text that all random numbers are derived from.
    pub seed: String,
    /// Pairs of twins for each number of repetitions.
    pub pairs: u32,
    /// How often a planted passage is repeated: one group of pairs each.
    pub repetitions: Vec<u32>,
    /// Words in a passage.
    pub words: u32,
}

impl Settings {
    /// Checks that every number is in its range.
    ///
    /// # Errors
    ///
    /// If one isn't, or a number of repetitions is there twice.
    pub fn check(&self) -> Result<(), CanaryError> {
        let within = |name, value: u64, fits, range| OutOfRange::check(name, value as f64, fits, range);
        let (pairs, words) = (u64::from(self.pairs), u64::from(self.words));
        within("the number of pairs", pairs, pairs > 0, "at least 1")?;
        let groups = self.repetitions.len() as u64;
        within("the number of different repetitions", groups, groups > 0, "at least 1")?;
        within("the number of words in a passage", words, (16..=1000).contains(&words), "from 16 to 1,000")?;
        within("the number of repetitions", 0, !self.repetitions.contains(&0), "at least 1")?;
        let mut seen = HashSet::new();
        if let Some(twice) = self.repetitions.iter().find(|number| !seen.insert(**number)) {
            return Err(CanaryError::Twice(*twice));
        }
        let all = pairs.saturating_mul(groups);
        within("the number of all pairs", all, all <= MOST_PAIRS, "at most 1,000")?;
        let planted = pairs.saturating_mul(self.repetitions.iter().map(|n| u64::from(*n)).sum());
        within("the number of planted documents", planted, planted <= MOST_DOCUMENTS, "at most 1,000,000")?;
        Ok(())
    }
}

/// One of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Twin {
    /// The first one.
    First,
    /// The second one.
    Second,
}

/// Two passages that are drawn in the same way, one of which is planted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// Its number in the plan, from 0.
    pub number: u32,
    /// How often the planted passage is repeated.
    pub repetitions: u32,
    /// Which of the twins the coin chose to be planted.
    pub planted: Twin,
    /// The passages.
    pub twins: [String; 2],
}

impl Pair {
    /// The passage that is planted.
    #[must_use]
    pub fn planted(&self) -> &str {
        &self.twins[self.planted as usize]
    }

    /// The passage that is held out.
    #[must_use]
    pub fn held_out(&self) -> &str {
        &self.twins[1 - self.planted as usize]
    }
}

/// Where the words of passages came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WordsSource {
    /// The corpus.
    Corpus,
    /// A file that was named.
    File,
}

/// An input of the corpus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CorpusEntry {
    /// Its name.
    pub name: String,
    /// Its documents.
    pub documents: u64,
    /// `xxh3_128:` and 32 hex digits of its main file.
    pub hash: String,
}

/// A file beside the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanFile {
    /// Its name.
    pub name: String,
    /// Bytes in it.
    pub size: u64,
    /// SHA-256 in 64 hex digits.
    pub sha256: String,
}

/// `plan.json`: what was planted. Whoever publishes its SHA-256 before training can't change it afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Version of the plan, and of how passages and coins follow from a seed.
    pub plan_version: u32,
    /// The program.
    pub tool: ToolEntry,
    /// What passages and coins follow from.
    pub settings: Settings,
    /// Where the words of passages came from.
    pub words_source: WordsSource,
    /// The corpus in which no passage occurs.
    pub corpus: Vec<CorpusEntry>,
    /// The pairs, by number of repetitions.
    pub pairs: Vec<Pair>,
    /// The files beside this one.
    pub files: Vec<PlanFile>,
}

/// A plan that is what its seed gives, read back.
#[derive(Debug)]
pub struct Opened {
    /// The plan.
    pub plan: Plan,
    /// SHA-256 of its file in 64 hex digits.
    pub digest: String,
}

impl Opened {
    /// Reads a plan, draws its passages and coins again, and compares: the plan, and the hashes of the files that follow from it. Files
    /// that are there have these hashes, too, but for the mixed corpus, which is not read.
    ///
    /// # Errors
    ///
    /// If the folder holds no plan, or anything differs from what the seed and the words give.
    pub fn open(folder: &Path) -> Result<Self, CanaryError> {
        let path = folder.join(PLAN_NAME);
        let bytes =
            goldfish_storage::read(&path, MOST_PLAN_BYTES).map_err(AuditError::io(&path, "reading"))?;
        let plan: Plan = serde_json::from_slice(&bytes)
            .map_err(|error| CanaryError::edited(&path, format!("not a plan of this version: {error}")))?;
        if plan.plan_version != PLAN_VERSION {
            let reason = format!("a plan of version {}, not {PLAN_VERSION}", plan.plan_version);
            return Err(CanaryError::edited(&path, reason));
        }
        let words = folder.join(WORDS_NAME);
        let words =
            goldfish_storage::read(&words, MOST_WORDS_BYTES).map_err(AuditError::io(&words, "reading"))?;
        let words = String::from_utf8_lossy(&words);
        let drawn = Drawn::new(plan.settings.clone(), words.lines().map(str::to_owned).collect())?;
        if drawn.pairs != plan.pairs {
            let reason = "its passages or coins are not those that its seed and words give";
            return Err(CanaryError::edited(&path, reason));
        }
        for file in drawn.files()? {
            if !plan.files.contains(&file) {
                let reason = format!("its entry of {} is not what the seed and words give", file.name);
                return Err(CanaryError::edited(&path, reason));
            }
            file.check(folder)?;
        }
        Ok(Self { plan, digest: sha256(&bytes) })
    }
}

impl PlanFile {
    /// The entry of a file that was written.
    pub(super) fn new<W: Write>(name: &str, written: &Hashed<W>) -> Self {
        let (size, sha256) = written.digest();
        Self { name: name.to_owned(), size, sha256 }
    }

    /// Whether the file, if it is there, is this one.
    fn check(&self, folder: &Path) -> Result<(), CanaryError> {
        let path = folder.join(&self.name);
        if !goldfish_storage::is_taken(&path) {
            return Ok(());
        }
        // One byte more shows that a file is longer.
        let found = goldfish_storage::read(&path, self.size + 1);
        let found = match found {
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => None,
            found => Some(found.map_err(AuditError::io(&path, "reading"))?),
        };
        match found.filter(|bytes| sha256(bytes) == self.sha256) {
            Some(_) => Ok(()),
            None => Err(CanaryError::edited(&path, format!("not the file that {PLAN_NAME} names"))),
        }
    }
}

/// All that follows from settings and words.
#[derive(Debug)]
pub(super) struct Drawn {
    pub(super) settings: Settings,
    pub(super) words: Vec<String>,
    pub(super) pairs: Vec<Pair>,
    /// Every passage.
    pub(super) search: Search,
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    text: &'a str,
}

/// Writes a document.
pub(super) fn write_line(file: &mut dyn Write, id: &str, text: &str) -> io::Result<()> {
    serde_json::to_writer(&mut *file, &Line { id, text })?;
    file.write_all(b"\n")
}

impl Drawn {
    /// Draws passages and coins.
    pub(super) fn new(settings: Settings, words: Vec<String>) -> Result<Self, CanaryError> {
        settings.check()?;
        if words.len() < FEWEST {
            return Err(CanaryError::FewWords { found: words.len(), needed: FEWEST });
        }
        let mut search = Search::default();
        let mut pairs = Vec::new();
        for repetitions in &settings.repetitions {
            for _ in 0..settings.pairs {
                let number = pairs.len() as u32;
                let twins = [0, 1].map(|twin| passage(&settings, &words, 2 * u64::from(number) + twin));
                if let Some(text) = twins.iter().find(|text| !search.add(text)) {
                    return Err(CanaryError::Occurs {
                        place: format!("the passage {text:?}"),
                        words: SHARED,
                    });
                }
                let planted = if coin(&settings.seed, number.into()) { Twin::Second } else { Twin::First };
                pairs.push(Pair { number, repetitions: *repetitions, planted, twins });
            }
        }
        Ok(Self { settings, words, pairs, search })
    }

    /// The planted documents in random order: the pair of each, and the number of the copy from 0.
    pub(super) fn planted(&self) -> Vec<(&Pair, u32)> {
        let mut planted = Vec::new();
        for pair in &self.pairs {
            planted.extend((0..pair.repetitions).map(|copy| (pair, copy)));
        }
        shuffle(&mut random(&self.settings.seed, Stream::Order, 0), &mut planted);
        planted
    }

    /// Writes the file of a name.
    pub(super) fn write(&self, name: &str, file: &mut dyn Write) -> io::Result<()> {
        match name {
            WORDS_NAME => self.words.iter().try_for_each(|word| writeln!(file, "{word}")),
            TWINS_NAME => self
                .pairs
                .iter()
                .try_for_each(|pair| write_line(file, &format!("twin-{:04}", pair.number), pair.held_out())),
            _ => self.planted().into_iter().try_for_each(|planted| write_planted(file, planted)),
        }
    }

    /// The files that follow from settings and words.
    pub(super) fn files(&self) -> Result<Vec<PlanFile>, CanaryError> {
        let file = |name| {
            let mut hashed = Hashed::new(io::sink());
            self.write(name, &mut hashed).map_err(AuditError::io(Path::new(name), "writing"))?;
            Ok(PlanFile::new(name, &hashed))
        };
        [WORDS_NAME, CANARIES_NAME, TWINS_NAME].into_iter().map(file).collect()
    }

    /// The plan, without the files beside it.
    pub(super) fn plan(self, tool: ToolEntry, words_source: WordsSource, corpus: Vec<CorpusEntry>) -> Plan {
        let Self { settings, pairs, .. } = self;
        Plan { plan_version: PLAN_VERSION, tool, settings, words_source, corpus, pairs, files: Vec::new() }
    }
}

/// Writes a planted document.
pub(super) fn write_planted(file: &mut dyn Write, (pair, copy): (&Pair, u32)) -> io::Result<()> {
    write_line(file, &format!("canary-{:04}-{copy}", pair.number), pair.planted())
}

/// Words that are drawn independently of each other.
fn passage(settings: &Settings, words: &[String], number: u64) -> String {
    let mut random = random(&settings.seed, Stream::Words, number);
    let word = |_| words[below(&mut random, words.len() as u64) as usize].as_str();
    (0..settings.words).map(word).collect::<Vec<&str>>().join(" ")
}
