//! The passages to compare, read again from the shards.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use goldfish_mask::rules::{Hash, HashTable, Text};
use goldfish_mask::{Masker, NormalizedText, RuleParameters, RuleSpec, Scope, TokenSpan, document_key};
use goldfish_pipeline::ShardText;
use goldfish_shard::Manifest;
use rayon::prelude::*;

use super::align::Side;
use super::location::{Location, Pair, RADIUS};
use crate::error::InspectError;
use crate::shards::{batches, row};

/// A rule that copies are compared under, with its name.
pub(crate) struct NamedRule {
    pub(crate) name: String,
    masker: Masker,
}

/// The passage around a location.
#[derive(Debug, PartialEq)]
pub(crate) struct Excerpt {
    pub(crate) doc_id: String,
    /// Position in the document of its first token.
    pub(crate) first_token: usize,
    pub(crate) ids: Vec<u32>,
    /// The text of its tokens.
    pub(crate) text: String,
    /// Each token's bytes of the text.
    pub(crate) spans: Vec<(u32, u32)>,
    /// The tokens' masks: as they are, then by each rule.
    pub(crate) masks: Vec<Vec<u8>>,
    chars: Vec<char>,
    starts: Vec<bool>,
    /// Each character's bytes of the text.
    pub(crate) sources: Vec<(u32, u32)>,
    /// Where the location is among the characters.
    pub(crate) seed: usize,
}

/// All passages that are compared.
pub(crate) struct Excerpts {
    rules: Vec<NamedRule>,
    by_location: HashMap<Location, Excerpt>,
}

/// The rules that a folder's masks are compared with, with the same `k`.
fn rules(manifest: &Manifest) -> Result<Vec<NamedRule>, InspectError> {
    let k = manifest.rule.k();
    let rules = [
        ("hash, context 13", Hash::new(k).into()),
        ("hash-table, context 13", HashTable::new(k).into()),
        ("text-v1, context 50", Text::new(k).into()),
    ];
    let other = |parameters: &RuleParameters| {
        *parameters != manifest.rule.parameters || manifest.scope != Scope::Document
    };
    let named = |(name, parameters): (&str, RuleParameters)| {
        let rule = RuleSpec::new(parameters).build(None)?;
        Ok(NamedRule { name: name.to_owned(), masker: Masker::new(rule, &manifest.exempt_ids) })
    };
    rules.into_iter().filter(|(_, parameters)| other(parameters)).map(named).collect()
}

impl Excerpts {
    /// Reads the locations of all pairs.
    pub(crate) fn read(
        folder: &Path,
        manifest: &Manifest,
        text: &ShardText,
        pairs: &[Pair],
        observe: &mut dyn FnMut(u64),
    ) -> Result<Self, InspectError> {
        let mut wanted: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for location in pairs.iter().flat_map(|pair| pair.locations) {
            wanted.entry(location.document).or_default().push(location.position);
        }
        let rules = rules(manifest)?;
        let mut by_location = HashMap::new();
        let mut document = 0;
        for batch in batches(folder, manifest) {
            let (path, first_row, batch) = batch?;
            let end = document + batch.len() as u64;
            let here: Vec<(&u64, &Vec<u64>)> = wanted.range(document..end).collect();
            let read =
                |&(&number, positions): &(&u64, &Vec<u64>)| -> Result<Vec<(Location, Excerpt)>, InspectError> {
                    let index = (number - document) as usize;
                    let (ids, mask) = row(&path, first_row, &batch, index)?;
                    let whole = Whole::read(batch.doc_ids().value(index), ids, mask, text, &rules)?;
                    let location = |&position: &u64| {
                        let excerpt = whole.excerpt(usize::try_from(position).ok()?)?;
                        Some((Location { document: number, position }, excerpt))
                    };
                    Ok(positions.iter().filter_map(location).collect())
                };
            let found: Vec<_> = here.par_iter().map(read).collect::<Result<_, _>>()?;
            by_location.extend(found.into_iter().flatten());
            document = end;
            observe(document);
        }
        Ok(Self { rules, by_location })
    }

    pub(crate) fn rules(&self) -> &[NamedRule] {
        &self.rules
    }

    pub(crate) fn get(&self, location: Location) -> Option<&Excerpt> {
        self.by_location.get(&location)
    }
}

/// A document with what its passages are cut from.
struct Whole<'a> {
    doc_id: &'a str,
    ids: &'a [u32],
    text: String,
    spans: Vec<(usize, usize)>,
    masks: Vec<Vec<u8>>,
}

impl<'a> Whole<'a> {
    fn read(
        doc_id: &'a str,
        ids: &'a [u32],
        mask: &[u8],
        reader: &ShardText,
        rules: &[NamedRule],
    ) -> Result<Self, InspectError> {
        let (mut text, mut spans) = (String::new(), Vec::new());
        reader.read(ids, &mut text, &mut spans)?;
        let mut masks = vec![mask.to_vec()];
        for rule in rules {
            let mut mask = vec![0; ids.len()];
            let span = TokenSpan::document(ids).with_key(document_key(doc_id)).with_text(&text, &spans);
            rule.masker.decide(&span, &mut mask);
            masks.push(mask);
        }
        Ok(Self { doc_id, ids, text, spans, masks })
    }

    fn excerpt(&self, position: usize) -> Option<Excerpt> {
        let first = position.saturating_sub(RADIUS);
        let mut normalized = NormalizedText::default();
        normalized.read(&self.text, first..position + RADIUS);
        let sources = normalized.sources();
        let chars: Vec<char> = normalized.text().chars().skip(first).take(sources.len()).collect();
        let (&(start, _), &(_, end)) = (sources.first()?, sources.last()?);
        // Tokens are in the order of their text; those without any have an empty span anywhere.
        let overlaps = |span: &(usize, usize)| span.0 < span.1 && span.0 < end && span.1 > start;
        let from = self.spans.iter().position(overlaps)?;
        let to = self.spans.iter().rposition(overlaps)? + 1;
        let spans = &self.spans[from..to];
        let start = spans.iter().map(|span| span.0).chain([start]).min()?;
        let end = spans.iter().map(|span| span.1).chain([end]).max()?;
        let relative = |&(from, to): &(usize, usize)| {
            let at = |byte: usize| (byte.clamp(start, end) - start) as u32;
            (at(from), at(to))
        };
        let starts = (0..chars.len()).map(|i| starts_word(&chars, sources, i)).collect();
        Some(Excerpt {
            doc_id: self.doc_id.to_owned(),
            first_token: from,
            ids: self.ids[from..to].to_vec(),
            text: self.text.get(start..end)?.to_owned(),
            spans: spans.iter().map(relative).collect(),
            masks: self.masks.iter().map(|mask| mask[from..to].to_vec()).collect(),
            starts,
            sources: sources.iter().map(relative).collect(),
            seed: position - first,
            chars,
        })
    }
}

/// A word starts after a gap, and with each letter of a script without case, which may be one without spaces.
fn starts_word(chars: &[char], sources: &[(usize, usize)], i: usize) -> bool {
    let uncased = chars[i].is_alphabetic() && !chars[i].is_lowercase();
    i == 0 || sources[i].0 > sources[i - 1].1 || uncased
}

impl Excerpt {
    pub(crate) fn side(&self) -> Side<'_> {
        Side { chars: &self.chars, starts: &self.starts }
    }

    /// The tokens that overlap a character.
    pub(crate) fn tokens_of(&self, char: usize) -> impl Iterator<Item = usize> + '_ {
        let (start, end) = self.sources[char];
        let first = self.spans.partition_point(|span| span.1 <= start);
        let spans = self.spans[first..].iter().enumerate();
        spans
            .take_while(move |(_, span)| span.0 < end)
            .filter(|(_, span)| span.0 < span.1)
            .map(move |(i, _)| first + i)
    }
}
