//! The passages to compare.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use goldfish_mask::{NormalizedText, TextWords, TokenSpan, document_key};
use goldfish_pipeline::{PipelineError, ShardText};

use super::align::Side;
use super::grain::{Grain, stands_alone};
use super::location::{Location, Pair};
use super::rules::ComparedRule;

/// Letters that are normalized at once with their places in the text.
const MOST_LETTERS: usize = 1 << 22;

/// The passage around a location.
#[derive(Debug)]
pub(crate) struct Excerpt {
    pub(crate) doc_id: String,
    /// Position in the document of its first token.
    pub(crate) first_token: usize,
    /// The text of its tokens; empty where only ids are compared.
    pub(crate) text: String,
    /// Each token's bytes of the text, or its index.
    pub(crate) spans: Vec<(u32, u32)>,
    /// The tokens' masks: as they are, then by each rule.
    pub(crate) masks: Vec<Vec<u8>>,
    /// Whether its document has more before its first and after its last letter.
    pub(crate) cut: (bool, bool),
    grain: Grain,
    letters: Vec<u32>,
    starts: Vec<bool>,
    /// Each letter's bytes of the text, or its token's index.
    sources: Vec<(u32, u32)>,
    /// Where the location is among the letters, and how many letters of the document are before these.
    pub(crate) seed: usize,
    pub(crate) first_letter: usize,
}

/// All passages that are compared.
#[derive(Default)]
pub(crate) struct Excerpts {
    by_location: HashMap<Location, Excerpt>,
}

/// The words of locations by document.
pub(crate) fn by_document(pairs: &[Pair]) -> BTreeMap<u64, BTreeSet<usize>> {
    let mut wanted: BTreeMap<u64, BTreeSet<usize>> = BTreeMap::new();
    for location in pairs.iter().flat_map(|pair| pair.locations) {
        wanted.entry(location.document).or_default().insert(location.position as usize);
    }
    wanted
}

impl Excerpts {
    pub(crate) fn get(&self, location: Location) -> Option<&Excerpt> {
        self.by_location.get(&location)
    }

    pub(crate) fn extend(&mut self, found: impl IntoIterator<Item = (Location, Excerpt)>) {
        self.by_location.extend(found);
    }
}

/// A document that passages are cut from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Document<'a> {
    /// Its number.
    pub(crate) number: u64,
    pub(crate) doc_id: &'a str,
    pub(crate) ids: &'a [u32],
    pub(crate) mask: &'a [u8],
}

impl Document<'_> {
    /// The passages around these words. Without `text` words are ids, and the rules decide by ids.
    pub(crate) fn excerpts(
        &self,
        wanted: &BTreeSet<usize>,
        text: Option<&ShardText>,
        rules: &[ComparedRule],
    ) -> Result<Vec<(Location, Excerpt)>, PipelineError> {
        let (mut decoded, mut spans) = (String::new(), Vec::new());
        let span = TokenSpan::document(self.ids).with_key(document_key(self.doc_id));
        let span = match text {
            Some(reader) => {
                reader.read(self.ids, &mut decoded, &mut spans)?;
                span.with_text(&decoded, &spans)
            }
            None => span,
        };
        let mut masks = vec![self.mask.to_vec()];
        for rule in rules {
            let mut mask = vec![0; self.ids.len()];
            rule.masker.decide(&span, &mut mask);
            masks.push(mask);
        }
        if text.is_none() {
            spans = (0..self.ids.len()).map(|index| (index, index + 1)).collect();
        }
        let letters = Letters::default();
        let mut whole = Whole { document: *self, text: &decoded, spans: &spans, masks: &masks, letters };
        let by_word = match text {
            Some(_) => first_letters(&decoded, wanted)?,
            None => wanted.iter().map(|&id| (id, id)).collect(),
        };
        let positions: BTreeSet<usize> = by_word.iter().map(|&(_, letter)| letter).collect();
        let mut found = Vec::new();
        for (word, letter) in by_word {
            let location = Location { document: self.number, position: word as u64 };
            let excerpt = whole.excerpt(letter, text.is_some(), &positions);
            found.extend(excerpt.map(|excerpt| (location, excerpt)));
        }
        Ok(found)
    }
}

/// For each of these words of a text, its first letter among those of the text.
fn first_letters(text: &str, wanted: &BTreeSet<usize>) -> Result<Vec<(usize, usize)>, PipelineError> {
    let mut words = TextWords::default();
    words.read(text)?;
    let mut found = Vec::new();
    let (mut passed, mut letters) = (0, 0);
    for &word in wanted.range(..words.len()) {
        letters += (passed..word).map(|word| Grain::Letters.letters(words.bytes(word))).sum::<usize>();
        passed = word;
        found.push((word, letters));
    }
    Ok(found)
}

/// A document with what its passages are cut from.
struct Whole<'a> {
    document: Document<'a>,
    text: &'a str,
    spans: &'a [(usize, usize)],
    masks: &'a [Vec<u8>],
    letters: Letters,
}

/// Consecutive letters of a document.
#[derive(Default)]
struct Letters {
    first: usize,
    letters: Vec<u32>,
    sources: Vec<(usize, usize)>,
    /// Letters of the whole document.
    total: usize,
}

impl Letters {
    /// Letters `first..last` of a text's normalized stream.
    fn of_text(text: &str, first: usize, last: usize) -> Self {
        let mut normalized = NormalizedText::default();
        normalized.read(text, first..last);
        let sources = normalized.sources().to_vec();
        let letters = normalized.text().chars().skip(first).take(sources.len()).map(u32::from).collect();
        Self { first, letters, sources, total: normalized.text().chars().count() }
    }
}

impl Whole<'_> {
    fn excerpt(&mut self, position: usize, by_text: bool, positions: &BTreeSet<usize>) -> Option<Excerpt> {
        let grain = if by_text { Grain::Letters } else { Grain::Ids };
        let (first, last) = (position.saturating_sub(grain.radius()), position + grain.radius());
        let Self { document, text, spans, masks, letters } = self;
        if letters.sources.is_empty() || last.min(letters.total) > letters.first + letters.sources.len() {
            *letters = if by_text {
                let most = positions
                    .range(..first + MOST_LETTERS)
                    .next_back()
                    .map_or(last, |last| last + grain.radius());
                Letters::of_text(text, first, most.max(last))
            } else {
                let all = 0..document.ids.len();
                Letters {
                    first: 0,
                    letters: document.ids.to_vec(),
                    sources: all.map(|index| (index, index + 1)).collect(),
                    total: document.ids.len(),
                }
            };
        }
        let end = last.min(letters.first + letters.sources.len());
        let here = first.checked_sub(letters.first)?..end.checked_sub(letters.first)?;
        let (sources, letters_here) = (letters.sources.get(here.clone())?, letters.letters.get(here)?);
        let (&(start, _), &(_, stop)) = (sources.first()?, sources.last()?);
        // Tokens are in the order of their text; those without any have an empty span anywhere.
        let overlaps = |span: &(usize, usize)| span.0 < span.1 && span.0 < stop && span.1 > start;
        let from = spans.iter().position(overlaps)?;
        let to = spans.iter().rposition(overlaps)? + 1;
        let spans = &spans[from..to];
        let start = spans.iter().map(|span| span.0).chain([start]).min()?;
        let stop = spans.iter().map(|span| span.1).chain([stop]).max()?;
        let relative = |&(from, to): &(usize, usize)| {
            let at = |byte: usize| (byte.clamp(start, stop) - start) as u32;
            (at(from), at(to))
        };
        let starts_word = |i: usize| match grain {
            Grain::Ids => true,
            Grain::Letters => {
                i == 0
                    || sources[i].0 > sources[i - 1].1
                    || stands_alone(letters_here[i])
                    || stands_alone(letters_here[i - 1])
            }
        };
        Some(Excerpt {
            doc_id: document.doc_id.to_owned(),
            first_token: from,
            text: text.get(start..stop).unwrap_or_default().to_owned(),
            spans: spans.iter().map(relative).collect(),
            masks: masks.iter().map(|mask| mask[from..to].to_vec()).collect(),
            cut: (first > 0, end < letters.total),
            grain,
            starts: (0..sources.len()).map(starts_word).collect(),
            letters: letters_here.to_vec(),
            sources: sources.iter().map(relative).collect(),
            seed: position - first,
            first_letter: first,
        })
    }
}

impl Excerpt {
    pub(crate) fn side(&self) -> Side<'_> {
        Side { letters: &self.letters, starts: &self.starts, worth: self.grain.worth() }
    }

    /// The tokens that overlap a letter.
    pub(crate) fn tokens_of(&self, letter: usize) -> impl Iterator<Item = usize> + '_ {
        let (start, end) = self.sources[letter];
        let first = self.spans.partition_point(|span| span.1 <= start);
        let spans = self.spans[first..].iter().enumerate();
        spans
            .take_while(move |(_, span)| span.0 < end)
            .filter(|(_, span)| span.0 < span.1)
            .map(move |(i, _)| first + i)
    }

    /// A letter as it was written.
    pub(crate) fn letter_text(&self, letter: usize) -> &str {
        let (start, end) = self.sources[letter];
        self.text.get(start as usize..end as usize).unwrap_or_default()
    }

    /// What is between a letter and the one before it.
    pub(crate) fn gap_before(&self, letter: usize) -> &str {
        let (start, end) = (self.sources[letter - 1].1, self.sources[letter].0);
        self.text.get(start as usize..end as usize).unwrap_or_default()
    }
}
