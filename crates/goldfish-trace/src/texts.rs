//! The texts that are looked for.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use goldfish_corpus::{Content, Input, ReadOptions, Reject, for_each_text};
use goldfish_mask::TextWords;
use goldfish_match::{IndexBuilder, Parameters};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::error::TraceError;
use crate::needles::Needles;
use crate::search::Searched;

/// Words of the shortest span that can be asked for.
pub const LEAST_WORDS: u32 = 4;

/// Words that a span has at least where its characters are what counts: the corpus is searched for runs of so many words.
pub const WORDS_OF_CHARACTERS: u32 = 6;

/// Texts that a place of a document is compared with, edits allowed.
const EDITED_DEPTH: u8 = 8;

/// How long a span is at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Least {
    /// So many words, [`LEAST_WORDS`] at least.
    Words(u32),
    /// So many characters from the start of its first word to the end of its last, and [`WORDS_OF_CHARACTERS`] words: 50 in "Measuring
    /// Non-Adversarial Reproduction of Training Data in Large Language Models" (arXiv 2411.10242).
    Characters(u32),
}

impl Default for Least {
    fn default() -> Self {
        Self::Words(12)
    }
}

impl Least {
    /// Words of the shortest run that is looked for.
    pub(crate) fn words(self) -> u32 {
        match self {
            Self::Words(words) => words,
            Self::Characters(_) => WORDS_OF_CHARACTERS,
        }
    }

    fn parameters(self) -> Result<Parameters, TraceError> {
        let words = self.words();
        if words < LEAST_WORDS {
            return Err(TraceError::ShortSpans { words, least: LEAST_WORDS });
        }
        let mut parameters = Parameters::default();
        // Every run of so many words is found: gram + window - 1.
        parameters.least_words = words;
        parameters.most_depth = EDITED_DEPTH;
        parameters.gram = parameters.gram.min(words / 2);
        parameters.window = parameters.window.min(words + 1 - parameters.gram);
        Ok(parameters)
    }
}

impl std::fmt::Display for Least {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Words(words) => write!(f, "{words} words"),
            Self::Characters(characters) => write!(f, "{characters} characters"),
        }
    }
}

/// Which texts a text is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Those that are traced.
    Text,
    /// Those that they are compared with.
    Control,
}

impl Group {
    /// The name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Control => "control",
        }
    }

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        [Self::Text, Self::Control].into_iter().find(|group| group.name() == name)
    }
}

/// What texts are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TextsKind {
    /// Any texts.
    #[default]
    Texts,
    /// The suffixes of an audit: the texts were recited, those of the control were not.
    Suffixes,
}

/// A text.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub(crate) id: String,
    pub(crate) group: Group,
    /// Texts of one cluster count as one in intervals.
    pub(crate) cluster: String,
    pub(crate) text: String,
    /// Where each word starts and ends in it, in bytes.
    pub(crate) words: Vec<(u32, u32)>,
    /// The number of the first text with these words.
    pub(crate) same: u32,
}

impl Text {
    /// The part of the text that some of its words are, in bytes.
    pub(crate) fn part(&self, words: Range<usize>) -> Range<usize> {
        let (first, last) = (self.words[words.start].0, self.words[words.end - 1].1);
        first as usize..last as usize
    }

    /// How many characters a part has.
    pub(crate) fn characters(&self, part: Range<usize>) -> u64 {
        self.text[part].chars().count() as u64
    }
}

/// Texts to look for, in order.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    pub(crate) all: Vec<Text>,
    pub(crate) kind: TextsKind,
    /// The number of the same words among those that are searched for.
    distinct: HashMap<u128, u32>,
    ids: HashSet<String>,
    digest: u128,
}

impl Texts {
    /// Adds the texts of some files. Those that have columns have a text and an id in each row; a file of text is one, called by
    /// its name.
    ///
    /// # Errors
    ///
    /// If a file can't be read, a row has no text or no id, or an id occurs twice.
    pub fn read(
        &mut self,
        inputs: &[Input],
        (text_column, id_column): (&str, &str),
        group: Group,
    ) -> Result<(), TraceError> {
        let mut read = ReadOptions::new(Content::Text { column: text_column.to_owned() });
        read.id_column = Some(id_column.to_owned());
        read.refuse_masks = false;
        // A text that is left out would not be found.
        let bad = |Reject { file, row, reason, .. }| TraceError::BadText { file, row, reason };
        for_each_text(inputs, &read, bad, &mut |id, text| self.add(id, text, group, id))
    }

    /// No texts yet, of a kind.
    #[must_use]
    pub fn of(kind: TextsKind) -> Self {
        Self { kind, ..Self::default() }
    }

    /// Adds a text. Texts of one `cluster`, such as suffixes of copies of one document, count as one in intervals.
    ///
    /// # Errors
    ///
    /// If there is one of this id already.
    pub fn add(&mut self, id: &str, text: &str, group: Group, cluster: &str) -> Result<(), TraceError> {
        if !self.ids.insert(id.to_owned()) {
            return Err(TraceError::TextTwice { id: id.to_owned() });
        }
        for part in [id, text, group.name(), cluster] {
            let bytes = [&self.digest.to_le_bytes(), &(part.len() as u64).to_le_bytes()[..], part.as_bytes()];
            self.digest = xxh3_128(&bytes.concat());
        }
        let (words, same) = (Vec::new(), 0);
        let [id, text, cluster] = [id, text, cluster].map(str::to_owned);
        self.all.push(Text { id, group, cluster, text, words, same });
        Ok(())
    }

    /// A hash of all texts with their ids.
    pub(crate) fn digest(&self) -> String {
        format!("xxh3_128:{:032x}", self.digest)
    }

    /// Cuts the texts into words, and prepares the search for them.
    pub(crate) fn index(&mut self, least: Least, seed: u64) -> Result<Searched, TraceError> {
        let mut builder = IndexBuilder::new(least.parameters()?)?;
        let mut needles = Needles::default();
        let mut words = TextWords::default();
        let mut longest = 0;
        for text in &mut self.all {
            words.read(&text.text).map_err(goldfish_pipeline::PipelineError::from)?;
            longest = longest.max(words.len());
            let source = |word| words.source(word);
            // A text has less than 4 GiB.
            text.words =
                (0..words.len()).map(source).map(|part| (part.start as u32, part.end as u32)).collect();
            let all: Vec<u8> = (0..words.len()).flat_map(|word| [words.bytes(word), b" "].concat()).collect();
            let next = needles.texts() as u32;
            text.same = *self.distinct.entry(xxh3_128(&all)).or_insert(next);
            if text.same == next {
                builder.add_words(&text.id, &words)?;
                if !needles.add(&words) {
                    return Err(TraceError::TooManyWords { id: text.id.clone() });
                }
            }
        }
        if self.all.is_empty() {
            return Err(TraceError::NoTexts);
        }
        if longest < least.words() as usize {
            return Err(TraceError::AllTooShort { texts: self.all.len(), least: least.to_string() });
        }
        needles.sort();
        Ok(Searched { index: builder.build(), needles, least: least.words(), seed })
    }
}
